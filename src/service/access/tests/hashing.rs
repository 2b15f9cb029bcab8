//! Passwords and their stored hashes.

use super::*;
use crate::state::hashing::HashShare;

#[tokio::test]
async fn concurrent_first_checks_cost_one_password_check() {
    // Expensive enough that all of them arrive while the first one runs.
    let house = house_with(COST, AuthSettings::default()).await;
    let hash = StoredHash::new(bcrypt::hash(PASSWORD, 12).unwrap());
    house.add("slow", &hash, "{}").await;
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (access, now) = (Arc::clone(&house.access), house.now);
        checks.spawn(async move {
            let source = HERE.parse::<IpAddr>().unwrap();
            access
                .authorize_at(
                    presented("slow", PASSWORD),
                    Permission::Api,
                    Entry::Api,
                    Peer::from(source),
                    now,
                )
                .await
        });
    }
    let decisions = checks.join_all().await;
    assert!(decisions.iter().all(|decision| matches!(decision, Decision::Allowed(_))), "{decisions:?}");
    assert_eq!(house.checks(), 1);
}

#[tokio::test]
async fn a_full_queue_is_unavailable_and_no_failure() {
    let settings = AuthSettings { hash_queue: 1, throttle: false, ..AuthSettings::default() };
    let house = house_with(10, settings).await;
    let mut checks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (access, now) = (Arc::clone(&house.access), house.now);
        checks.spawn(async move {
            let secret = format!("guess {n}");
            let source = HERE.parse::<IpAddr>().unwrap();
            access
                .authorize_at(
                    presented("nobody", &secret),
                    Permission::Api,
                    Entry::Api,
                    Peer::from(source),
                    now,
                )
                .await
        });
    }
    let decisions = checks.join_all().await;
    let busy = |decision: &&Decision| matches!(decision, Decision::Unavailable(Unavailable::Busy));
    let unknown = |decision: &&Decision| matches!(decision, Decision::Denied(Denial::Unknown));
    let (busy, unknown) = (decisions.iter().filter(busy).count(), decisions.iter().filter(unknown).count());
    assert!(busy > 0 && unknown > 0 && busy + unknown == 20, "{decisions:?}");
    assert_eq!(house.checks(), unknown as u64);
}

// The refusal waits as long as a silent check of an owner takes.
#[tokio::test]
async fn a_refusal_for_lack_of_capacity_waits_for_the_configured_cost() {
    for (cost, least, most) in [(COST, 250, 900), (12, 900, 3000)] {
        let house = house_with(cost, AuthSettings::default()).await;
        let began = std::time::Instant::now();
        house.access.unavailable(&DecisionClock::start(), Unavailable::Busy).await;
        let waited = began.elapsed().as_millis();
        assert!((least..most).contains(&waited), "{cost}: {waited} ms");
    }
}

#[tokio::test]
async fn passwords_hashed_elsewhere_work_and_outdated_ones_are_renewed() {
    let house = house_with(5, AuthSettings::default()).await;
    let hash = bcrypt::hash(PASSWORD, 5).unwrap().replacen("$2b", "$2y", 1);
    house.add("htpasswd", &StoredHash::new(hash.clone()), "{}").await;
    house.granted("htpasswd", PASSWORD, Permission::Api).await;
    let row = house.access.store.principal(&canonical("htpasswd")).await.unwrap().unwrap();
    assert_eq!(row.hash.expose(), hash, "nothing to renew");

    let mut raised = house.access.epochs.subscribe();
    let granted = house.granted("caller", PASSWORD, Permission::Api).await;
    raised.changed().await.unwrap();
    let row = house.access.store.principal(&canonical("caller")).await.unwrap().unwrap();
    assert!(row.hash.expose().starts_with("$2b$05$"), "renewed at the configured cost");
    let before = house.checks();
    assert_eq!(house.still(&granted, Permission::Api).await, Ok(true), "open tunnels stay open");
    house.granted("caller", PASSWORD, Permission::Api).await;
    assert_eq!(house.checks(), before, "and the renewal costs no further check");
}

#[tokio::test]
async fn of_a_long_password_hashed_elsewhere_the_first_one_used_stays() {
    let house = house().await;
    let (one, other) = ("p4ssword".repeat(10), format!("{}x", "p4ssword".repeat(10)));
    house.add("long", &StoredHash::new(bcrypt::hash(&one, COST).unwrap()), "{}").await;
    let mut raised = house.access.epochs.subscribe();
    house.granted("long", &one, Permission::Api).await;
    raised.changed().await.unwrap();
    assert_eq!(house.denied("long", &other).await, Denial::Wrong);
    house.granted("long", &one, Permission::Api).await;
}

#[tokio::test]
async fn long_passwords_of_ours_differ_to_the_last_byte() {
    let house = house().await;
    let password = "p4".repeat(64);
    let hash = house
        .access
        .hasher
        .hash(&NewPassword::parse(password.as_bytes()).unwrap(), HashShare::Operator)
        .await
        .unwrap();
    house.add("long", &hash, "{}").await;
    assert_eq!(house.denied("long", &password[..127]).await, Denial::Wrong);
    assert_eq!(house.denied("long", &format!("{}x", &password[..127])).await, Denial::Wrong);
    house.granted("long", &password, Permission::Api).await;
}

#[tokio::test]
async fn who_was_right_from_there_before_does_not_queue_with_the_guesses() {
    let settings = AuthSettings { hash_queue: 1, throttle: false, ..AuthSettings::default() };
    let house = house_with(10, settings).await;
    house.granted("caller", PASSWORD, Permission::Api).await;
    house.edit("caller", Some("another one 2"), "{}").await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (access, now) = (Arc::clone(&house.access), house.now);
        guesses.spawn(async move {
            let (secret, source) = (format!("guess {n}"), "198.51.100.1".parse::<IpAddr>().unwrap());
            access
                .authorize_at(
                    presented("caller", &secret),
                    Permission::Api,
                    Entry::Api,
                    Peer::from(source),
                    now,
                )
                .await
        });
    }
    while house.access.metrics.password_checks(PasswordCheck::Refused) == 0 {
        tokio::task::yield_now().await;
    }
    // The lane of the guesses is full now.
    house.granted("caller", "another one 2", Permission::Api).await;
}
