//! Trust: without it nothing is decided, and nothing passes on what was decided before.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;

const TRUST: Duration = Duration::from_secs(10);
/// A cost at which a password check takes longer than the trust that a test leaves, on any machine.
const SLOW: u32 = 10;
const SLOW_TRUST: Duration = Duration::from_millis(5);

impl House {
    /// A house that has trust for [`TRUST`].
    async fn trusted() -> House {
        let house = house_of(COST, AuthSettings::default(), Epochs::without_trust()).await;
        house.trust().extend(house.now + TRUST);
        house
    }

    fn trust(&self) -> &crate::state::trust::Trust {
        self.access.epochs.trust()
    }

    fn is_cached(&self, name: &str) -> bool {
        let memory = ConnectionMemory::default();
        let permission = Permission::Api;
        let presented = presented(name, PASSWORD);
        let granted = self.access.check_remembered_at(&memory, &presented, permission, Entry::Api, self.now);
        granted.is_some()
    }

    async fn is_cut_off(&self, name: &str, secret: &str) -> bool {
        matches!(self.ask(name, secret, Permission::Api).await, Decision::Unavailable(Unavailable::CutOff))
    }
}

#[tokio::test]
async fn without_trust_nothing_is_decided() {
    let mut house = House::trusted().await;
    let granted = house.granted("caller", PASSWORD, Permission::Api).await;
    assert_eq!(house.denied("caller", "wrong").await, Denial::Wrong);
    assert_eq!(house.denied("nobody", PASSWORD).await, Denial::Unknown);
    assert!(house.is_cached("caller"));
    let checks = house.checks();

    house.now += TRUST;
    assert!(!house.is_cached("caller"));
    let logins = [
        ("caller", PASSWORD),
        // Remembered as wrong.
        ("caller", "wrong"),
        ("nobody", PASSWORD),
        // Never seen before, though its row can be read.
        ("seer", PASSWORD),
        ("seer", "wrong"),
        ("not a username", PASSWORD),
    ];
    for (name, secret) in logins {
        assert!(house.is_cut_off(name, secret).await, "{name} {secret}");
    }
    assert_eq!(house.still(&granted, Permission::Api).await, Err(Unavailable::CutOff));
    assert_eq!(house.checks(), checks, "no password was checked");
    assert_eq!(house.counted("gatepost_decisions_without_trust_total"), logins.len() as u64 + 1);
    assert_eq!(house.counted("gatepost_store_errors_total"), 0);

    // By the system's clock.
    house.trust().end();
    let source = HERE.parse::<IpAddr>().unwrap();
    for name in ["holder", "caller", "nobody"] {
        let decision = house.access.authenticate_holder(presented(name, PASSWORD), Entry::Api, source).await;
        assert!(matches!(decision, HolderDecision::Unavailable(Unavailable::CutOff)), "{name}: {decision:?}");
    }
    assert_eq!(house.access.ready().await, Err(Unavailable::CutOff));
    assert!(house.access.check_cached(&presented("caller", PASSWORD), Permission::Api, Entry::Api).is_none());

    house.trust().extend(clock::now() + TRUST);
    house.now = clock::now();
    assert_eq!(house.access.ready().await, Ok(()));
    assert!(house.is_cached("caller"), "nothing was forgotten");
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(true));
    assert_eq!(house.denied("caller", "wrong").await, Denial::Wrong);
    assert_eq!(house.checks(), checks);
}

#[tokio::test]
async fn a_check_that_outlasts_its_trust_decides_nothing() {
    // Its hash is not renewed.
    let mut house = house_of(SLOW, AuthSettings::default(), Epochs::without_trust()).await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, SLOW).unwrap());
    house.add("slow", &hash, r#"{"api": 1}"#).await;
    for secret in [PASSWORD, "wrong"] {
        house.trust().end();
        house.now = clock::now();
        house.trust().extend(house.now + SLOW_TRUST);
        assert!(house.is_cut_off("slow", secret).await, "{secret}");
    }
    assert_eq!(house.checks(), 2, "both had trust at their beginning");
    house.trust().extend(clock::now() + TRUST);
    house.now = clock::now();
    house.granted("slow", PASSWORD, Permission::Api).await;
    assert_eq!(house.denied("slow", "wrong").await, Denial::Wrong);
    assert_eq!(house.checks(), 2, "what was found out is of use");
}

#[tokio::test]
async fn what_was_missed_counts_once_trust_returns() {
    let mut house = House::trusted().await;
    let granted = house.granted("caller", PASSWORD, Permission::Api).await;
    let written = house
        .access
        .store
        .remove_credential(house.account, Authority::Operator, &canonical("caller"))
        .await
        .unwrap();
    assert!(house.is_cached("caller"), "until its trust ends, a revocation is not answered");
    house.now += TRUST;
    assert!(house.is_cut_off("caller", PASSWORD).await);
    // As a node does that is back: it applies, and then extends.
    house.tell(&written.change);
    house.trust().extend(house.now + TRUST);
    assert!(!house.is_cached("caller"));
    assert_eq!(house.denied("caller", PASSWORD).await, Denial::Unknown);
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(false));
}

#[tokio::test]
async fn subscribers_hear_of_the_end_and_of_the_return() {
    let house = House::trusted().await;
    let epochs = Arc::clone(&house.access.epochs);
    let watching = tokio::spawn(async move { epochs.watch_trust().await });
    // On one thread: it has looked at the trust.
    tokio::task::yield_now().await;
    let mut changes = house.access.subscribe();
    let mut change = async || timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    house.trust().end();
    change().await;
    let returned = tokio::spawn({
        let access = Arc::clone(&house.access);
        async move { access.until_trust().await }
    });
    tokio::task::yield_now().await;
    assert!(!returned.is_finished());
    house.trust().extend(clock::now() + Duration::from_millis(500));
    change().await;
    timeout(Duration::from_secs(10), returned).await.unwrap().unwrap();
    change().await;
    assert!(!house.access.has_trust(), "it ran out");
    watching.abort();
}

/// A step of a node, with times in milliseconds.
#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Extend(u64),
    End,
    Raise,
    Check,
    Hold,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..400_u64).prop_map(Step::Advance),
        (0..1000_u64).prop_map(Step::Extend),
        Just(Step::End),
        Just(Step::Raise),
        Just(Step::Check),
        Just(Step::Hold),
    ]
}

#[test]
fn nothing_is_allowed_at_or_after_the_end_of_trust() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::trusted());
    let granted = runtime.block_on(house.granted("caller", PASSWORD, Permission::Api));
    let (house, allowed, cut_off) = (RefCell::new(house), Cell::new(0), Cell::new(0));
    proptest!(ProptestConfig::with_cases(64), |(steps in proptest::collection::vec(step(), 1..40))| {
        house.borrow().trust().end();
        let mut until = Moment::ZERO;
        for step in steps {
            if let Step::Advance(millis) = step {
                house.borrow_mut().now += Duration::from_millis(millis);
            }
            let house = house.borrow();
            match step {
                Step::Advance(_) => {}
                Step::Extend(millis) => {
                    let extended = house.now + Duration::from_millis(millis);
                    house.trust().extend(extended);
                    until = until.max(extended);
                }
                Step::End => {
                    house.trust().end();
                    until = Moment::ZERO;
                }
                Step::Raise => house.access.epochs.raise(&canonical("caller")),
                Step::Check => {
                    let cached = house.is_cached("caller");
                    prop_assert!(!cached || house.now < until);
                    match runtime.block_on(house.ask("caller", PASSWORD, Permission::Api)) {
                        Decision::Allowed(_) => {
                            prop_assert!(house.now < until);
                            allowed.set(allowed.get() + 1);
                        }
                        Decision::Unavailable(Unavailable::CutOff) => {
                            prop_assert!(!cached);
                            cut_off.set(cut_off.get() + 1);
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Hold => match runtime.block_on(house.still(&granted, Permission::Api)) {
                    Ok(holds) => prop_assert!(holds && house.now < until),
                    Err(why) => prop_assert_eq!(why, Unavailable::CutOff),
                },
            }
        }
    });
    assert!(allowed.get() > 20 && cut_off.get() > 20, "{allowed:?} {cut_off:?}");
}
