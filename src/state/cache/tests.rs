use super::*;
use crate::domain::{AccountId, CredentialId, Permissions, Principal, PrincipalKind, Username};
use crate::state::clock;

const SECRET: &[u8] = b"secret";

fn principal(name: &str) -> Principal {
    Principal {
        kind: PrincipalKind::Credential(CredentialId(2)),
        account: AccountId(1),
        account_name: Username::parse("holder").unwrap(),
        name: Username::parse(name).unwrap(),
        hash: StoredHash::new("$2b$...".to_owned()),
        bits: Permissions::ALL,
        rights: Permissions::ALL,
        active: true,
    }
}

fn canonical(name: &str) -> Canonical {
    Canonical::of(name.as_bytes()).unwrap()
}

/// A cache with its epochs and one moment.
struct Fixture {
    cache: Cache,
    epochs: Epochs,
    now: Moment,
}

impl Fixture {
    fn new(capacity: u64) -> Fixture {
        let cache = Cache::new(capacity, Duration::from_secs(60)).unwrap();
        Fixture { cache, epochs: Epochs::new(), now: clock::now() }
    }

    fn proof(&self, row: &Principal, secret: &[u8]) -> Proof {
        Proof {
            digest: self.cache.digest(&row.name.canonical(), secret),
            fingerprint: self.cache.fingerprint(&row.hash),
        }
    }

    /// The principal, verified with [`SECRET`], as read after `seen` was taken.
    fn verified(&self, row: Principal, seen: u64) -> Arc<Verified> {
        let proof = self.proof(&row, SECRET);
        Arc::new(Verified::new(row, proof, seen, &self.epochs, self.now))
    }

    fn insert(&self, name: &str) {
        self.cache.insert(self.verified(principal(name), self.epochs.now()));
    }

    fn find(&self, name: &str) -> Option<Arc<Verified>> {
        self.cache.find(&canonical(name), SECRET, &self.epochs, self.now)
    }

    fn recall_with(&self, memory: &ConnectionMemory, name: &str, secret: &[u8]) -> Option<Arc<Verified>> {
        self.cache.find_remembered(memory, &canonical(name), secret, &self.epochs, self.now)
    }

    fn recall(&self, memory: &ConnectionMemory, name: &str) -> Option<Arc<Verified>> {
        self.recall_with(memory, name, SECRET)
    }

    /// A connection that remembers the principal of that name, and what it remembers.
    fn remembering(&self, name: &str) -> (ConnectionMemory, Arc<Verified>) {
        let memory = ConnectionMemory::default();
        let _ = self.recall(&memory, name).unwrap();
        let own = self.recall(&memory, name).unwrap();
        (memory, own)
    }
}

#[test]
fn an_entry_ends_by_epoch_and_by_age() {
    let fixture = Fixture::new(10);
    let now = fixture.now;
    fixture.insert("someone");
    let verified = fixture.cache.get(&canonical("SomeOne")).unwrap();
    let is_fresh = |now| fixture.cache.is_fresh(&verified, &fixture.epochs, now);
    assert!(is_fresh(now + Duration::from_secs(59)));
    assert!(!is_fresh(now + Duration::from_secs(60)));
    fixture.epochs.raise(&canonical("holder"));
    assert!(!is_fresh(now) && fixture.find("someone").is_none());
}

#[test]
fn an_entry_is_found_by_its_own_secret_and_replaced() {
    let fixture = Fixture::new(1_000);
    (0..1_000).for_each(|n| fixture.insert(&format!("user{n}")));
    assert!((0..1_000).all(|n| fixture.find(&format!("user{n}")).is_some()));
    assert!(fixture.find("someone.else").is_none());
    let wrong = fixture.cache.find(&canonical("user7"), b"another", &fixture.epochs, fixture.now);
    assert!(wrong.is_none());
    let newer = fixture.verified(principal("user7"), fixture.epochs.now());
    fixture.cache.insert(Arc::clone(&newer));
    assert!(Arc::ptr_eq(&newer, &fixture.find("USER7").unwrap()));
    assert_eq!(fixture.cache.principals(), 1_000);
    fixture.cache.remove(&canonical("user7"));
    assert!(fixture.find("user7").is_none());
    assert_eq!(fixture.cache.principals(), 999);
}

#[test]
fn beyond_the_capacity_the_least_recently_used_go() {
    let fixture = Fixture::new(3);
    (0..3).for_each(|n| fixture.insert(&format!("user{n}")));
    assert_eq!(fixture.cache.principals(), 3);
    assert!(fixture.find("user0").is_some() && fixture.find("user2").is_some());
    fixture.insert("user3");
    assert_eq!(fixture.cache.principals(), 3);
    assert!(fixture.find("user0").is_some() && fixture.find("user2").is_some());
    assert!(fixture.find("user1").is_none() && fixture.find("user3").is_some());
    // However often those in it were used.
    for _ in 0..100 {
        assert!(["user0", "user2", "user3"].iter().all(|name| fixture.find(name).is_some()));
    }
    for n in 4..20 {
        fixture.insert(&format!("user{n}"));
        assert_eq!(fixture.cache.principals(), 3);
        assert!(fixture.find(&format!("user{n}")).is_some(), "user{n} was just verified");
    }
}

#[test]
fn the_capacity_holds_under_load() {
    let fixture = Fixture::new(1_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || {
                (0..2_500).for_each(|n| fixture.insert(&format!("user{}", thread * 2_500 + n)));
            });
        }
    });
    assert_eq!(fixture.cache.principals(), 1_000);
    let found = (0..10_000).filter(|n| fixture.find(&format!("user{n}")).is_some()).count();
    assert_eq!(found, 1_000);
}

#[test]
fn a_connection_remembers_what_comes_twice_in_a_row() {
    let fixture = Fixture::new(10);
    fixture.insert("someone");
    fixture.insert("another");
    let entry = fixture.find("someone").unwrap();
    let memory = ConnectionMemory::default();
    assert!(Arc::ptr_eq(&entry, &fixture.recall(&memory, "someone").unwrap()), "once");
    let own = fixture.recall(&memory, "someone").unwrap();
    // Nothing of it is counted, freed or written by another connection.
    assert!(!Arc::ptr_eq(&entry, &own) && !Arc::ptr_eq(&entry.identity, &own.identity));
    assert_ne!(entry.identity.user_value.as_ptr(), own.identity.user_value.as_ptr());
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&own, &fixture.recall(&memory, "SomeOne").unwrap()));
    }
    // Users of one connection that take turns are not copied each time.
    let entry = fixture.find("another").unwrap();
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&entry, &fixture.recall(&memory, "another").unwrap()));
        assert!(Arc::ptr_eq(&own, &fixture.recall(&memory, "someone").unwrap()));
    }
}

#[test]
fn what_is_remembered_is_of_one_name_and_one_secret() {
    let fixture = Fixture::new(10);
    fixture.insert("someone");
    let (memory, _) = fixture.remembering("someone");
    assert!(fixture.recall_with(&memory, "someone", b"secret2").is_none());
    assert!(fixture.recall_with(&memory, "someone", b"").is_none());
    assert!(fixture.recall(&memory, "someone2").is_none());
    assert!(fixture.recall(&memory, "someone").is_some());
}

#[test]
fn what_is_remembered_ends_by_epoch_and_by_age() {
    let names = ["someone", "holder"].map(canonical);
    for end in 0..4 {
        let mut fixture = Fixture::new(10);
        fixture.insert("someone");
        let (memory, _) = fixture.remembering("someone");
        match end {
            3 => fixture.now += Duration::from_secs(60),
            2 => fixture.epochs.raise_all(),
            1 => fixture.epochs.raise(&names[1]),
            _ => fixture.epochs.raise(&names[0]),
        }
        assert!(fixture.recall(&memory, "someone").is_none(), "{end}");
        // What is verified anew is remembered anew, from the first request on.
        fixture.insert("someone");
        let own = fixture.recall(&memory, "someone").unwrap();
        assert!(!Arc::ptr_eq(&own, &fixture.cache.get(&names[0]).unwrap()), "{end}");
        assert!(Arc::ptr_eq(&own, &fixture.recall(&memory, "someone").unwrap()), "{end}");
    }
}

#[test]
fn what_is_remembered_spares_a_password_check_though_it_was_evicted() {
    let mut fixture = Fixture::new(1);
    fixture.insert("someone");
    let (memory, _) = fixture.remembering("someone");
    fixture.insert("another");
    assert_eq!(fixture.cache.principals(), 1);
    assert!(fixture.cache.get(&canonical("someone")).is_none());
    assert!(fixture.recall(&memory, "someone").is_some());
    // In use, and stale: the digest is there to be compared with the row's.
    fixture.epochs.raise(&canonical("someone"));
    assert!(fixture.recall(&memory, "someone").is_none());
    assert!(fixture.cache.get(&canonical("someone")).is_some());

    // In use for long: it isn't evicted as unused.
    fixture.insert("someone");
    let (memory, own) = fixture.remembering("someone");
    fixture.insert("another");
    assert_eq!(fixture.cache.principals(), 1);
    assert!(!memory.takes_use());
    fixture.now += Duration::from_secs(1);
    assert!(Arc::ptr_eq(&own, &fixture.recall(&memory, "someone").unwrap()));
    let entry = fixture.cache.get(&canonical("someone")).unwrap();
    assert!(!Arc::ptr_eq(&own, &entry), "what a connection remembers stays its own");
    // The last use of a long connection is noted again, once for that second.
    assert!(memory.takes_use() && !memory.takes_use());
}

/// A loader and a mutation, step by step in each order that there is. Whatever a check finds that begins after the mutation was
/// answered is as the mutation left it, also where the loader inserts what it read long after the entry was removed.
#[test]
fn no_order_of_loading_and_changing_leaves_a_stale_entry_that_is_believed() {
    // Where the three steps of the loader stand among the six.
    for order in (0_u32..64).filter(|order| order.count_ones() == 3) {
        let fixture = Fixture::new(10);
        fixture.insert("someone");
        let (memory, _) = fixture.remembering("someone");
        let mut stored = principal("someone");
        let (mut seen, mut row, mut loader, mut mutation) = (0, None, 0, 0);
        for step in 0..6 {
            match (order >> step & 1 == 1, loader, mutation) {
                (true, 0, _) => seen = fixture.epochs.now(),
                (true, 1, _) => row = Some(stored.clone()),
                (true, ..) => fixture.cache.insert(fixture.verified(row.clone().unwrap(), seen)),
                (false, _, 0) => stored.bits = Permissions::NONE,
                (false, _, 1) => fixture.epochs.raise(&canonical("someone")),
                (false, ..) => fixture.cache.remove(&canonical("someone")),
            }
            match order >> step & 1 == 1 {
                true => loader += 1,
                false => mutation += 1,
            }
            let is_answered = mutation == 3;
            for found in [fixture.find("someone"), fixture.recall(&memory, "someone")] {
                let is_stale = found.is_some_and(|found| !found.effective.is_empty());
                assert!(!(is_answered && is_stale), "order {order:06b}, after step {step}");
            }
        }
    }
}

#[test]
fn a_denial_is_of_one_secret_one_hash_one_state_and_one_minute() {
    let fixture = Fixture::new(10);
    let Fixture { cache, now, .. } = &fixture;
    let now = *now;
    let mut row = principal("someone");
    let wrong = fixture.proof(&row, b"wrong");
    cache.deny(&wrong, Circumstance::Active, Denial::Wrong, now);
    assert_eq!(
        cache.denial(&wrong, Circumstance::Active, now + Duration::from_secs(59)),
        Some(Denial::Wrong)
    );
    assert_eq!(cache.denial(&wrong, Circumstance::Active, now + Duration::from_secs(60)), None);
    assert_eq!(cache.denial(&wrong, Circumstance::Suspended, now), None);
    assert_eq!(cache.denial(&fixture.proof(&row, b"other"), Circumstance::Active, now), None);
    row.hash = StoredHash::new("$2b$another".to_owned());
    assert_eq!(cache.denial(&fixture.proof(&row, b"wrong"), Circumstance::Active, now), None);
}
