//! Credentials and accounts as the API and the command line change them: in force when answered, whatever happens
//! on the way, and with a line in the audit trail.

use std::cell::RefCell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatepost::config::{AuthSettings, StoreSettings, StoreUrl};
use gatepost::domain::{AccountError, Canonical, Entry, Permission, PermissionEdit, Permissions, Presented};
use gatepost::service::audit::AuditAction;
use gatepost::service::credentials::{Addition, Edit, Manager};
use gatepost::service::{
    Access, Accounts, Credentials, Decision, HolderDecision, ManagementError, Mutations, Origin,
};
use gatepost::state::cluster::Cluster;
use gatepost::state::hashing::{Check, HashShare};
use gatepost::state::store::Store;
use gatepost::state::{Epochs, Hasher, Lane, Metrics};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

pub const PASSWORD: &[u8] = b"passw0rd";
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const OTHER: &[u8] = b"an0ther one";

pub struct Gateway {
    pub store: Store,
    pub epochs: Arc<Epochs>,
    pub hasher: Arc<Hasher>,
    pub metrics: Arc<Metrics>,
    pub access: Access,
    pub accounts: Accounts,
    pub credentials: Credentials,
    pub holder: Manager,
    pub folder: TempDir,
}

pub async fn gateway() -> Gateway {
    LazyLock::force(&LOG);
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let epochs = Arc::new(Epochs::new());
    let metrics = Arc::new(Metrics::new());
    let hasher = Arc::new(Hasher::start(4, 1, 100, metrics.clone()).unwrap());
    let cluster = Arc::new(
        Cluster::join(&store, &StoreSettings::default(), epochs.clone(), metrics.clone()).await.unwrap(),
    );
    let settings = AuthSettings::default();
    let access =
        Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), &settings).unwrap();
    let mutations = Mutations::new(store.clone(), hasher.clone(), epochs.clone(), cluster, metrics.clone());
    let mutations = mutations.beside(&access);
    let accounts = Accounts::new(mutations.clone(), Origin::CommandLine);
    accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    let presented = Presented { username: b"holder", secret: PASSWORD };
    let decision = access.authenticate_holder(presented, Entry::Api, SOURCE).await;
    let HolderDecision::Holder(granted) = decision else { panic!("{decision:?}") };
    let origin = Origin::Remote { source: SOURCE, request_id: "r-1".into(), entry: Entry::Api };
    let holder = Manager::holder(&granted, origin).unwrap();
    let credentials = Credentials::new(mutations);
    Gateway { store, epochs, hasher, metrics, access, accounts, credentials, holder, folder }
}

async fn open(folder: &TempDir) -> Store {
    let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
    let busy_timeout = Duration::from_millis(300);
    Store::open(&StoreSettings { url, busy_timeout, ..StoreSettings::default() }).await.unwrap()
}

impl Gateway {
    pub async fn add(&self, username: &str) -> Result<u64, ManagementError> {
        let permissions = PermissionEdit::default();
        self.credentials
            .add(&self.holder, Addition { username, password: PASSWORD, permissions, ..Addition::default() })
            .await
            .map(|changed| changed.count)
    }

    pub async fn opens(&self, username: &str, password: &[u8]) -> bool {
        let found = self.store.principal(&canonical(username)).await.unwrap().unwrap();
        let share = HashShare::Operator;
        let check = Check { stored: &found.hash, secret: password, highest: 0, refused: false, share };
        self.hasher.verify(check, Lane::Rest).await.unwrap().right
    }
}

fn canonical(name: &str) -> Canonical {
    Canonical::of(name.as_bytes()).unwrap()
}

fn edit<'a>(username: &'a str, password: Option<&'a [u8]>, permissions: &str) -> Edit<'a> {
    let permissions = PermissionEdit::from_json(permissions).unwrap();
    Edit { username, password, permissions, ..Edit::default() }
}

#[tokio::test]
async fn the_life_of_a_credential() {
    let g = gateway().await;
    assert_eq!(g.add("John").await, Ok(1));
    assert_eq!(g.add("jane").await, Ok(2));
    assert!(g.opens("john", PASSWORD).await);
    let changed = edit("JOHN", Some(OTHER), r#"{"web":0}"#);
    assert_eq!(g.credentials.edit(&g.holder, changed).await.unwrap().count, 2);
    assert!(g.opens("john", OTHER).await && !g.opens("john", PASSWORD).await);
    let found = g.credentials.get(&g.holder, "john").await.unwrap();
    assert_eq!((found.name.as_str(), found.effective.as_str()), ("John", "email,api"));
    let listed = g.credentials.list(&g.holder, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["John", "jane"]);
    assert_eq!(g.credentials.remove(&g.holder, "john").await.unwrap().count, 1);
    assert_eq!(
        g.credentials.get(&g.holder, "john").await.unwrap_err(),
        AccountError::NoSuchCredential.into()
    );
}

#[tokio::test]
async fn every_refusal_has_its_name() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    g.accounts.set_rights("holder", "email".parse().unwrap()).await.unwrap();
    let by = &g.holder;
    assert_eq!(g.add("HOLDER").await, Err(AccountError::NameTaken.into()));
    assert!(matches!(g.add("jo").await, Err(ManagementError::Username(_))));
    let permissions = PermissionEdit::default();
    let weak = Addition { username: "weak", password: b"password", permissions, ..Addition::default() };
    assert!(matches!(g.credentials.add(by, weak).await, Err(ManagementError::Password(_))));
    let above = edit("john", None, r#"{"web":1}"#);
    assert_eq!(g.credentials.edit(by, above).await, Err(AccountError::AboveRights(Permission::Web).into()));
    for nobody in ["nobody", "holder", "", "no\nbody"] {
        assert_eq!(
            g.credentials.edit(by, edit(nobody, None, "{}")).await,
            Err(AccountError::NoSuchCredential.into())
        );
        assert_eq!(g.credentials.remove(by, nobody).await, Err(AccountError::NoSuchCredential.into()));
        assert_eq!(g.credentials.get(by, nobody).await.unwrap_err(), AccountError::NoSuchCredential.into());
    }
    assert_eq!(g.accounts.suspend("john").await, Err(AccountError::NoSuchAccount.into()));
    g.accounts.suspend("holder").await.unwrap();
    assert_eq!(g.add("more").await, Err(AccountError::Suspended.into()));
    g.accounts.resume("holder").await.unwrap();
    g.accounts.remove("holder").await.unwrap();
    assert_eq!(g.add("more").await, Err(AccountError::NoSuchAccount.into()));
    assert_eq!(
        g.credentials.operator("holder", Origin::CommandLine).await.unwrap_err(),
        AccountError::NoSuchAccount.into()
    );
}

#[tokio::test]
async fn a_credential_manages_nothing() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    let settings = AuthSettings::default();
    let access = Access::new(g.store, g.hasher, g.epochs, g.metrics, &settings).unwrap();
    let presented = Presented { username: b"john", secret: PASSWORD };
    let decision = access.authorize(presented, Permission::Api, Entry::Api, SOURCE).await;
    let Decision::Allowed(granted) = decision else { panic!("{decision:?}") };
    assert!(Manager::holder(&granted, Origin::CommandLine).is_none());
}

#[tokio::test]
async fn it_is_in_force_in_every_process_when_it_is_answered() {
    let g = gateway().await;
    let other_store = open(&g.folder).await;
    let other = Arc::new(Epochs::new());
    let _cluster = Cluster::join(&other_store, &StoreSettings::default(), other.clone(), g.metrics.clone())
        .await
        .unwrap();
    g.add("john").await.unwrap();
    let (john, holder) = (canonical("john"), canonical("holder"));
    for round in 0..20 {
        let seen = [g.epochs.now(), other.now()];
        let change = match round % 4 {
            0 => g.credentials.edit(&g.holder, edit("john", None, r#"{"web":0}"#)).await.map(drop),
            1 => g.accounts.suspend("holder").await,
            2 => g.accounts.resume("holder").await,
            _ => g.accounts.set_password("holder", OTHER).await,
        };
        change.unwrap();
        assert!(!g.epochs.is_fresh(seen[0], &john, &holder));
        assert!(!other.is_fresh(seen[1], &john, &holder));
    }
}

#[tokio::test]
async fn a_change_goes_on_when_nobody_waits_for_it() {
    let g = gateway().await;
    let mut raised = g.epochs.subscribe();
    raised.mark_unchanged();
    tokio::select! {
        biased;
        answer = g.add("john") => panic!("answered at once: {answer:?}"),
        () = std::future::ready(()) => {}
    }
    raised.changed().await.unwrap();
    assert!(g.opens("john", PASSWORD).await);
}

#[tokio::test]
async fn what_may_have_been_written_is_read_again() {
    let g = gateway().await;
    g.add("john").await.unwrap();
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(g.store.file().unwrap().0)
        .connect()
        .await
        .unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
    let seen = g.epochs.now();
    let removed = g.credentials.remove(&g.holder, "john").await;
    assert!(matches!(removed, Err(ManagementError::Store(_))), "{removed:?}");
    assert!(!g.epochs.is_fresh(seen, &canonical("john"), &canonical("holder")));
    connection.close().await.unwrap();
    assert_eq!(g.credentials.remove(&g.holder, "john").await.unwrap().count, 0);
}

#[tokio::test]
async fn without_confirmation_there_is_no_success() {
    let g = gateway().await;
    let mut nodes = g.store.file().unwrap().0.canonicalize().unwrap().into_os_string();
    nodes.push(".nodes/1-unreachable.sock");
    // Leads nowhere, so that nobody waits for an answer until the deadline.
    std::os::unix::fs::symlink(&nodes, &nodes).unwrap();
    let seen = g.epochs.now();
    let refused = g.add("john").await;
    assert!(matches!(refused, Err(ManagementError::Unconfirmed(_))), "{refused:?}");
    assert!(refused.unwrap_err().is_failure());
    assert!(!g.epochs.is_fresh(seen, &canonical("john"), &canonical("holder")));
    std::fs::remove_file(&nodes).unwrap();
    assert_eq!(g.add("jane").await, Ok(2));
}

#[test]
fn each_leaves_a_line_and_no_secret() {
    // One thread, so that all lines are this thread's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        let g = gateway().await;
        g.add("john").await.unwrap();
        g.add("john").await.unwrap_err();
        let changed = edit("john", Some(OTHER), r#"{"web":0,"api":1}"#);
        g.credentials.edit(&g.holder, changed).await.unwrap();
        g.credentials.get(&g.holder, "nobody\n{}").await.unwrap_err();
        g.credentials.refused(
            &g.holder,
            AuditAction::CredentialEdit,
            "john",
            &AccountError::AboveRights(Permission::Web).into(),
        );
        g.accounts.suspend("holder").await.unwrap();
        let metrics = g.metrics.encode();
        for counted in [
            r#"gatepost_mutations_total{action="credential.add",outcome="done"} 1"#,
            r#"gatepost_mutations_total{action="credential.add",outcome="refused"} 1"#,
            "gatepost_revocation_seconds_count 2",
        ] {
            assert!(metrics.contains(counted), "{counted} is not in\n{metrics}");
        }
        let hash = g.store.principal(&canonical("john")).await.unwrap().unwrap().hash;
        let text = String::from_utf8(LINES.take()).unwrap();
        assert!(!text.contains(hash.expose()));
        text
    });
    for secret in [PASSWORD, OTHER] {
        assert!(!text.contains(std::str::from_utf8(secret).unwrap()), "{text}");
    }
    let audit = audit_lines(&text);
    let expected = [
        "account.add|OPERATOR|holder|rights=email,api,web|command line|done|-",
        "credential.add|holder|john||192.0.2.7|done|-",
        "credential.add|holder|john||192.0.2.7|refused|username is already taken",
        "credential.edit|holder|john|password api=1 web=0|192.0.2.7|done|-",
        "credential.get|holder|nobody\\n{}||192.0.2.7|refused|no such credential",
        "credential.edit|holder|john||192.0.2.7|refused|permissions: web is not among the rights of the account",
        "account.suspend|OPERATOR|holder||command line|done|-",
    ];
    let operator = gatepost::service::audit::operator();
    let expected = expected.map(|line| line.replace("OPERATOR", &operator));
    assert_eq!(audit.iter().map(in_short).collect::<Vec<_>>(), expected);
    assert_eq!(audit[1]["request_id"], "r-1");
}

/// The lines of the audit trail.
fn audit_lines(log: &str) -> Vec<serde_json::Value> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|line: &serde_json::Value| line["target"] == "audit").collect()
}

fn in_short(line: &serde_json::Value) -> String {
    ["action", "actor", "subject", "change", "source", "outcome", "reason"]
        .map(|key| line[key].as_str().unwrap_or("-").to_owned())
        .join("|")
}

/// The audit trail of this thread since the last call, each line in short.
pub fn audit_trail() -> Vec<String> {
    audit_lines(&String::from_utf8(LINES.take()).unwrap()).iter().map(in_short).collect()
}

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes the log of each thread to itself: one for the whole program, since what is logged where nobody listens yet is
/// never listened to.
static LOG: LazyLock<()> = LazyLock::new(|| {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(|| Lines).init();
});

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
