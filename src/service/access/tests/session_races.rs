//! Sessions that end while they are read, without trust, and without a store.

use super::sessions::*;
use super::*;
use tokio::time::timeout;

// The argument of `state::epoch`, for sessions: what was read before the end of a session is never believed after it.
#[tokio::test]
async fn a_slow_loader_does_not_bring_a_session_back() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let (token, clock) = (begun.cookie.digest(), DecisionClock::starting_at(house.now));
    let browser = house.browser(&begun);
    browser.warm().await;
    let seen = house.access.epochs.now();
    let row = house.access.store.session(&token).await.unwrap().unwrap();
    house.end_session(&begun).await;
    assert_eq!(browser.ask().await, Outcome::NoSession);
    // Here the loader that has read the row before goes on.
    assert!(house.access.live(&row, &token, seen, clock).is_some());
    assert_eq!(browser.ask().await, Outcome::NoSession);
    assert!(house.browser(&begun).check().is_none());
}

#[tokio::test]
async fn a_read_that_began_before_the_end_is_not_shared_after_it() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    // Of a node that knows nothing of the session. The store may have answered by the end of the first look.
    let mut early = loop {
        let (cookie, house) = (begun.cookie.clone(), &house);
        house.access.cache.remove_session(&cookie.digest());
        house.access.epochs.raise_all();
        let mut early =
            Box::pin(async move { house.decide(&cookie, Some(Permission::Web), Entry::Web).await });
        let poll =
            |cx: &mut std::task::Context<'_>| std::task::Poll::Ready(early.as_mut().poll(cx).is_pending());
        if std::future::poll_fn(poll).await {
            break early;
        }
    };
    house.end_session(&begun).await;
    let browser = house.browser(&begun);
    let (late, early) = tokio::join!(browser.decide(), &mut early);
    assert_eq!(outcome(&late), Outcome::NoSession);
    assert!(matches!(early, SessionDecision::Allowed(_) | SessionDecision::NoSession), "it began before");
    assert_eq!(house.browser(&begun).ask().await, Outcome::NoSession);
}

#[tokio::test]
async fn without_trust_no_session_is_decided() {
    let epochs = Epochs::without_trust();
    let mut house = house_of(COST, AuthSettings::default(), epochs).await;
    house.access.epochs.trust().extend(house.now + 10 * SECOND);
    let begun = house.begin("seer", Entry::Web).await;
    let browser =
        Browser { house: &house, cookie: begun.cookie.clone(), memory: ConnectionMemory::default() };
    browser.warm().await;
    let (granted, memory) = (browser.granted().await, browser.memory);
    house.now += 10 * SECOND;
    let (access, cookie) = (&house.access, &begun.cookie);
    assert!(access.check_session_at(&memory, cookie, Permission::Web, Entry::Web, house.now).is_none());
    let unknown = SessionCookie::new(cookie.principal(), SessionToken::new([7; TOKEN_BYTES].into()));
    for cookie in [cookie, &unknown] {
        let decision = house.decide(cookie, Some(Permission::Web), Entry::Web).await;
        assert_eq!(outcome(&decision), Outcome::Unavailable(Unavailable::CutOff));
    }
    assert_eq!(house.still(&granted, Permission::Web).await, Err(Unavailable::CutOff));
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_denial() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    house.access.store.close().await;
    assert_eq!(browser.ask().await, Outcome::Allowed, "the cache still knows it");
    house.access.epochs.raise(&canonical("seer"));
    assert_eq!(browser.ask().await, Outcome::Unavailable(Unavailable::Store));
    let unknown = SessionCookie::new(begun.cookie.principal(), SessionToken::new([7; TOKEN_BYTES].into()));
    let decision = house.decide(&unknown, Some(Permission::Web), Entry::Web).await;
    assert_eq!(outcome(&decision), Outcome::Unavailable(Unavailable::Store));
}

#[tokio::test]
async fn unknown_tokens_are_looked_up_a_few_at_a_time() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let known = house.browser(&begun);
    known.warm().await;
    let mut all = Vec::new();
    while let Ok(turn) = timeout(SECOND, house.access.look_ups.turn(HERE.parse().unwrap())).await {
        all.push(turn.unwrap());
    }
    let unknown = SessionCookie::new(begun.cookie.principal(), SessionToken::new([7; TOKEN_BYTES].into()));
    let decide = || house.decide(&unknown, Some(Permission::Web), Entry::Web);
    let mut waiting = Box::pin(decide());
    let still = timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(still.is_err(), "it waits for its turn");
    house.access.epochs.raise(&canonical("seer"));
    assert_eq!(known.ask().await, Outcome::Allowed, "a session that is known does not");
    assert_eq!(outcome(&waiting.await), Outcome::Unavailable(Unavailable::Busy));
    // Somebody else has a share of their own.
    let peer = Peer::from("192.0.2.2".parse::<IpAddr>().unwrap());
    let other = house.access.authorize_session(&unknown, Some(Permission::Web), Entry::Web, peer).await;
    assert_eq!(outcome(&other), Outcome::NoSession);
    drop(all);
    assert_eq!(outcome(&decide().await), Outcome::NoSession);
}
