//! Logins and logouts over a real store, with all that a gateway has.

use std::net::IpAddr;

use tempfile::TempDir;

use super::*;
use crate::config::{AuthSettings, StoreSettings, StoreUrl};
use crate::domain::{Canonical, PermissionEdit, Permissions};
use crate::service::credentials::{Addition, Credentials, Edit, Manager};
use crate::service::{Accounts, SessionDecision};
use crate::state::cluster::Cluster;
use crate::state::store::{MOST_SESSIONS, Store};
use crate::state::{Epochs, Hasher, Metrics};

const PASSWORD: &[u8] = b"correct horse 1";
const OTHER: &[u8] = b"another one 2";
const TERMS: SessionTerms =
    SessionTerms { idle: Duration::from_secs(600), lifetime: Duration::from_secs(3600) };

/// A gateway with the account `holder` and its credentials `seer` (web) and `caller` (api).
struct Place {
    sessions: Sessions,
    open: OpenSessions,
    access: Arc<Access>,
    accounts: Accounts,
    credentials: Credentials,
    operator: Manager,
    metrics: Arc<Metrics>,
    store: Store,
    _folder: TempDir,
}

async fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
    let settings = StoreSettings { url, ..StoreSettings::default() };
    let store = Store::open(&settings).await.unwrap();
    let (epochs, metrics) = (Arc::new(Epochs::new()), Arc::new(Metrics::new()));
    let hasher = Arc::new(Hasher::start(4, 1, 100, metrics.clone()).unwrap());
    let cluster = Arc::new(Cluster::join(&store, &settings, epochs.clone(), metrics.clone()).await.unwrap());
    let auth = AuthSettings::default();
    let access = Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), &auth);
    let access = Arc::new(access.unwrap());
    let mutations = Mutations::new(store.clone(), hasher, epochs, cluster, metrics.clone());
    let accounts = Accounts::new(mutations.clone(), Origin::CommandLine);
    accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    let credentials = Credentials::new(mutations.clone());
    let operator = credentials.operator("holder", Origin::CommandLine).await.unwrap();
    for (username, permissions) in [("seer", r#"{"email": 0, "api": 0}"#), ("caller", r#"{"web": 0}"#)] {
        let permissions = PermissionEdit::from_json(permissions).unwrap();
        let addition = Addition { username, password: PASSWORD, permissions, ..Addition::default() };
        credentials.add(&operator, addition).await.unwrap();
    }
    Place {
        sessions: Sessions::new(mutations.clone(), access.clone()),
        open: OpenSessions::new(mutations),
        access,
        accounts,
        credentials,
        operator,
        metrics,
        store,
        _folder: folder,
    }
}

fn peer() -> Peer<'static> {
    Peer::from("192.0.2.1".parse::<IpAddr>().unwrap())
}

fn presented<'a>(name: &'a str, secret: &'a [u8]) -> Presented<'a> {
    Presented { username: name.as_bytes(), secret }
}

fn by_network() -> Origin {
    origin(peer(), Entry::Web)
}

impl Place {
    async fn begin(&self, name: &str, secret: &[u8], entry: Entry) -> BeginOutcome {
        let permission = (entry == Entry::Web).then_some(Permission::Web);
        self.sessions.begin(presented(name, secret), permission, entry, peer(), "Browser 1.0", &TERMS).await
    }

    async fn login(&self, name: &str, entry: Entry) -> (SessionCookie, Granted) {
        match self.begin(name, PASSWORD, entry).await {
            BeginOutcome::Begun { cookie, granted } => (cookie, granted),
            other => panic!("{name}: {other:?}"),
        }
    }

    async fn is_good(&self, cookie: &SessionCookie, entry: Entry) -> bool {
        match self.access.authorize_session(cookie, None, entry, peer()).await {
            SessionDecision::Allowed(_) => true,
            SessionDecision::NoSession => false,
            other => panic!("{other:?}"),
        }
    }

    async fn edit_password(&self, username: &str, password: &[u8]) {
        let edit = Edit { username, password: Some(password), ..Edit::default() };
        self.credentials.edit(&self.operator, edit).await.unwrap();
    }

    fn mutations(&self, action: &str, outcome: &str) -> u64 {
        let line = format!("gatepost_mutations_total{{action=\"{action}\",outcome=\"{outcome}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap()
    }
}

#[tokio::test]
async fn a_login_begins_a_session_and_a_logout_ends_it() {
    let p = place().await;
    let (cookie, granted) = p.login("SEER", Entry::Web).await;
    assert_eq!((granted.name().as_str(), cookie.principal()), ("seer", granted.principal()));
    assert!(p.is_good(&cookie, Entry::Web).await && !p.is_good(&cookie, Entry::Console).await);
    let listed = p.sessions.list(granted.principal()).await.unwrap();
    let facts = granted.session().unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].entry), (1, facts.id, Entry::Web));
    assert_eq!(
        (listed[0].browser.as_str(), listed[0].source.to_string().as_str()),
        ("Browser 1.0", "192.0.2.1")
    );
    assert_eq!(listed[0].ends_at - listed[0].created_at, 3600);

    let effect = p.sessions.end(&granted, by_network()).await.unwrap();
    assert_eq!(effect.nodes, 1);
    assert!(!p.is_good(&cookie, Entry::Web).await);
    assert_eq!(p.sessions.list(granted.principal()).await, Ok(vec![]));
    assert_eq!(p.sessions.end(&granted, by_network()).await, Ok(Effect::default()), "again");
    let gone = p.sessions.end_one(&granted, facts.id, by_network()).await;
    assert_eq!(gone, Err(AccountError::NoSuchSession.into()));
    assert_eq!((p.mutations("session.begin", "done"), p.mutations("session.end", "done")), (1, 1));
    assert_eq!(p.mutations("session.end", "refused"), 2);
}

#[tokio::test]
async fn only_the_right_password_and_permission_begin_one() {
    let p = place().await;
    for (name, secret, expected) in [
        ("seer", OTHER, Denial::Wrong),
        ("nobody", PASSWORD, Denial::Unknown),
        ("x y", PASSWORD, Denial::Unknown),
    ] {
        for entry in [Entry::Web, Entry::Console] {
            let outcome = p.begin(name, secret, entry).await;
            assert!(
                matches!(outcome, BeginOutcome::Denied(denial) if denial == expected),
                "{name}: {outcome:?}"
            );
        }
    }
    assert!(matches!(p.begin("caller", PASSWORD, Entry::Web).await, BeginOutcome::Lacks(Permission::Web)));
    // The console needs none: a credential has a page of its own there.
    p.login("caller", Entry::Console).await;
    p.accounts.suspend("holder").await.unwrap();
    for name in ["holder", "seer", "caller"] {
        let outcome = p.begin(name, PASSWORD, Entry::Console).await;
        assert!(matches!(outcome, BeginOutcome::Denied(Denial::Suspended)), "{name}: {outcome:?}");
    }
    p.store.close().await;
    let outcome = p.begin("holder", PASSWORD, Entry::Web).await;
    assert!(matches!(outcome, BeginOutcome::Unavailable(Unavailable::Store)), "{outcome:?}");
}

#[tokio::test]
async fn the_seventeenth_login_ends_the_oldest_session() {
    let p = place().await;
    let mut cookies = Vec::new();
    for _ in 0..MOST_SESSIONS {
        cookies.push(p.login("seer", Entry::Web).await.0);
    }
    let (other, console) = (p.login("holder", Entry::Web).await.0, p.login("seer", Entry::Console).await.0);
    for cookie in &cookies {
        assert!(p.is_good(cookie, Entry::Web).await);
    }
    let last = p.login("seer", Entry::Web).await.0;
    assert!(!p.is_good(&cookies[0], Entry::Web).await);
    for cookie in cookies[1..].iter().chain([&last, &other]) {
        assert!(p.is_good(cookie, Entry::Web).await);
    }
    assert!(p.is_good(&console, Entry::Console).await, "each entry has its own");
}

#[tokio::test]
async fn the_others_are_ended_and_the_own_one_stays() {
    let p = place().await;
    let (own, granted) = p.login("seer", Entry::Web).await;
    let (web, console) = (p.login("seer", Entry::Web).await.0, p.login("seer", Entry::Console).await.0);
    let foreign = p.login("holder", Entry::Web).await;
    let foreign_id = foreign.1.session().unwrap().id;
    assert_eq!(
        p.sessions.end_one(&granted, foreign_id, by_network()).await,
        Err(AccountError::NoSuchSession.into()),
        "of another principal"
    );
    let (count, effect) = p.sessions.end_others(&granted, by_network()).await.unwrap();
    assert_eq!((count, effect.nodes), (2, 1));
    assert!(p.is_good(&own, Entry::Web).await && p.is_good(&foreign.0, Entry::Web).await);
    assert!(!p.is_good(&web, Entry::Web).await && !p.is_good(&console, Entry::Console).await);
    assert_eq!(p.sessions.end_others(&granted, by_network()).await.unwrap().0, 0);
}

#[tokio::test]
async fn the_operator_ends_sessions_by_name() {
    let p = place().await;
    let (one, granted) = p.login("seer", Entry::Web).await;
    let (two, holder) = (p.login("seer", Entry::Web).await.0, p.login("holder", Entry::Web).await.0);
    let listed = p.open.of_name("Seer").await.unwrap();
    assert_eq!(listed.len(), 2);
    let choice = SessionChoice::One(granted.session().unwrap().id);
    assert_eq!(p.open.end_of_name("seer", choice, Origin::CommandLine).await.unwrap().0, 1);
    assert!(!p.is_good(&one, Entry::Web).await && p.is_good(&two, Entry::Web).await);
    let again = p.open.end_of_name("seer", choice, Origin::CommandLine).await;
    assert_eq!(again, Err(AccountError::NoSuchSession.into()));
    assert_eq!(p.open.end_of_name("seer", SessionChoice::All, Origin::CommandLine).await.unwrap().0, 1);
    assert!(!p.is_good(&two, Entry::Web).await && p.is_good(&holder, Entry::Web).await);
    for nobody in ["nobody", "x y"] {
        let refused = p.open.end_of_name(nobody, SessionChoice::All, Origin::CommandLine).await;
        assert_eq!(refused, Err(AccountError::NoSuchCredential.into()), "{nobody}");
        assert_eq!(p.open.of_name(nobody).await, Err(AccountError::NoSuchCredential.into()));
    }
}

#[tokio::test]
async fn a_new_password_a_suspension_and_a_removal_end_all_sessions_for_good() {
    let p = place().await;
    let (seer, holder) = (p.login("seer", Entry::Web).await.0, p.login("holder", Entry::Console).await.0);
    p.edit_password("seer", OTHER).await;
    assert!(!p.is_good(&seer, Entry::Web).await && p.is_good(&holder, Entry::Console).await);
    p.edit_password("seer", PASSWORD).await;
    let (seer, caller) = (p.login("seer", Entry::Web).await.0, p.login("caller", Entry::Console).await.0);
    p.accounts.set_password("holder", OTHER).await.unwrap();
    assert!(!p.is_good(&holder, Entry::Console).await);
    assert!(p.is_good(&seer, Entry::Web).await, "a credential has its own password");
    p.accounts.suspend("holder").await.unwrap();
    assert!(!p.is_good(&seer, Entry::Web).await && !p.is_good(&caller, Entry::Console).await);
    p.accounts.resume("holder").await.unwrap();
    assert!(!p.is_good(&seer, Entry::Web).await && !p.is_good(&caller, Entry::Console).await);
    let seer = p.login("seer", Entry::Web).await.0;
    p.accounts.remove("holder").await.unwrap();
    assert!(!p.is_good(&seer, Entry::Web).await);
}

// A login that was decided on a password that is gone when its session is to be stored.
#[tokio::test]
async fn a_login_does_not_outlive_its_password() {
    let p = place().await;
    let begin = async |granted: &Granted| {
        p.sessions.begin_for(granted, Entry::Web, peer(), "", &TERMS).await.map(drop)
    };
    let verified = async |name: &str, secret: &[u8]| match p
        .access
        .authenticate(presented(name, secret), Entry::Web, peer())
        .await
    {
        Decision::Allowed(granted) => granted,
        other => panic!("{other:?}"),
    };
    let granted = verified("seer", PASSWORD).await;
    p.edit_password("seer", OTHER).await;
    let late = begin(&granted).await;
    assert_eq!(late, Err(AccountError::LoginChanged.into()));

    let granted = verified("seer", OTHER).await;
    p.accounts.suspend("holder").await.unwrap();
    assert_eq!(begin(&granted).await, Err(AccountError::Suspended.into()));
    p.accounts.resume("holder").await.unwrap();
    begin(&granted).await.unwrap();

    // Another one that was given the name.
    p.credentials.remove(&p.operator, "seer").await.unwrap();
    let addition = Addition { username: "seer", password: OTHER, ..Addition::default() };
    p.credentials.add(&p.operator, addition).await.unwrap();
    assert_eq!(begin(&granted).await, Err(AccountError::LoginChanged.into()));
    let found = p.store.principal(&Canonical::of(b"seer").unwrap()).await.unwrap().unwrap();
    assert_eq!(p.sessions.list(found.id()).await, Ok(vec![]));
    p.accounts.remove("holder").await.unwrap();
    assert_eq!(begin(&granted).await, Err(AccountError::NoSuchAccount.into()));
}

// Somebody else sets a password while the own one is changed: the answered change stays.
#[tokio::test]
async fn an_own_password_changes_only_while_its_session_lives() {
    const OWN: &[u8] = b"one of its own 3";
    let p = place().await;
    let change = async |granted: &Granted| {
        p.credentials.change_own_password(granted, OWN, by_network()).await.map(drop)
    };
    let changed = || Err(AccountError::LoginChanged.into());
    let (holder, seer) = (p.login("holder", Entry::Console).await.1, p.login("seer", Entry::Console).await.1);
    p.accounts.set_password("holder", OTHER).await.unwrap();
    p.edit_password("seer", OTHER).await;
    assert_eq!((change(&holder).await, change(&seer).await), (changed(), changed()));
    for name in ["holder", "seer"] {
        let denied = p.begin(name, OWN, Entry::Console).await;
        assert!(matches!(denied, BeginOutcome::Denied(Denial::Wrong)), "{name}: {denied:?}");
        assert!(matches!(p.begin(name, OTHER, Entry::Console).await, BeginOutcome::Begun { .. }), "{name}");
    }
    // A suspension, and a logout.
    p.accounts.set_password("holder", PASSWORD).await.unwrap();
    p.edit_password("seer", PASSWORD).await;
    let (holder, seer) = (p.login("holder", Entry::Console).await.1, p.login("seer", Entry::Console).await.1);
    p.accounts.suspend("holder").await.unwrap();
    assert_eq!(change(&holder).await, Err(AccountError::Suspended.into()));
    p.accounts.resume("holder").await.unwrap();
    assert_eq!((change(&holder).await, change(&seer).await), (changed(), changed()));
    let (holder, seer) = (p.login("holder", Entry::Console).await.1, p.login("seer", Entry::Console).await.1);
    p.sessions.end(&seer, by_network()).await.unwrap();
    assert_eq!(change(&seer).await, changed());
    let seer = p.login("seer", Entry::Console).await.1;
    assert_eq!((change(&holder).await, change(&seer).await), (Ok(()), Ok(())));
    assert_eq!((change(&holder).await, change(&seer).await), (changed(), changed()), "its session has ended");
    for name in ["holder", "seer"] {
        assert!(matches!(p.begin(name, OWN, Entry::Console).await, BeginOutcome::Begun { .. }), "{name}");
    }
    assert_eq!(p.mutations("account.passwd", "done"), 3, "two by the operator");
    assert_eq!(p.mutations("account.passwd", "refused"), 4);
}

// Whatever the order of the commits: a session that a login has begun is gone when the new password is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_beside_a_new_password_leaves_no_session() {
    let p = place().await;
    let passwords = [PASSWORD, OTHER];
    for round in 0..20 {
        let (old, new) = (passwords[round % 2], passwords[(round + 1) % 2]);
        let begin =
            p.sessions.begin(presented("seer", old), Some(Permission::Web), Entry::Web, peer(), "", &TERMS);
        let (begun, ()) = tokio::join!(begin, p.edit_password("seer", new));
        if let BeginOutcome::Begun { cookie, .. } = begun {
            assert!(!p.is_good(&cookie, Entry::Web).await, "round {round}");
        }
    }
    let found = p.store.principal(&Canonical::of(b"seer").unwrap()).await.unwrap().unwrap();
    assert_eq!(p.sessions.list(found.id()).await, Ok(vec![]));
}

#[tokio::test]
async fn a_password_that_is_given_again_is_noted() {
    let p = place().await;
    let (cookie, granted) = p.login("holder", Entry::Console).await;
    let session = granted.session().unwrap();
    p.store.confirm_session(granted.principal(), session.id, session.created_at).await.unwrap();
    let within = Duration::from_secs(300);
    assert_eq!(p.sessions.is_confirmed(&granted, within).await, Ok(true), "by the login");
    assert_eq!(p.sessions.is_confirmed(&granted, Duration::ZERO).await, Ok(false));
    assert_eq!(p.sessions.confirm(&granted, OTHER, peer()).await, ConfirmOutcome::Denied(Denial::Wrong));
    assert_eq!(p.sessions.confirm(&granted, PASSWORD, peer()).await, ConfirmOutcome::Confirmed);
    assert!(p.is_good(&cookie, Entry::Console).await);
    // By way of another process: this one reads it before it says no.
    let later = session.created_at + 1000;
    assert_eq!(p.store.confirm_session(granted.principal(), session.id, later).await, Ok(true));
    assert!(granted.session().unwrap().confirmed_at < later);
    assert_eq!(p.sessions.is_confirmed(&granted, Duration::ZERO).await, Ok(true));
    assert_eq!(granted.session().unwrap().confirmed_at, later);

    p.sessions.end(&granted, by_network()).await.unwrap();
    assert_eq!(p.sessions.confirm(&granted, PASSWORD, peer()).await, ConfirmOutcome::NoSession);
    assert_eq!(p.mutations("session.confirm", "done"), 1);
    assert_eq!(p.mutations("session.confirm", "refused"), 1);
}

#[tokio::test]
async fn a_browser_is_kept_in_printable_characters() {
    let p = place().await;
    let begin = |browser: String| {
        let sessions = p.sessions.clone();
        async move {
            let login = presented("seer", PASSWORD);
            sessions.begin(login, Some(Permission::Web), Entry::Web, peer(), &browser, &TERMS).await
        }
    };
    for browser in ["a\x1b[2J\u{202e}b<script>".to_owned(), "ü".repeat(10_000), String::new()] {
        assert!(matches!(begin(browser).await, BeginOutcome::Begun { .. }));
    }
    let listed = p.open.of_name("seer").await.unwrap();
    let browsers: Vec<&str> = listed.iter().map(|session| session.browser.as_str()).collect();
    assert_eq!((browsers[0], browsers[2]), ("a\\u{1b}[2J\\u{202e}b<script>", ""));
    assert!(browsers[1].len() <= 300 && browsers[1].ends_with('…'));
}
