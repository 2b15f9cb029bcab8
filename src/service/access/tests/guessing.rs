//! Guessing: every guess gets the same answer, and answers become rarer.

use std::time::Instant;

use super::*;
use crate::domain::ClientNetwork;
use crate::state::hashing::{Check, HashShare};
use crate::state::store::PrincipalUse;

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

impl House {
    /// A login over SMTP: the reason in the log, the rounds of bcrypt, and if it took as long as what is refused without any.
    async fn mail_login(&self, from: &str, name: &str, secret: &str) -> (Denial, u64, bool) {
        let (began, before) = (Instant::now(), self.access.hasher.rounds());
        let peer = from.parse::<IpAddr>().unwrap().into();
        let asked = presented(name, secret);
        let decision = self.access.authorize_at(asked, Permission::Email, Entry::Smtp, peer, self.now).await;
        let Decision::Denied(denial) = decision else { panic!("{name}: {decision:?}") };
        let paused = began.elapsed() >= Duration::from_millis(250);
        (denial, self.access.hasher.rounds() - before, paused)
    }
}

// Case D15: fresh and repeated, over SMTP a right password without `email` is no more than a wrong one.
#[tokio::test]
async fn over_smtp_who_lacks_the_permission_is_told_nothing_else_than_who_is_wrong() {
    let house = house_with(6, AuthSettings::default()).await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, 6).unwrap());
    house.add("other", &hash, r#"{"email": 0, "api": 1}"#).await;
    house.granted("other", PASSWORD, Permission::Api).await;
    let lacks = Denial::Lacks(Permission::Email);
    let cases = [
        // In the cache since it was used for the API.
        ("other", PASSWORD, lacks),
        // Never presented before.
        ("caller", PASSWORD, lacks),
        ("caller", "wrong pass 1", Denial::Wrong),
        ("sender", "wrong pass 1", Denial::Wrong),
        ("nobody", "wrong pass 1", Denial::Unknown),
    ];
    for (nth, (name, secret, denial)) in cases.into_iter().enumerate() {
        let from = format!("198.51.100.{nth}");
        let fresh = house.mail_login(&from, name, secret).await;
        assert_eq!((fresh.0, fresh.1), (denial, 1 << 6), "{name}: one check at the highest cost");
        for _ in 0..2 {
            let repeated = house.mail_login(&from, name, secret).await;
            assert_eq!(repeated, (denial, 0, true), "{name}: none, after a pause");
        }
    }
    // For the API it is still the right password, at once.
    let checks = house.checks();
    house.granted("other", PASSWORD, Permission::Api).await;
    assert_eq!(house.checks(), checks);
    house.granted("caller", PASSWORD, Permission::Api).await;
    // And over SMTP as well, once it may.
    house.edit("caller", None, r#"{"email": 1}"#).await;
    let asked = presented("caller", PASSWORD);
    let peer = HERE.parse::<IpAddr>().unwrap().into();
    let decision = house.access.authorize_at(asked, Permission::Email, Entry::Smtp, peer, house.now).await;
    assert!(matches!(decision, Decision::Allowed(_)), "{decision:?}");
}

// Case D15: a suspended account, too, also if it lacks the permission.
#[tokio::test]
async fn over_smtp_a_suspended_account_is_told_the_same() {
    let house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.set_active(false).await;
    for name in ["caller", "sender"] {
        let fresh = house.mail_login("198.51.100.1", name, PASSWORD).await;
        assert_eq!((fresh.0, fresh.1), (Denial::Suspended, 1 << COST), "{name}");
        assert_eq!(house.mail_login("198.51.100.1", name, PASSWORD).await, (Denial::Suspended, 0, true));
    }
}

// Case D15: it counts as a failure as a wrong one does.
#[tokio::test]
async fn over_smtp_who_lacks_the_permission_is_throttled_as_who_is_wrong() {
    let house = house().await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
    for n in 0..12 {
        house.add(&format!("silent{n}"), &hash, r#"{"email": 0}"#).await;
    }
    let mut outcomes = Vec::new();
    for (from, secret) in [("198.51.100.1", PASSWORD), ("198.51.100.2", "wrong pass 1")] {
        let mut denials = Vec::new();
        for n in 0..12 {
            let (denial, rounds, _) = house.mail_login(from, &format!("silent{n}"), secret).await;
            denials.push((matches!(denial, Denial::Throttled(_)), rounds));
        }
        outcomes.push(denials);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].last(), Some(&(true, 0)));
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
        assert!(matches!(house.denied("sender", &format!("guess {n}")).await, Denial::Throttled(_)));
        assert!(matches!(house.denied(&format!("nobody{n}"), PASSWORD).await, Denial::Throttled(_)));
    }
    assert_eq!(house.checks(), before, "what is throttled isn't checked");
    assert_eq!(house.counted(r#"gatepost_throttled_total{by="source",entry="api"}"#), 4);
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.now += Duration::from_secs(3600);
    house.granted("caller", PASSWORD, Permission::Api).await;
}

// Case F6: the answer of a throttled source, whatever the username, and when it comes.
#[tokio::test]
async fn to_a_throttled_source_all_names_are_alike() {
    let house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    for n in 0..11 {
        house.denied(&format!("nobody{n}"), PASSWORD).await;
    }
    let first = house.denied("nobody", "guess 0").await;
    // Known from there, existing, unknown, impossible; the right secret of one that is not known from there, and that is not in the
    // cache.
    for (name, secret) in [
        ("caller", "guess 1"),
        ("sender", "guess 1"),
        ("nobody", "guess 1"),
        ("no body", "guess 1"),
        ("seer", PASSWORD),
        ("caller", "guess 2"),
        ("nobody1", PASSWORD),
    ] {
        let began = Instant::now();
        let denial = house.denied(name, secret).await;
        assert!(denial == first && matches!(denial, Denial::Throttled(_)), "{name}: {denial:?}");
        assert!(began.elapsed() >= Duration::from_millis(250), "{name}: {:?}", began.elapsed());
    }
    // No count shows that one of them was checked.
    assert_eq!(house.checks(), 13);
}

// Case F6: who shares the address with an attacker gets in all the same.
#[tokio::test]
async fn from_a_throttled_source_a_known_name_gets_in_with_the_right_password() {
    let mut house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.edit("caller", Some("another one 2"), "{}").await;
    for n in 0..11 {
        house.denied(&format!("nobody{n}"), PASSWORD).await;
    }
    assert!(matches!(house.denied("caller", PASSWORD).await, Denial::Throttled(_)), "the old one");
    let second = house.denied("caller", "another one 2").await;
    assert!(matches!(second, Denial::Throttled(_)), "within the same second");
    house.now += Duration::from_millis(99);
    house.denied("nobody", "guess 1").await;
    // The source is still delayed, and the name isn't.
    house.now += Duration::from_secs(1);
    for n in 0..4 {
        house.denied(&format!("nobody{n}"), "guess 2").await;
    }
    house.granted("caller", "another one 2", Permission::Api).await;
    // Nor does a network that was in use before a restart have to be known to this process.
    house.access.write_uses().await;
    let network = ClientNetwork::of(HERE.parse().unwrap());
    let row = house.access.store.principal(&canonical("caller")).await.unwrap().unwrap();
    assert_eq!(house.access.store.was_used_from(Some(row.id()), network).await, Ok(true));
}

// Case F6: a device beside the owner that presents the old password for ever uses up one check.
#[tokio::test]
async fn from_a_throttled_source_an_old_password_is_checked_once() {
    let mut house = house().await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.edit("caller", Some("another one 2"), "{}").await;
    for n in 0..11 {
        house.denied(&format!("nobody{n}"), PASSWORD).await;
    }
    // The source stays delayed for longer than the test takes.
    for n in 0..8 {
        house.now += Duration::from_secs(30);
        house.denied(&format!("another{n}"), PASSWORD).await;
    }
    let before = house.checks();
    for _ in 0..4 {
        assert!(matches!(house.denied("caller", PASSWORD).await, Denial::Throttled(_)));
        house.now += Duration::from_secs(1);
    }
    assert_eq!(house.checks(), before + 1);
    house.granted("caller", "another one 2", Permission::Api).await;
    // It is no more than a memory of silent checks: elsewhere the same secret is compared.
    let before = house.checks();
    let elsewhere = house.ask_from("198.51.100.77", "caller", PASSWORD, Permission::Api).await;
    assert!(matches!(elsewhere, Decision::Denied(Denial::Wrong)), "{elsewhere:?}");
    assert_eq!(house.checks(), before + 1);
}

// Case F3: by the networks in the store, with nothing in memory.
#[tokio::test]
async fn the_owner_gets_in_while_others_guess_with_a_cold_cache() {
    let mut house = house().await;
    let row = house.access.store.principal(&canonical("caller")).await.unwrap().unwrap();
    let used = PrincipalUse::now(row.id(), HERE.parse().unwrap(), Entry::Api);
    house.access.store.write_uses(&[used]).await.unwrap();
    // More guesses than are free for a username, from many addresses; then one a second passes.
    for n in 0..25 {
        house.ask_from(&format!("198.51.100.{n}"), "caller", &format!("guess {n}"), Permission::Api).await;
    }
    for (from, secret) in [("198.51.100.1", "guess again"), ("203.0.113.1", PASSWORD)] {
        let guess = house.ask_from(from, "caller", secret, Permission::Api).await;
        assert!(matches!(guess, Decision::Denied(Denial::Throttled(_))), "{from}: {guess:?}");
    }
    // Another address of the owner's network. Wrong passwords pass as right ones do.
    let neighbour = "192.0.2.200";
    let typo = house.ask_from(neighbour, "caller", "wrong pass 1", Permission::Api).await;
    assert!(matches!(typo, Decision::Denied(Denial::Wrong)), "{typo:?}");
    let other = house.ask_from(neighbour, "sender", "wrong pass 1", Permission::Api).await;
    assert!(matches!(other, Decision::Denied(Denial::Wrong)), "{other:?}");
    house.now += Duration::from_millis(10);
    let owner = house.ask_from(neighbour, "caller", PASSWORD, Permission::Api).await;
    assert!(matches!(owner, Decision::Allowed(_)), "{owner:?}");
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
