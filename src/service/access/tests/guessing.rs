//! What who guesses gets: the same for every guess, and less and less of it.

use super::*;

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
    let busy = tokio::spawn(async move { hasher.verify(&long_job, b"other", Lane::Rest).await });
    tokio::task::yield_now().await;
    let mut checks = tokio::task::JoinSet::new();
    for (nth, (name, secret, expected)) in cases.iter().enumerate() {
        for _ in 0..2 {
            let (access, now, expected) = (Arc::clone(&house.access), house.now, *expected);
            let (name, secret) = (name.to_string(), secret.to_string());
            let source = format!("198.51.100.{nth}").parse().unwrap();
            checks.spawn(async move {
                let presented = presented(&name, &secret);
                let decision = access.authorize_at(presented, Permission::Api, Entry::Api, source, now).await;
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
