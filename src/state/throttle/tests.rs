//! The throttle, with time passed in.

use std::future::ready as answer;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::state::clock;

fn source(text: &str) -> SourcePrefix {
    SourcePrefix::of(text.parse().unwrap())
}

fn name(text: &str) -> Canonical {
    Canonical::of(text.as_bytes()).unwrap()
}

fn network(text: &str) -> ClientNetwork {
    ClientNetwork::of(text.parse().unwrap())
}

const ELSEWHERE: &str = "203.0.113.1";

/// Admits a check that need not wait for others, from a network that is not known.
fn admit(
    throttle: &Throttle,
    source: SourcePrefix,
    name: &Canonical,
    now: Moment,
) -> Result<AdmittedCheck, Delayed> {
    admit_from(throttle, source, name, None, now)
}

/// Admits a check that need not wait for others, from a network that is known for the username.
fn admit_from(
    throttle: &Throttle,
    source: SourcePrefix,
    name: &Canonical,
    known: Option<ClientNetwork>,
    now: Moment,
) -> Result<AdmittedCheck, Delayed> {
    if let Some(delayed) = throttle.source_delay(source, now) {
        return Err(delayed);
    }
    let network = known.unwrap_or(network(ELSEWHERE));
    let turn = pin!(throttle.turn(source, network, name, now, answer(known.is_some())));
    match turn.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => throttle.admit(turn.unwrap(), now),
        Poll::Pending => panic!("it waits"),
    }
}

/// Fails as often as possible, and waits as told; returns the waits.
fn guess(throttle: &Throttle, from: &str, user: &str, times: u32, now: &mut Moment) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..times {
        loop {
            match admit(throttle, source(from), &name(user), *now) {
                Ok(admission) => break throttle.failed(admission, *now),
                Err(delayed) => {
                    waits.push(delayed.retry_after);
                    *now += delayed.retry_after;
                }
            }
        }
    }
    waits
}

fn by(result: Result<AdmittedCheck, Delayed>) -> Option<ThrottledBy> {
    result.err().map(|delayed| delayed.by)
}

#[test]
fn delays_double_after_what_is_free_up_to_a_bound() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    let waits = guess(&throttle, "192.0.2.1", "someone", 10, &mut now);
    assert_eq!(waits, [Duration::ZERO; 0], "ten are free");
    let waits = guess(&throttle, "192.0.2.1", "someone", 20, &mut now);
    let millis: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
    assert_eq!(millis[..5], [100, 200, 400, 800, 1600]);
    assert_eq!(millis.last(), Some(&60_000));
}

#[test]
fn one_source_is_delayed_whatever_the_username() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    for n in 0..12 {
        guess(&throttle, "2001:db8:1:2::1", &format!("user{n}"), 1, &mut now);
    }
    assert_eq!(
        by(admit(&throttle, source("2001:db8:1:2:ffff::"), &name("fresh"), now)),
        Some(ThrottledBy::Source)
    );
    assert_eq!(by(admit(&throttle, source("2001:db8:1:3::1"), &name("fresh"), now)), None);
}

#[test]
fn an_ipv4_address_is_the_same_in_either_spelling() {
    assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
}

#[test]
fn guesses_from_everywhere_get_one_a_second() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    for n in 0..20 {
        guess(&throttle, &format!("192.0.2.{n}"), "someone", 1, &mut now);
    }
    // Each comes from an address without failures.
    let passed = (0..200).filter(|n| {
        now += Duration::from_millis(50);
        let admitted = admit(&throttle, source(&format!("198.51.100.{n}")), &name("someone"), now);
        admitted.map(|admission| throttle.failed(admission, now)).is_ok()
    });
    assert_eq!(passed.count(), 10, "in ten seconds");
}

// Case F3: the lane of a known network.
#[test]
fn the_owner_is_not_locked_out() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    let (owner, user, home) = (source("203.0.113.5"), name("someone"), network("203.0.113.5"));
    guess(&throttle, "192.0.2.1", "someone", 15, &mut now);
    guess(&throttle, "192.0.2.2", "someone", 5, &mut now);
    assert_eq!(by(admit(&throttle, source("192.0.2.2"), &user, now)), Some(ThrottledBy::Username));
    // One that hasn't failed passes, once a second.
    let admission = admit(&throttle, source("198.51.100.9"), &user, now).unwrap();
    throttle.succeeded(admission);
    assert_eq!(by(admit(&throttle, source("198.51.100.10"), &user, now)), Some(ThrottledBy::Username));
    // From a known network, wrong secrets pass as right ones do, and have free failures of their own.
    for nth in 0..12 {
        let admission = admit_from(&throttle, owner, &user, Some(home), now).expect("a known network passes");
        match nth {
            0..3 => throttle.succeeded(admission),
            _ => throttle.failed(admission, now),
        }
    }
    let neighbour = admit_from(&throttle, source("203.0.113.6"), &user, Some(home), now).unwrap();
    throttle.failed(neighbour, now);
    let other = admit_from(&throttle, source("203.0.113.7"), &user, Some(home), now).unwrap();
    throttle.failed(other, now);
    let next = admit_from(&throttle, source("203.0.113.7"), &user, Some(home), now);
    assert_eq!(by(next), Some(ThrottledBy::Username), "the lane has delays of its own");
}

#[test]
fn of_many_at_once_one_goes_through_and_a_right_one_makes_room() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    guess(&throttle, "192.0.2.1", "someone", 12, &mut now);
    now += Duration::from_secs(1);
    let admit = |user| admit(&throttle, source("192.0.2.1"), &name(user), now);
    let first = admit("another").unwrap();
    assert_eq!(by(admit("another")), Some(ThrottledBy::Source));
    throttle.succeeded(first);
    throttle.failed(admit("third").unwrap(), now);
    assert_eq!(by(admit("third")), Some(ThrottledBy::Source));
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    guess(&throttle, "192.0.2.1", "someone", 15, &mut now);
    now += WINDOW;
    assert_eq!(guess(&throttle, "192.0.2.1", "someone", 10, &mut now), [Duration::ZERO; 0]);
}

#[test]
fn switched_off_it_delays_nobody() {
    let (throttle, mut now) = (Throttle::new(false), clock::now());
    assert_eq!(guess(&throttle, "192.0.2.1", "someone", 100, &mut now), [Duration::ZERO; 0]);
}

/// The checks that need not wait any more.
fn ready<F>(turns: &mut Vec<Pin<Box<F>>>) -> Vec<PendingCheck>
where
    F: Future<Output = Result<PendingCheck, Unavailable>>,
{
    let (mut ready, mut left) = (Vec::new(), Vec::new());
    for mut turn in turns.drain(..) {
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => ready.push(turn.unwrap()),
            Poll::Pending => left.push(turn),
        }
    }
    *turns = left;
    ready
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_holds_what_is_free() {
    let (throttle, now) = (Throttle::new(true), clock::now());
    let (from, other) = (source("192.0.2.1"), source("192.0.2.2"));
    let mut held = Vec::new();
    for n in 0..10 {
        held.push(admit(&throttle, from, &name(&format!("user{n}")), now).unwrap());
    }
    // The next ones wait. A check that succeeds makes room for one of them.
    let waiting: Vec<Canonical> = (0..20).map(|n| name(&format!("other{n}"))).collect();
    let mut turns: Vec<_> = waiting
        .iter()
        .map(|name| Box::pin(throttle.turn(from, network(ELSEWHERE), name, now, answer(false))))
        .collect();
    assert!(ready(&mut turns).is_empty());
    let _elsewhere = admit(&throttle, other, &waiting[0], now).unwrap();
    throttle.succeeded(held.pop().unwrap());
    let mut came = ready(&mut turns);
    assert!(came.len() == 1 && came[0].waited);
    held.push(throttle.admit(came.pop().unwrap(), now).unwrap());
    drop(held.pop());
    let mut came = ready(&mut turns);
    assert_eq!(came.len(), 1, "who goes away makes room");
    held.push(throttle.admit(came.pop().unwrap(), now).unwrap());
    // All of them fail. One of those that waited takes the slot.
    for admission in held {
        throttle.failed(admission, now);
    }
    let came = ready(&mut turns);
    assert_eq!((came.len(), turns.len()), (18, 0));
    let later = now + Duration::from_secs(1);
    let passed = came.into_iter().map(|turn| throttle.admit(turn, later)).collect::<Vec<_>>();
    assert_eq!(passed.iter().filter(|passed| passed.is_ok()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_or_with_too_many_comes_again() {
    let (throttle, now) = (Throttle::new(true), clock::now());
    let (from, someone) = (source("192.0.2.1"), name("someone"));
    let _held: Vec<_> = (0..10).map(|_| admit(&throttle, from, &someone, now).unwrap()).collect();
    let all = (0..257).map(|_| throttle.turn(from, network(ELSEWHERE), &someone, now, answer(false)));
    let mut all = all.map(Box::pin).collect::<Vec<_>>();
    for turn in &mut all[..256] {
        assert!(turn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(all.pop().unwrap().await.err(), Some(Unavailable::Busy));
    // Time passes only by waiting.
    for turn in all {
        assert_eq!(turn.await.err(), Some(Unavailable::Busy));
    }
}

// Case F6: a name that is known from a source is checked in silence.
#[test]
fn a_silent_check_is_made_once_a_second_for_each_name() {
    let (throttle, mut now) = (Throttle::new(true), clock::now());
    let (shared, owner, home) = (source("192.0.2.1"), name("owner"), network("192.0.2.1"));
    guess(&throttle, "192.0.2.1", "someone", 20, &mut now);
    let delayed = throttle.source_delay(shared, now);
    let passes = |name: &Canonical, now| guess_quietly(&throttle, home, name, now);
    assert!(passes(&owner, now) && passes(&name("other"), now));
    assert!(!passes(&owner, (now + PASS_EVERY).before(Duration::from_millis(1))));
    assert!(passes(&owner, now + PASS_EVERY));
    assert_eq!(throttle.source_delay(shared, now), delayed, "which nobody notices");
}

/// Makes a silent check that is wrong. Returns true if it may be made.
fn guess_quietly(throttle: &Throttle, network: ClientNetwork, name: &Canonical, now: Moment) -> bool {
    throttle.pass_quietly(network, name, now).map(|pass| throttle.failed_quietly(pass)).is_some()
}

/// The silent guesses within an hour from these networks, each of which tries twice a second.
fn guessed_in_an_hour(throttle: &Throttle, networks: &[&str], began: Moment) -> usize {
    let moments = (0..60 * 60 * 2).map(|halves| began + Duration::from_millis(500 * halves));
    let tries = moments.flat_map(|now| networks.iter().map(move |text| (network(text), now)));
    tries.filter(|(network, now)| guess_quietly(throttle, *network, &name("owner"), *now)).count()
}

#[test]
fn silent_guesses_become_as_rare_as_others() {
    let (throttle, now, hour) = (Throttle::new(true), clock::now(), Duration::from_secs(60 * 60));
    // All addresses of a network are one.
    let addresses = ["2001:db8:0:1::1", "2001:db8:0:2::1"];
    let first = guessed_in_an_hour(&throttle, &addresses, now);
    assert!((60..80).contains(&first), "{first}");
    assert_eq!(guessed_in_an_hour(&throttle, &addresses, now + hour), 60);
    // Another network gets in between.
    let home = network("198.51.100.1");
    let turn = (0..=30).find(|second| {
        let now = now + 2 * hour + Duration::from_secs(*second);
        throttle.pass_quietly(home, &name("owner"), now).is_some()
    });
    assert!(turn.is_some());
    let all = ["2001:db8::1", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "2001:db8:4::1"];
    let all = guessed_in_an_hour(&throttle, &all, now + 2 * hour + LONGEST_FOR_SOURCE);
    assert!((110..=120).contains(&all), "{all}");
}

#[test]
fn a_silent_check_that_was_right_or_not_made_counts_nothing() {
    let (throttle, mut now, owner) = (Throttle::new(true), clock::now(), name("owner"));
    for _ in 0..100 {
        assert!(throttle.pass_quietly(network("192.0.2.1"), &owner, now).is_some());
        now += PASS_EVERY;
    }
    for _ in 0..10 {
        assert!(guess_quietly(&throttle, network("192.0.2.1"), &owner, now));
        now += PASS_EVERY;
    }
    // While one is under way, it counts as wrong.
    let pass = throttle.pass_quietly(network("192.0.2.1"), &owner, now);
    assert!(throttle.pass_quietly(network("192.0.2.2"), &owner, now).is_none());
    assert!(throttle.pass_quietly(network("198.51.100.1"), &owner, now).is_some());
    drop(pass);
    assert!(throttle.pass_quietly(network("192.0.2.1"), &owner, now + PASS_EVERY).is_some());
    now += WINDOW + LONGEST_FOR_SOURCE;
    assert!(guess_quietly(&throttle, network("192.0.2.1"), &owner, now), "it starts over");
    assert!(guess_quietly(&throttle, network("192.0.2.1"), &owner, now + PASS_EVERY));
}

#[derive(Clone, Debug)]
struct Attempt {
    source: u8,
    name: u8,
    known: bool,
    right: bool,
    millis: u64,
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let attempt = (0..3_u8, 0..4_u8, any::<bool>(), proptest::bool::weighted(0.1), 0..3_000_u64);
    let attempt = attempt.prop_map(|(source, name, known, right, millis)| Attempt {
        source,
        name,
        known,
        right,
        millis,
    });
    proptest::collection::vec(attempt, 1..120)
}

proptest! {
    // Case F6: for a throttled source, the answer is a function of the source and the time, and of nothing else.
    #[test]
    fn for_a_throttled_source_all_names_are_alike(attempts in attempts()) {
        let (throttle, mut now) = (Throttle::new(true), clock::now());
        let from = |n: u8| source(&format!("192.0.{n}.1"));
        let known_from = |n: u8, known: bool| known.then(|| network(&format!("192.0.{n}.1")));
        for attempt in attempts {
            let Attempt { source, name: nth, known, right, millis } = attempt;
            now += Duration::from_millis(millis);
            for source in 0..3 {
                let Some(delayed) = throttle.source_delay(from(source), now) else { continue };
                prop_assert!(delayed.by == ThrottledBy::Source && !delayed.retry_after.is_zero());
                for (nth, known) in (0..6).flat_map(|nth| [(nth, false), (nth, true)]) {
                    let name = name(&format!("name{nth}"));
                    let answer = admit_from(&throttle, from(source), &name, known_from(source, known), now);
                    prop_assert_eq!(answer.err(), Some(delayed));
                    // The records of silent checks are all that it leaves behind.
                    let home = network(&format!("192.0.{source}.1"));
                    let _ = guess_quietly(&throttle, home, &name, now);
                }
                prop_assert_eq!(throttle.source_delay(from(source), now), Some(delayed));
            }
            let name = name(&format!("name{nth}"));
            match admit_from(&throttle, from(source), &name, known_from(source, known), now) {
                Ok(admission) if right => throttle.succeeded(admission),
                Ok(admission) => throttle.failed(admission, now),
                Err(delayed) => prop_assert!(delayed.retry_after <= LONGEST_FOR_SOURCE),
            }
        }
    }

    // Case F3: whatever others do, the first checks from a known network pass.
    #[test]
    fn others_take_nothing_from_the_lane_of_a_known_network(attempts in attempts()) {
        let (throttle, mut now) = (Throttle::new(true), clock::now());
        for (nth, attempt) in attempts.iter().enumerate() {
            now += Duration::from_millis(attempt.millis / 100);
            let from = source(&format!("198.51.100.{nth}"));
            if let Ok(admission) = admit(&throttle, from, &name("someone"), now) {
                throttle.failed(admission, now);
            }
        }
        let home = network("203.0.113.5");
        for nth in 0..10 {
            let from = source(&format!("203.0.113.{nth}"));
            let admitted = admit_from(&throttle, from, &name("someone"), Some(home), now);
            prop_assert!(admitted.map(|admission| throttle.failed(admission, now)).is_ok());
        }
    }
}
