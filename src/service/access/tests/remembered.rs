//! The memory of a connection is judged at each request, as an entry of the cache is.

use super::*;

/// A connection of `house`, and the answer that it gets without the store.
struct Kept<'a> {
    house: &'a House,
    memory: ConnectionMemory,
}

impl<'a> Kept<'a> {
    fn new(house: &'a House) -> Kept<'a> {
        Kept { house, memory: ConnectionMemory::default() }
    }

    fn check_at(&self, name: &str, secret: &str, permission: Permission, now: Moment) -> bool {
        let presented = presented(name, secret);
        let access = &self.house.access;
        access.check_remembered_at(&self.memory, &presented, permission, Entry::Api, now).is_some()
    }

    fn check(&self, name: &str, secret: &str, permission: Permission) -> bool {
        self.check_at(name, secret, permission, self.house.now)
    }

    /// Asks as the entries do: the store where the memory doesn't answer.
    async fn ask(&self, name: &str, secret: &str, permission: Permission) -> Result<(), Denial> {
        if self.check(name, secret, permission) {
            return Ok(());
        }
        match self.house.ask(name, secret, permission).await {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(denial) => Err(denial),
            Decision::Unavailable(why) => panic!("{why}"),
        }
    }

    /// Makes the connection remember the credential `caller`.
    async fn warm(&self) {
        for _ in 0..3 {
            self.ask("caller", PASSWORD, Permission::Api).await.unwrap();
        }
        assert!(self.check("caller", PASSWORD, Permission::Api));
    }
}

#[tokio::test]
async fn a_remembered_principal_is_not_believed_after_a_change() {
    let house = house().await;
    let kept = Kept::new(&house);
    kept.warm().await;
    house.edit("caller", None, r#"{"api": 0, "web": 1}"#).await;
    assert_eq!(
        kept.ask("caller", PASSWORD, Permission::Api).await,
        Err(Denial::Lacks(Permission::Api)),
        "a cleared permission"
    );
    house.edit("caller", None, r#"{"api": 1}"#).await;
    kept.warm().await;
    assert_eq!(house.checks(), 1, "none of it costs a password check");
    house.set_active(false).await;
    assert_eq!(kept.ask("caller", PASSWORD, Permission::Api).await, Err(Denial::Suspended));
    house.set_active(true).await;
    kept.warm().await;
    house.edit("caller", Some("another one 2"), "{}").await;
    assert_eq!(kept.ask("caller", PASSWORD, Permission::Api).await, Err(Denial::Wrong));
    kept.ask("caller", "another one 2", Permission::Api).await.unwrap();
    house.edit("caller", Some(PASSWORD), "{}").await;
    kept.warm().await;
    house.remove("caller").await;
    assert_eq!(kept.ask("caller", PASSWORD, Permission::Api).await, Err(Denial::Unknown));
    assert_eq!(house.counted("gatepost_cache_entries"), 0, "neither the cache nor the connection kept it");
}

#[tokio::test]
async fn a_remembered_principal_is_believed_for_its_own_secret_name_and_permission() {
    let house = house().await;
    let kept = Kept::new(&house);
    kept.warm().await;
    assert!(!kept.check("caller", "wrong", Permission::Api));
    assert!(!kept.check("caller", "", Permission::Api));
    assert!(!kept.check("caller", &"x".repeat(LONGEST_BYTES + 1), Permission::Api));
    assert!(!kept.check("seer", PASSWORD, Permission::Api));
    assert!(!kept.check("seer", PASSWORD, Permission::Web), "not verified yet");
    assert!(!kept.check("caller", PASSWORD, Permission::Web));
    assert!(kept.check("CALLER", PASSWORD, Permission::Api));
    assert_eq!(kept.ask("caller", "wrong", Permission::Api).await, Err(Denial::Wrong));
    assert_eq!(
        kept.ask("seer", PASSWORD, Permission::Api).await,
        Err(Denial::Lacks(Permission::Api)),
        "another credential on the same connection"
    );
    assert!(kept.check("caller", PASSWORD, Permission::Api));
}

#[tokio::test]
async fn a_remembered_principal_is_asked_for_again_after_its_time() {
    let house = house().await;
    let ttl = AuthSettings::default().cache_ttl;
    let kept = Kept::new(&house);
    kept.warm().await;
    let check = |after| kept.check_at("caller", PASSWORD, Permission::Api, house.now + after);
    assert!(check(ttl - Duration::from_secs(1)));
    assert!(!check(ttl + Duration::from_secs(1)));
    // And the store decides then, or nobody.
    house.access.store.close().await;
    assert!(check(ttl - Duration::from_secs(1)));
    assert!(!check(ttl + Duration::from_secs(1)));
}

#[tokio::test]
async fn what_is_remembered_counts_as_a_hit() {
    let house = house().await;
    let kept = Kept::new(&house);
    kept.warm().await;
    let hits = || house.counted(r#"gatepost_cache_lookups_total{result="hit"}"#);
    let allowed =
        || house.counted(r#"gatepost_decisions_total{entry="api",permission="api",outcome="allowed"}"#);
    let before = (hits(), allowed());
    for _ in 0..5 {
        assert!(kept.check("caller", PASSWORD, Permission::Api));
    }
    assert_eq!((hits(), allowed()), (before.0 + 5, before.1 + 5));
}

/// With a cache too small for all, those who are on a connection of their own cost no password check when their row has
/// to be read again.
#[tokio::test]
async fn what_is_remembered_costs_no_password_check_though_it_was_evicted() {
    let house = house_with(COST, AuthSettings { cache_capacity: 1, ..AuthSettings::default() }).await;
    let kept = Kept::new(&house);
    kept.warm().await;
    house.granted("seer", PASSWORD, Permission::Web).await;
    assert_eq!(house.counted("gatepost_cache_entries"), 1);
    assert_eq!(house.checks(), 2);
    house.access.epochs.raise_all();
    kept.ask("caller", PASSWORD, Permission::Api).await.unwrap();
    assert_eq!(house.checks(), 2);
}

/// A removal and a new password drop the entry, in this process and in others; other changes keep it, so that they cost no
/// password check.
#[tokio::test]
async fn an_entry_without_use_is_dropped() {
    let house = house().await;
    let entries = || house.counted("gatepost_cache_entries");
    for name in ["caller", "seer", "holder"] {
        house.ask(name, PASSWORD, Permission::Api).await;
    }
    assert_eq!(entries(), 3);
    house.edit("caller", None, r#"{"api": 0}"#).await;
    house.set_active(false).await;
    house.set_active(true).await;
    assert_eq!(entries(), 3);
    house.edit("caller", Some("another one 2"), "{}").await;
    assert_eq!(entries(), 2);
    house.remove("seer").await;
    assert_eq!(entries(), 1);
    // What was removed without notice goes when it is asked for.
    let _ = house.access.store.remove_account(&canonical("holder")).await.unwrap();
    house.access.epochs.raise_all();
    assert_eq!(entries(), 1);
    assert_eq!(house.denied("holder", PASSWORD).await, Denial::Unknown);
    assert_eq!(entries(), 0);
}
