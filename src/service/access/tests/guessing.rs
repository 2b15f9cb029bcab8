//! Guessing: every guess gets the same answer, and answers become rarer.

use super::*;
use crate::state::hashing::{Check, HashShare};

#[tokio::test]
async fn unknown_wrong_and_suspended_cost_the_same() {
    // Another cost than the stored hashes have, which must not show either.
    let house = house_with(5, AuthSettings::default()).await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
    let name = Username::parse("asleep").unwrap();
    let _ = house.access.store.add_account(&name, &hash, Permissions::ALL).await.unwrap();
    let _ = house.access.store.set_active(&canonical("asleep"), false).await.unwrap();
    let long = "x".repeat(4096);
    let cases = [
        ("nobody", PASSWORD, Denial::Unknown),
        ("caller", "wrong pass 1", Denial::Wrong),
        ("asleep", PASSWORD, Denial::Suspended),
        ("asleep", "wrong pass 1", Denial::Wrong),
        ("nobody2", long.as_str(), Denial::Unknown),
        ("seer", long.as_str(), Denial::Wrong),
        ("sender", "with a NUL\0 1", Denial::Wrong),
    ];
    // Two of each at once, all while the one thread has something long to do.
    let long_job = StoredHash::new(bcrypt::hash(PASSWORD, 4).unwrap().replacen("$04", "$12", 1));
    let hasher = Arc::clone(&house.access.hasher);
    let busy = tokio::spawn(async move {
        let check = Check {
            stored: &long_job,
            secret: b"other",
            highest: 0,
            refused: false,
            share: HashShare::Operator,
        };
        hasher.verify(check, Lane::Rest).await.map(|checked| checked.right)
    });
    tokio::task::yield_now().await;
    let mut checks = tokio::task::JoinSet::new();
    for (nth, (name, secret, expected)) in cases.iter().enumerate() {
        for _ in 0..2 {
            let (access, now, expected) = (Arc::clone(&house.access), house.now, *expected);
            let (name, secret) = (name.to_string(), secret.to_string());
            let source = format!("198.51.100.{nth}").parse::<IpAddr>().unwrap();
            checks.spawn(async move {
                let presented = presented(&name, &secret);
                let decision = access
                    .authorize_at(presented, Permission::Api, Entry::Api, Peer::from(source), now)
                    .await;
                assert!(
                    matches!(decision, Decision::Denied(denial) if denial == expected),
                    "{name}: {decision:?}"
                );
            });
        }
    }
    checks.join_all().await;
    assert_eq!(busy.await.unwrap(), Ok(false));
    let once_each = 1 + cases.len() as u64;
    assert_eq!(house.checks(), once_each, "at once they are one check, whatever they are");
    for (name, secret, expected) in cases {
        assert_eq!(house.denied(name, secret).await, expected, "{name}");
    }
    assert_eq!(house.checks(), once_each, "again they are none, whatever they are");
    assert_eq!(house.counted(r#"gatepost_cache_lookups_total{result="miss"}"#), 3 * cases.len() as u64);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_refused_at_once() {
    let house = house().await;
    for name in ["", "ab", "no body", "12345", "caller\0", &"x".repeat(65)] {
        assert_eq!(house.denied(name, PASSWORD).await, Denial::Unknown, "{name:?}");
    }
    assert_eq!(house.checks(), 0);
}

#[tokio::test]
async fn a_wrong_secret_is_remembered_for_a_minute() {
    let mut house = house().await;
    for _ in 0..4 {
        assert_eq!(house.denied("caller", "wrong pass 1").await, Denial::Wrong);
    }
    assert_eq!(house.checks(), 1, "and what is remembered isn't throttled");
    let began = Instant::now();
    house.denied("caller", "wrong pass 1").await;
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "nor is it quicker where the row is found quicker"
    );
    house.now += Duration::from_secs(61);
    assert_eq!(house.denied("caller", "wrong pass 1").await, Denial::Wrong);
    assert_eq!(house.checks(), 2);
    house.edit("caller", Some("wrong pass 1"), "{}").await;
    house.granted("caller", "wrong pass 1", Permission::Api).await;
}

#[tokio::test]
async fn over_smtp_who_lacks_the_permission_is_told_no_sooner_than_who_is_wrong() {
    let house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.edit("caller", None, r#"{"email": 0, "api": 1}"#).await;
    for secret in [PASSWORD, "wrong again 1"] {
        // Known by then, one way or the other.
        house.ask("caller", secret, Permission::Api).await;
        let began = Instant::now();
        let peer = HERE.parse::<IpAddr>().unwrap().into();
        let asked = presented("caller", secret);
        let decision = house.access.authorize_at(asked, Permission::Email, Entry::Smtp, peer, began).await;
        assert!(matches!(decision, Decision::Denied(_)), "{decision:?}");
        assert!(began.elapsed() >= Duration::from_millis(250), "{secret}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn failures_are_throttled_and_the_owner_is_not() {
    let mut house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    for n in 0..11 {
        assert_eq!(house.denied("caller", &format!("guess {n}")).await, Denial::Wrong);
    }
    let before = house.checks();
    for n in 100..102 {
        assert!(matches!(house.denied("caller", &format!("guess {n}")).await, Denial::Throttled(_)));
        assert!(matches!(house.denied(&format!("nobody{n}"), PASSWORD).await, Denial::Throttled(_)));
    }
    assert_eq!(house.checks(), before, "what is throttled isn't checked");
    assert_eq!(house.counted(r#"gatepost_throttled_total{by="source",entry="api"}"#), 4);
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.now += Duration::from_secs(3600);
    house.granted("caller", PASSWORD, Permission::Api).await;
}

#[tokio::test]
async fn the_owner_gets_in_while_others_guess_with_a_cold_cache() {
    let mut house = house().await;
    // More guesses than are free for a username, from many addresses.
    for n in 0..25 {
        house.ask_from(&format!("198.51.100.{n}"), "caller", &format!("guess {n}"), Permission::Api).await;
        house.now += Duration::from_secs(1);
    }
    let guess = house.ask_from("198.51.100.1", "caller", "guess again", Permission::Api).await;
    assert!(matches!(guess, Decision::Denied(Denial::Throttled(_))), "{guess:?}");
    house.granted("caller", PASSWORD, Permission::Api).await;
}

#[tokio::test]
async fn without_throttle_nothing_is_delayed() {
    let house = house_with(COST, AuthSettings { throttle: false, ..AuthSettings::default() }).await;
    for n in 0..40 {
        assert_eq!(house.denied("caller", &format!("guess {n}")).await, Denial::Wrong);
    }
}

/// The cost of a check of an account, in rounds of bcrypt.
async fn rounds(house: &House, name: &str, secret: &str) -> (Denial, u64) {
    let before = house.access.hasher.rounds();
    let denial = house.denied(name, secret).await;
    (denial, house.access.hasher.rounds() - before)
}

#[tokio::test]
async fn all_that_is_refused_costs_as_much_as_the_dearest_hash() {
    // The stored hashes are cheaper than what is configured, then one is costlier.
    let house = house_with(6, AuthSettings { throttle: false, ..AuthSettings::default() }).await;
    let add = async |name: &str, cost| {
        let hash = StoredHash::new(bcrypt::hash(PASSWORD, cost).unwrap());
        let name = Username::parse(name).unwrap();
        let _ = house.access.store.add_account(&name, &hash, Permissions::ALL).await.unwrap();
    };
    add("asleep", 5).await;
    let _ = house.access.store.set_active(&canonical("asleep"), false).await.unwrap();
    for (nth, cost) in [6, 8].into_iter().enumerate() {
        if cost == 8 {
            add("costlier", 8).await;
        }
        for (name, secret, denial) in [
            ("asleep", PASSWORD.to_owned(), Denial::Suspended),
            ("asleep", format!("wrong pass {nth}"), Denial::Wrong),
            ("caller", format!("wrong pass {nth}"), Denial::Wrong),
            ("nobody", format!("wrong pass {nth}"), Denial::Unknown),
        ] {
            // What is remembered costs nothing.
            let secret = if nth == 1 && denial == Denial::Suspended { continue } else { secret };
            assert_eq!(rounds(&house, name, &secret).await, (denial, 1 << cost), "{name}");
        }
    }
    assert_eq!(rounds(&house, "costlier", "wrong pass 1").await, (Denial::Wrong, 1 << 8));
}

/// All of these at once, from one source.
async fn at_once(house: &House, from: &str, logins: Vec<(String, String)>) -> Vec<Decision> {
    let mut checks = tokio::task::JoinSet::new();
    for (name, secret) in logins {
        let (access, now, source) = (Arc::clone(&house.access), house.now, from.parse::<IpAddr>().unwrap());
        checks.spawn(async move {
            access
                .authorize_at(presented(&name, &secret), Permission::Api, Entry::Api, Peer::from(source), now)
                .await
        });
    }
    checks.join_all().await
}

#[tokio::test]
async fn guesses_at_once_are_as_few_as_one_after_another() {
    let house = house_with(8, AuthSettings::default()).await;
    let guesses = (0..200).map(|n| ("caller".to_owned(), format!("guess {n}"))).collect();
    let neighbour = at_once(&house, "198.51.100.9", vec![("seer".to_owned(), PASSWORD.to_owned())]);
    let (decisions, others) = tokio::join!(at_once(&house, HERE, guesses), neighbour);
    let count = |wanted: fn(&Denial) -> bool| {
        let denials = decisions.iter().filter(|d| matches!(d, Decision::Denied(denial) if wanted(denial)));
        denials.count()
    };
    let wrong = count(|denial| *denial == Denial::Wrong);
    let throttled = count(|denial| matches!(denial, Denial::Throttled(_)));
    assert_eq!(wrong + throttled, 200, "{decisions:?}");
    // The ten that are free, and those that the delays let through while the others were made.
    assert!((10..20).contains(&wrong), "{wrong}");
    assert_eq!(house.access.metrics.password_checks(PasswordCheck::Wrong), wrong as u64);
    assert!(matches!(&others[..], [Decision::Denied(Denial::Lacks(_))]), "{others:?}");
}

#[tokio::test]
async fn those_who_are_right_come_through_however_many_they_are() {
    let house = house_with(COST, AuthSettings::default()).await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
    for n in 0..100 {
        house.add(&format!("user{n}"), &hash, "{}").await;
    }
    // As after a restart, behind one address; each of them comes twice.
    let logins = (0..200).map(|n| (format!("user{}", n % 100), PASSWORD.to_owned())).collect();
    let decisions = at_once(&house, HERE, logins).await;
    assert!(decisions.iter().all(|decision| matches!(decision, Decision::Allowed(_))), "{decisions:?}");
}
