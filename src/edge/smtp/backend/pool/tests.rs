//! Pools of numbers.

use super::*;

const LONG: Duration = Duration::from_secs(30);
const JOE: PoolOwner = 1;
const ANN: PoolOwner = 2;

fn pool(workers: usize, limit: usize) -> Arc<Pool<u32>> {
    let gauge = || IntGauge::new("g", "g").unwrap();
    Pool::new(workers, limit, gauge(), gauge())
}

fn any(_: &u32) -> ConnectionFit {
    ConnectionFit::Good
}

fn fresh(_: &u32) -> ConnectionFit {
    ConnectionFit::Never
}

async fn take(pool: &Arc<Pool<u32>>, patience: Duration) -> Option<Checkout<u32>> {
    take_any(&[(0, pool)], JOE, patience, any).await.map(|(_, taken)| taken)
}

fn permit(taken: Option<Checkout<u32>>) -> ConnectionPermit<u32> {
    match taken {
        Some(Checkout::Permit(permit)) => permit,
        Some(Checkout::Idle(held)) => panic!("got connection {}", held.connection),
        None => panic!("got nothing"),
    }
}

fn idle(taken: Option<Checkout<u32>>) -> PooledConnection<u32> {
    match taken {
        Some(Checkout::Idle(held)) => held,
        _ => panic!("got no connection"),
    }
}

#[test]
fn the_best_idle_connection_then_a_new_one_then_one_of_another_worker() {
    let pool = pool(2, 3);
    for (worker, number) in [(0, 1), (0, 2), (1, 3)] {
        let held = permit(pool.try_take(worker, JOE, fresh)).fill(number);
        pool.give(worker, held);
    }
    let one = idle(
        pool.try_take(0, JOE, |number| if *number == 1 { ConnectionFit::Best } else { ConnectionFit::Good }),
    );
    let two = idle(pool.try_take(0, JOE, any));
    let three = idle(pool.try_take(0, JOE, any));
    assert_eq!([*one.connection, *two.connection, *three.connection], [1, 2, 3]);
    assert!(pool.try_take(0, JOE, any).is_none());
    assert_eq!(pool.count(), (0, 3));
    drop(one);
    assert_eq!(pool.count(), (0, 2));
    pool.give(1, two);
    drop(permit(pool.try_take(0, JOE, any)));
    drop(three);
    assert_eq!(pool.count(), (1, 0));
}

#[test]
fn a_fresh_connection_replaces_an_idle_one() {
    let pool = pool(1, 1);
    let held = permit(pool.try_take(0, JOE, any)).fill(1);
    pool.give(0, held);
    let fresh = permit(pool.try_take(0, JOE, fresh));
    assert_eq!(pool.count(), (0, 1));
    drop(fresh);
    assert_eq!(pool.count(), (0, 0));
}

#[test]
fn a_sweep_removes_spent_connections() {
    let pool = pool(1, 9);
    let held: Vec<_> = (0..4).map(|number| permit(pool.try_take(0, JOE, fresh)).fill(number)).collect();
    held.into_iter().for_each(|held| pool.give(0, held));
    let swept = pool.sweep(|number| number % 2 == 0);
    assert_eq!(swept.len(), 2);
    assert_eq!(pool.count(), (2, 2));
    drop(swept);
    assert_eq!(pool.count(), (2, 0));
}

#[tokio::test]
async fn waiting_owners_are_served_in_turn_and_before_newcomers() {
    let pool = pool(2, 1);
    let held = permit(pool.try_take(0, JOE, any)).fill(7);
    let (told, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for turn in 0..3 {
        let (own, told) = (pool.clone(), told.clone());
        tasks.push(tokio::spawn(async move {
            let taken = take(&own, LONG).await.unwrap();
            told.send(turn).unwrap();
            match taken {
                Checkout::Idle(held) if turn == 0 => own.give(1, held),
                taken => drop(taken),
            }
        }));
        while !is_waited_for(&pool, turn + 1) {
            tokio::task::yield_now().await;
        }
    }
    assert!(pool.try_take(0, JOE, any).is_none());
    pool.give(0, held);
    assert!(pool.try_take(0, JOE, any).is_none(), "a newcomer came first");
    for turn in 0..3 {
        assert_eq!(turns.recv().await, Some(turn));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(pool.count(), (0, 0));
}

#[tokio::test]
async fn a_wait_that_timed_out_loses_nothing() {
    let pool = pool(1, 1);
    let held = permit(pool.try_take(0, JOE, any)).fill(7);
    assert!(take(&pool, Duration::from_millis(1)).await.is_none());
    pool.give(0, held);
    assert_eq!(pool.count(), (1, 0));
    let held = idle(pool.try_take(0, JOE, any));
    assert!(take(&pool, Duration::from_millis(1)).await.is_none());
    drop(held);
    assert_eq!(pool.count(), (0, 0));
}

fn is_waited_for(pool: &Arc<Pool<u32>>, count: usize) -> bool {
    pool.state.lock().waiting.len() >= count
}

#[test]
fn no_owner_has_all() {
    let pool = pool(1, 16);
    let mut held: Vec<_> = (0..14).map(|_| permit(pool.try_take(0, JOE, any))).collect();
    assert!(pool.try_take(0, JOE, any).is_none());
    held.push(permit(pool.try_take(0, ANN, any)));
    held.remove(0);
    held.push(permit(pool.try_take(0, JOE, any)));
    assert!(pool.try_take(0, JOE, any).is_none());
    drop(held);
    assert_eq!(pool.count(), (0, 0));
}

#[tokio::test]
async fn the_owner_with_fewer_connections_comes_first() {
    let pool = pool(1, 2);
    let mut held: Vec<_> = (0..2).map(|_| permit(pool.try_take(0, JOE, any))).collect();
    let (told, mut turns) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for (number, owner) in [JOE, ANN].into_iter().enumerate() {
        let (own, told) = (pool.clone(), told.clone());
        tasks.push(tokio::spawn(async move {
            let taken = take_any(&[(0, &own)], owner, LONG, any).await.unwrap();
            told.send((owner, taken)).unwrap();
        }));
        while !is_waited_for(&pool, number + 1) {
            tokio::task::yield_now().await;
        }
    }
    drop(held.pop());
    let (owner, _taken) = turns.recv().await.unwrap();
    assert_eq!(owner, ANN);
    drop(held);
    let (owner, _taken) = turns.recv().await.unwrap();
    assert_eq!(owner, JOE);
}

#[tokio::test]
async fn the_first_pool_that_has_a_connection_serves() {
    let pools = [pool(1, 1), pool(1, 1)];
    let mut held: Vec<_> = pools.iter().map(|pool| permit(pool.try_take(0, JOE, any))).collect();
    let both = pools.clone();
    let waiting =
        tokio::spawn(async move { take_any(&[(0, &both[0]), (1, &both[1])], ANN, LONG, any).await.unwrap() });
    while !is_waited_for(&pools[1], 1) {
        tokio::task::yield_now().await;
    }
    drop(held.pop());
    let (index, taken) = waiting.await.unwrap();
    assert_eq!(index, 1);
    drop(held);
    assert_eq!((pools[0].count(), pools[1].count()), ((0, 0), (0, 1)));
    // An owner that was served elsewhere does not delay others.
    drop(permit(pools[0].try_take(0, JOE, any)));
    drop(taken);
}

#[tokio::test]
async fn a_refusal_lowers_the_limit_for_a_while() {
    let pool = pool(1, 4);
    let held = permit(pool.try_take(0, JOE, any)).fill(7);
    assert!(permit(pool.try_take(0, JOE, any)).give_back_refused(Duration::from_secs(3600)));
    assert!(pool.try_take(0, JOE, any).is_none());
    let own = pool.clone();
    let waiting = tokio::spawn(async move { take(&own, LONG).await });
    while !is_waited_for(&pool, 1) {
        tokio::task::yield_now().await;
    }
    pool.give(0, held);
    let held = idle(waiting.await.unwrap());
    assert_eq!(*held.connection, 7);
    pool.state.lock().lowered = Some((1, Instant::now()));
    assert!(permit(pool.try_take(0, JOE, any)).give_back_refused(Duration::ZERO));
    drop(held);
    assert!(!permit(pool.try_take(0, JOE, any)).give_back_refused(Duration::ZERO), "there is no other");
    assert_eq!(pool.count(), (0, 0));
}

#[tokio::test]
async fn waiting_owners_are_served_when_the_limit_is_raised_again() {
    let pool = pool(1, 4);
    let held = permit(pool.try_take(0, JOE, any)).fill(7);
    assert!(permit(pool.try_take(0, JOE, any)).give_back_refused(Duration::from_secs(3600)));
    let own = pool.clone();
    let waiting = tokio::spawn(async move { take(&own, LONG).await });
    while !is_waited_for(&pool, 1) {
        tokio::task::yield_now().await;
    }
    assert!(pool.sweep(|_| false).is_empty() && is_waited_for(&pool, 1));
    pool.state.lock().lowered = Some((1, Instant::now()));
    assert!(pool.sweep(|_| false).is_empty());
    drop(permit(waiting.await.unwrap()));
    drop(held);
    assert_eq!(pool.count(), (0, 0));
}
