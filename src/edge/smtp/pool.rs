//! Connections to one backend: each worker's own, a bound over all of them, and who waits comes in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::oneshot;

/// Connections of type `T`.
pub struct Pool<T> {
    limit: usize,
    idle: IntGauge,
    active: IntGauge,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Connections in use, being made, and idle.
    open: usize,
    /// By worker; the one used last is at the end.
    idle: Box<[Vec<T>]>,
    waiting: VecDeque<oneshot::Sender<Taken<T>>>,
}

/// The right to have one connection; dropped, it goes to the next one who waits.
pub struct Room<T> {
    pool: Option<Arc<Pool<T>>>,
}

/// A connection and its room.
pub struct Held<T> {
    /// The connection.
    pub connection: T,
    room: Room<T>,
}

/// How well an idle connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As it is.
    Best,
    /// With something to be done first.
    Good,
    /// Not at all.
    Never,
}

/// What one gets.
pub enum Taken<T> {
    /// A connection that was used before.
    Idle(Held<T>),
    /// The right to make one.
    Room(Room<T>),
}

impl<T> Room<T> {
    fn new(pool: &Arc<Pool<T>>) -> Room<T> {
        pool.active.inc();
        Room { pool: Some(pool.clone()) }
    }

    /// Fills the room.
    pub fn hold(self, connection: T) -> Held<T> {
        Held { connection, room: self }
    }

    /// Makes nothing of it, and gives nothing back.
    fn disarm(&mut self) -> Option<Arc<Pool<T>>> {
        let pool = self.pool.take();
        if let Some(pool) = &pool {
            pool.active.dec();
        }
        pool
    }
}

impl<T> Pool<T> {
    /// A pool for so many workers, with `limit` connections at most; counts them in the gauges.
    pub fn new(workers: usize, limit: usize, idle: IntGauge, active: IntGauge) -> Arc<Pool<T>> {
        let kept = (0..workers.max(1)).map(|_| Vec::new()).collect();
        let state = State { open: 0, idle: kept, waiting: VecDeque::new() };
        Arc::new(Pool { limit, idle, active, state: Mutex::new(state) })
    }

    /// The best connection of `worker` that fits; or else room for one, or else one of another worker. `None` where all are
    /// in use, or somebody waits already. Where none of those that are idle fits, one is closed if that is what makes room.
    pub fn try_take(self: &Arc<Self>, worker: usize, fit: impl Fn(&T) -> Fit) -> Option<Taken<T>> {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() {
            return None;
        }
        let own = worker % state.idle.len();
        let found = best(&mut state.idle[own], &fit);
        if found.is_none()
            && let Some(room) = self.open(&mut state)
        {
            return Some(Taken::Room(room));
        }
        let found = found.or_else(|| state.idle.iter_mut().find_map(|idle| best(idle, &fit)));
        if let Some(connection) = found {
            return Some(Taken::Idle(self.taken_out(connection)));
        }
        // The one that was used least lately.
        let idle = state.idle.iter_mut().find(|idle| !idle.is_empty())?;
        let closed = self.taken_out(idle.remove(0));
        drop(state);
        Some(closed.emptied())
    }

    /// As [`Pool::try_take`], and waits in turn; `None` after `patience`.
    pub async fn take(
        self: &Arc<Self>,
        worker: usize,
        patience: Duration,
        fit: impl Fn(&T) -> Fit,
    ) -> Option<Taken<T>> {
        if let Some(taken) = self.try_take(worker, &fit) {
            return Some(taken);
        }
        let (sender, receiver) = oneshot::channel();
        self.state.lock().waiting.push_back(sender);
        // Something may have been given back between the two looks.
        self.serve_waiting();
        let taken = tokio::time::timeout(patience, receiver).await.ok()?.ok()?;
        Some(match taken {
            Taken::Idle(held) if fit(&held.connection) == Fit::Never => held.emptied(),
            taken => taken,
        })
    }

    /// Keeps a connection for the next one who needs it; who waits comes first.
    pub fn give(&self, worker: usize, held: Held<T>) {
        let mut state = self.state.lock();
        let mut taken = Taken::Idle(held);
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(taken) {
                Ok(()) => return,
                Err(refused) => taken = refused,
            }
        }
        if let Taken::Idle(Held { connection, mut room }) = taken {
            room.disarm();
            self.idle.inc();
            let own = worker % state.idle.len();
            state.idle[own].push(connection);
        }
    }

    /// Takes the idle connections out that are `spent`.
    pub fn sweep(self: &Arc<Self>, spent: impl Fn(&T) -> bool) -> Vec<Held<T>> {
        let mut state = self.state.lock();
        let mut swept = Vec::new();
        for idle in &mut state.idle {
            swept.extend(idle.extract_if(.., |connection| spent(connection)));
        }
        drop(state);
        swept.into_iter().map(|connection| self.taken_out(connection)).collect()
    }

    fn open(self: &Arc<Self>, state: &mut State<T>) -> Option<Room<T>> {
        (state.open < self.limit).then(|| {
            state.open += 1;
            Room::new(self)
        })
    }

    fn taken_out(self: &Arc<Self>, connection: T) -> Held<T> {
        self.idle.dec();
        Room::new(self).hold(connection)
    }

    /// Gives what is there to those who wait.
    fn serve_waiting(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while !state.waiting.is_empty() {
            let idle = state.idle.iter_mut().find_map(Vec::pop);
            let taken = match idle {
                Some(connection) => Taken::Idle(self.taken_out(connection)),
                None => match self.open(&mut state) {
                    Some(room) => Taken::Room(room),
                    None => return,
                },
            };
            let Some(waiter) = state.waiting.pop_front() else { return };
            if let Err(refused) = waiter.send(taken) {
                // Whoever waited is gone. Not dropped under the lock, which its room would take again.
                drop(state);
                drop(refused);
                state = self.state.lock();
            }
        }
    }

    #[cfg(test)]
    fn count(&self) -> (i64, i64) {
        let state = self.state.lock();
        let idle = state.idle.iter().map(Vec::len).sum::<usize>();
        assert_eq!((idle as i64, (state.open - idle) as i64), (self.idle.get(), self.active.get()));
        (self.idle.get(), self.active.get())
    }
}

/// Takes out the one that fits best; of those, the one that was used last.
fn best<T>(idle: &mut Vec<T>, fit: &impl Fn(&T) -> Fit) -> Option<T> {
    let rank = |wanted: Fit| idle.iter().rposition(|connection| fit(connection) == wanted);
    let index = rank(Fit::Best).or_else(|| rank(Fit::Good))?;
    Some(idle.remove(index))
}

impl<T> Held<T> {
    /// Closes the connection and keeps its room.
    fn emptied(self) -> Taken<T> {
        Taken::Room(self.room)
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        let left: usize = self.state.get_mut().idle.iter().map(Vec::len).sum();
        self.idle.sub(left as i64);
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        let Some(pool) = self.disarm() else { return };
        let mut state = pool.state.lock();
        let mut taken = Taken::Room(Room::new(&pool));
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(taken) {
                Ok(()) => return,
                Err(refused) => taken = refused,
            }
        }
        state.open -= 1;
        if let Taken::Room(mut room) = taken {
            room.disarm();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn pool(workers: usize, limit: usize) -> Arc<Pool<u32>> {
        let gauge = || IntGauge::new("g", "g").unwrap();
        Pool::new(workers, limit, gauge(), gauge())
    }

    fn any(_: &u32) -> Fit {
        Fit::Good
    }

    fn fresh(_: &u32) -> Fit {
        Fit::Never
    }

    fn room(taken: Option<Taken<u32>>) -> Room<u32> {
        match taken {
            Some(Taken::Room(room)) => room,
            Some(Taken::Idle(held)) => panic!("got connection {}", held.connection),
            None => panic!("got nothing"),
        }
    }

    fn idle(taken: Option<Taken<u32>>) -> Held<u32> {
        match taken {
            Some(Taken::Idle(held)) => held,
            _ => panic!("got no connection"),
        }
    }

    #[test]
    fn prefers_what_fits_then_its_own_then_room_then_others() {
        let pool = pool(2, 3);
        for (worker, number) in [(0, 1), (0, 2), (1, 3)] {
            let held = room(pool.try_take(worker, fresh)).hold(number);
            pool.give(worker, held);
        }
        let one = idle(pool.try_take(0, |number| if *number == 1 { Fit::Best } else { Fit::Good }));
        let two = idle(pool.try_take(0, any));
        let three = idle(pool.try_take(0, any));
        assert_eq!([one.connection, two.connection, three.connection], [1, 2, 3]);
        assert!(pool.try_take(0, any).is_none());
        assert_eq!(pool.count(), (0, 3));
        drop(one);
        assert_eq!(pool.count(), (0, 2));
        pool.give(1, two);
        drop(room(pool.try_take(0, any)));
        drop(three);
        assert_eq!(pool.count(), (1, 0));
    }

    #[test]
    fn a_fresh_one_takes_the_room_of_an_idle_one() {
        let pool = pool(1, 1);
        let held = room(pool.try_take(0, any)).hold(1);
        pool.give(0, held);
        let fresh = room(pool.try_take(0, fresh));
        assert_eq!(pool.count(), (0, 1));
        drop(fresh);
        assert_eq!(pool.count(), (0, 0));
    }

    #[test]
    fn sweeps() {
        let pool = pool(1, 9);
        let held: Vec<_> = (0..4).map(|number| room(pool.try_take(0, fresh)).hold(number)).collect();
        held.into_iter().for_each(|held| pool.give(0, held));
        let swept = pool.sweep(|number| number % 2 == 0);
        assert_eq!(swept.len(), 2);
        assert_eq!(pool.count(), (2, 2));
        drop(swept);
        assert_eq!(pool.count(), (2, 0));
    }

    #[tokio::test]
    async fn who_waits_comes_in_turn_and_before_newcomers() {
        let pool = pool(2, 1);
        let held = room(pool.try_take(0, any)).hold(7);
        let (told, mut turns) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for turn in 0..3 {
            let (own, told) = (pool.clone(), told.clone());
            tasks.push(tokio::spawn(async move {
                let taken = own.take(1, LONG, any).await.unwrap();
                told.send(turn).unwrap();
                match taken {
                    Taken::Idle(held) if turn == 0 => own.give(1, held),
                    taken => drop(taken),
                }
            }));
            while pool.state.lock().waiting.len() <= turn {
                tokio::task::yield_now().await;
            }
        }
        assert!(pool.try_take(0, any).is_none());
        pool.give(0, held);
        assert!(pool.try_take(0, any).is_none(), "a newcomer came first");
        for turn in 0..3 {
            assert_eq!(turns.recv().await, Some(turn));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(pool.count(), (0, 0));
    }

    #[tokio::test]
    async fn who_gave_up_waiting_loses_nothing() {
        let pool = pool(1, 1);
        let held = room(pool.try_take(0, any)).hold(7);
        assert!(pool.take(0, Duration::from_millis(1), any).await.is_none());
        pool.give(0, held);
        assert_eq!(pool.count(), (1, 0));
        let held = idle(pool.try_take(0, any));
        assert!(pool.take(0, Duration::from_millis(1), any).await.is_none());
        drop(held);
        assert_eq!(pool.count(), (0, 0));
    }
}
