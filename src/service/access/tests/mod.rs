//! The decision over a real store, with time passed in.

mod guessing;
mod hashing;
mod reads;
mod remembered;
mod session_model;
mod session_races;
mod sessions;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::{StoreSettings, StoreUrl};
use crate::domain::{AccountId, NewPassword, PermissionEdit, Permissions, StoredHash, Username};
use crate::state::Lane;
use crate::state::metrics::PasswordCheck;
use crate::state::store::{Authority, Change, CredentialEdit, NewCredential};

const PASSWORD: &str = "correct horse 1";
const HERE: &str = "192.0.2.1";
const COST: u32 = 4;

/// An account `holder` with the credentials `sender` (email), `caller` (api) and `seer` (web).
struct House {
    access: Arc<Access>,
    account: AccountId,
    now: Moment,
    _folder: TempDir,
}

async fn house_with(cost: u32, settings: AuthSettings) -> House {
    house_of(cost, settings, Epochs::new()).await
}

async fn house_of(cost: u32, settings: AuthSettings, epochs: Epochs) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreSettings {
        url: StoreUrl::Sqlite(folder.path().join("gatepost.db")),
        read_connections: 4,
        busy_timeout: Duration::from_millis(500),
        ..StoreSettings::default()
    })
    .await
    .unwrap();
    let metrics = Arc::new(Metrics::new());
    let hasher = Arc::new(Hasher::start(cost, 1, settings.hash_queue, Arc::clone(&metrics)).unwrap());
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
    let holder = Username::parse("Holder").unwrap();
    let account = store.add_account(&holder, &hash, Permissions::ALL).await.unwrap().value;
    let access = Arc::new(Access::new(store, hasher, Arc::new(epochs), metrics, &settings).unwrap());
    let house = House { access, account, now: clock::now(), _folder: folder };
    for (name, permissions) in [
        ("sender", r#"{"email": 1, "api": 0, "web": 0}"#),
        ("caller", r#"{"email": 0, "api": 1, "web": 0}"#),
        ("seer", r#"{"email": 0, "api": 0, "web": 1}"#),
    ] {
        house.add(name, &hash, permissions).await;
    }
    house
}

async fn house() -> House {
    house_with(COST, AuthSettings::default()).await
}

fn presented<'a>(username: &'a str, secret: &'a str) -> Presented<'a> {
    Presented { username: username.as_bytes(), secret: secret.as_bytes() }
}

fn canonical(name: &str) -> Canonical {
    Canonical::of(name.as_bytes()).unwrap()
}

impl Access {
    /// As [`Access::authorize`], at that moment.
    async fn authorize_at(
        &self,
        presented: Presented<'_>,
        permission: Permission,
        entry: Entry,
        peer: Peer<'_>,
        now: Moment,
    ) -> Decision {
        self.authorize_by(presented, Some(permission), entry, peer, DecisionClock::starting_at(now)).await
    }
}

impl House {
    async fn add(&self, name: &str, hash: &StoredHash, permissions: &str) {
        let new = NewCredential {
            name: Username::parse(name).unwrap(),
            hash: hash.clone(),
            permissions: PermissionEdit::from_json(permissions).unwrap(),
            note: None,
        };
        let written =
            self.access.store.add_credential(self.account, Authority::Operator, &new).await.unwrap();
        self.tell(&written.change);
    }

    /// Does what those do who make a change or hear of one.
    fn tell(&self, change: &Change) {
        match change.ends_login {
            true => self.access.epochs.raise_and_forget(&change.name),
            false => self.access.epochs.raise(&change.name),
        }
    }

    async fn edit(&self, name: &str, password: Option<&str>, permissions: &str) {
        let hash = password.map(|password| StoredHash::new(bcrypt::hash(password, COST).unwrap()));
        let permissions = PermissionEdit::from_json(permissions).unwrap();
        let edit = CredentialEdit { hash, permissions, ..CredentialEdit::default() };
        let (store, name) = (&self.access.store, canonical(name));
        let written = store.edit_credential(self.account, Authority::Operator, &name, &edit).await.unwrap();
        self.tell(&written.change);
    }

    async fn remove(&self, name: &str) {
        let (store, name) = (&self.access.store, canonical(name));
        let written = store.remove_credential(self.account, Authority::Operator, &name).await.unwrap();
        self.tell(&written.change);
    }

    async fn set_active(&self, active: bool) {
        let written = self.access.store.set_active(&canonical("holder"), active).await.unwrap();
        self.tell(&written.change);
    }

    async fn ask_from(&self, source: &str, name: &str, secret: &str, permission: Permission) -> Decision {
        let source: IpAddr = source.parse().unwrap();
        self.access
            .authorize_at(presented(name, secret), permission, Entry::Api, Peer::from(source), self.now)
            .await
    }

    async fn ask(&self, name: &str, secret: &str, permission: Permission) -> Decision {
        self.ask_from(HERE, name, secret, permission).await
    }

    async fn granted(&self, name: &str, secret: &str, permission: Permission) -> Granted {
        match self.ask(name, secret, permission).await {
            Decision::Allowed(granted) => granted,
            other => panic!("{name}: {other:?}"),
        }
    }

    async fn denied(&self, name: &str, secret: &str) -> Denial {
        match self.ask(name, secret, Permission::Api).await {
            Decision::Denied(denial) => denial,
            other => panic!("{name}: {other:?}"),
        }
    }

    async fn still(&self, granted: &Granted, permission: Permission) -> Result<bool, Unavailable> {
        self.access.still_holds_by(granted, permission, DecisionClock::starting_at(self.now)).await
    }

    /// The number of password checks.
    fn checks(&self) -> u64 {
        let count = |check| self.access.metrics.password_checks(check);
        count(PasswordCheck::Right) + count(PasswordCheck::Wrong)
    }

    /// The value of one line of the metrics.
    fn counted(&self, line: &str) -> u64 {
        let text = self.access.metrics.encode();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0)
    }
}

#[tokio::test]
async fn each_bit_means_its_permission() {
    let house = house().await;
    for (name, held) in
        [("sender", Permission::Email), ("caller", Permission::Api), ("seer", Permission::Web)]
    {
        for permission in Permission::ALL {
            match house.ask(name, PASSWORD, permission).await {
                Decision::Allowed(granted) => assert_eq!((permission, granted.name().as_str()), (held, name)),
                Decision::Denied(Denial::Lacks(lacked)) => {
                    assert!(lacked == permission && permission != held)
                }
                other => panic!("{name} {permission}: {other:?}"),
            }
        }
    }
    let granted = house.granted("HOLDER", PASSWORD, Permission::Web).await;
    assert_eq!(granted.account_value(), "Holder");
    assert_eq!(granted.permissions_value(), "email,api,web");
    let granted = house.granted("Caller", PASSWORD, Permission::Api).await;
    assert_eq!((&granted.account_value()[..], &granted.user_value()[..]), (&b"Holder"[..], &b"caller"[..]));
    assert_eq!(granted.permissions_value(), "api");
}

#[tokio::test]
async fn a_warm_check_costs_nothing_and_counts() {
    let house = house().await;
    let ask = || house.access.check_cached(&presented("caller", PASSWORD), Permission::Api, Entry::Api);
    assert!(ask().is_none());
    house.granted("caller", PASSWORD, Permission::Api).await;
    for _ in 0..5 {
        assert!(ask().is_some());
    }
    assert!(house.access.check_cached(&presented("caller", "wrong"), Permission::Api, Entry::Api).is_none());
    assert!(house.access.check_cached(&presented("caller", PASSWORD), Permission::Web, Entry::Api).is_none());
    assert_eq!(house.checks(), 1);
    assert_eq!(house.counted(r#"gatepost_cache_lookups_total{result="hit"}"#), 5);
    let line = r#"gatepost_decisions_total{entry="api",permission="api",outcome="allowed"}"#;
    assert_eq!(house.counted(line), 6);
    assert_eq!(house.counted("gatepost_cache_entries"), 1);
}

#[tokio::test]
async fn removed_edited_and_suspended_count_at_once() {
    let house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.edit("caller", None, r#"{"api": 0, "web": 1}"#).await;
    assert_eq!(house.denied("caller", PASSWORD).await, Denial::Lacks(Permission::Api));
    house.granted("caller", PASSWORD, Permission::Web).await;
    house.edit("caller", Some("another one 2"), r#"{"api": 1}"#).await;
    assert_eq!(house.denied("caller", PASSWORD).await, Denial::Wrong);
    house.granted("caller", "another one 2", Permission::Api).await;
    house.set_active(false).await;
    assert_eq!(house.denied("caller", "another one 2").await, Denial::Suspended);
    assert_eq!(house.denied("holder", PASSWORD).await, Denial::Suspended);
    house.set_active(true).await;
    house.granted("caller", "another one 2", Permission::Api).await;
    house.remove("caller").await;
    assert_eq!(house.denied("caller", "another one 2").await, Denial::Unknown);
}

#[tokio::test]
async fn no_mutation_and_no_expiry_costs_a_password_check() {
    let mut house = house().await;
    for name in ["caller", "seer", "holder"] {
        house.ask(name, PASSWORD, Permission::Api).await;
    }
    assert_eq!(house.checks(), 3);
    house.edit("caller", None, r#"{"email": 1}"#).await;
    house.granted("caller", PASSWORD, Permission::Email).await;
    house.set_active(false).await;
    house.set_active(true).await;
    house.access.epochs.raise_all();
    house.now += Duration::from_secs(3600);
    for name in ["caller", "seer", "holder"] {
        assert!(!matches!(house.ask(name, PASSWORD, Permission::Api).await, Decision::Denied(Denial::Wrong)));
    }
    assert_eq!(house.checks(), 3);
    assert_eq!(house.counted(r#"gatepost_cache_lookups_total{result="stale"}"#), 4);
}

#[tokio::test]
async fn a_mutation_leaves_the_others_alone() {
    let house = house().await;
    house.granted("seer", PASSWORD, Permission::Web).await;
    // Among so many names one is in another shard, whatever the seed.
    let shard = |name: &str| house.access.epochs.shard(&canonical(name));
    let other = (0..).map(|n| format!("other{n}")).find(|name| shard(name) != shard("seer")).unwrap();
    house.add(&other, &StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap()), "{}").await;
    house.edit(&other, None, r#"{"web": 1}"#).await;
    house.remove(&other).await;
    assert!(house.access.check_cached(&presented("seer", PASSWORD), Permission::Web, Entry::Web).is_some());
}

#[tokio::test]
async fn without_the_store_only_what_is_fresh_decides() {
    let mut house = house().await;
    let granted = house.granted("caller", PASSWORD, Permission::Api).await;
    house.access.store.close().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(true));
    for (name, secret) in [("caller", "wrong"), ("nobody", PASSWORD), ("seer", PASSWORD)] {
        let decision = house.ask(name, secret, Permission::Api).await;
        assert!(matches!(decision, Decision::Unavailable(Unavailable::Store)), "{name}: {decision:?}");
    }
    house.now += Duration::from_secs(3600);
    let decision = house.ask("caller", PASSWORD, Permission::Api).await;
    assert!(matches!(decision, Decision::Unavailable(Unavailable::Store)), "{decision:?}");
    assert_eq!(house.still(&granted, Permission::Api).await, Err(Unavailable::Store));
    let line = r#"gatepost_decisions_total{entry="api",permission="api",outcome="unavailable"}"#;
    assert_eq!(house.counted(line), 4);
}

#[tokio::test]
async fn what_was_granted_holds_until_it_is_taken() {
    let mut house = house().await;
    let granted = house.granted("seer", PASSWORD, Permission::Web).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(false));
    house.access.epochs.raise_all();
    house.now += Duration::from_secs(3600);
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    house.edit("seer", None, r#"{"api": 1}"#).await;
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(true));
    house.set_active(false).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false));
    house.set_active(true).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    house.edit("seer", None, r#"{"web": 0}"#).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false));
    house.edit("seer", None, r#"{"web": 1}"#).await;
    assert_eq!(house.checks(), 1, "none of it costs a password check");

    house.edit("seer", Some("another one 2"), "{}").await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false));
    let granted = house.granted("seer", "another one 2", Permission::Web).await;
    house.remove("seer").await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false));
    let hash = StoredHash::new(bcrypt::hash("another one 2", COST).unwrap());
    house.add("seer", &hash, "{}").await;
    house.granted("seer", "another one 2", Permission::Web).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false), "another one of that name");
}

#[tokio::test]
async fn only_the_holder_manages() {
    let house = house().await;
    let access = &house.access;
    let ask = |name: &'static str, secret: &str| {
        let secret = secret.to_owned();
        async move {
            access
                .authenticate_holder(presented(name, &secret), Entry::Api, HERE.parse::<IpAddr>().unwrap())
                .await
        }
    };
    assert!(
        matches!(ask("holder", PASSWORD).await, HolderDecision::Holder(granted) if granted.kind() == PrincipalKind::Holder)
    );
    assert!(matches!(ask("caller", PASSWORD).await, HolderDecision::NotHolder));
    assert!(matches!(ask("caller", "wrong").await, HolderDecision::Denied(Denial::Wrong)));
    assert!(matches!(ask("nobody", PASSWORD).await, HolderDecision::Denied(Denial::Unknown)));
    house.set_active(false).await;
    assert!(matches!(ask("holder", PASSWORD).await, HolderDecision::Denied(Denial::Suspended)));
    for n in 0..12 {
        ask("holder", &format!("guess {n}")).await;
    }
    // Who was right from there before passes once a second.
    let mut last = ask("holder", "guess").await;
    for n in 0..20 {
        if !matches!(last, HolderDecision::Denied(Denial::Throttled(_))) {
            last = ask("holder", &format!("guess again {n}")).await;
        }
    }
    assert!(matches!(last, HolderDecision::Denied(Denial::Throttled(_))), "{last:?}");
    house.access.store.close().await;
    assert!(matches!(ask("holder", PASSWORD).await, HolderDecision::Unavailable(Unavailable::Store)));
    let line = r#"gatepost_decisions_total{entry="api",permission="manage",outcome="forbidden"}"#;
    assert_eq!(house.counted(line), 1);
}
