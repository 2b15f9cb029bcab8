//! The pool of connections to one backend: kept for each worker, bounded over all of them, given out in turn and fairly by account.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use tokio::sync::oneshot;

/// Who uses a connection, told from others by a number.
pub type PoolOwner = u64;

/// One owner alone leaves one of so many connections to the others: a connection is in use for as long as its client likes to
/// take for a message.
const LEFT_TO_OTHERS: usize = 8;

/// Connections of type `T`.
pub struct Pool<T> {
    limit: usize,
    idle: IntGauge,
    active: IntGauge,
    state: Mutex<PoolState<T>>,
}

struct PoolState<T> {
    /// Connections in use, being made, and idle.
    open: usize,
    /// How many of those in use are whose.
    shares: HashMap<PoolOwner, usize>,
    /// A lower bound than the pool's, up to that moment.
    lowered: Option<(usize, Instant)>,
    /// By worker; the one used last is at the end.
    idle: Box<[Vec<Box<T>>]>,
    waiting: VecDeque<PoolWaiter<T>>,
}

/// A place in the line of one pool; the same one may stand in those of others.
struct PoolWaiter<T> {
    owner: PoolOwner,
    index: usize,
    turn: WaiterSlot<T>,
}

/// Where one who waits is told what it gets, and of which pool; empty once it was told.
type WaiterSlot<T> = Arc<Mutex<Option<oneshot::Sender<(usize, Checkout<T>)>>>>;

/// The right to have one connection; dropped, it goes to the next one who waits.
pub struct ConnectionPermit<T> {
    pool: Option<Arc<Pool<T>>>,
    owner: PoolOwner,
}

/// A connection and its room.
pub struct PooledConnection<T> {
    /// The connection.
    pub connection: Box<T>,
    room: ConnectionPermit<T>,
}

/// How well an idle connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFit {
    /// As it is.
    Best,
    /// With something to be done first.
    Good,
    /// Not at all.
    Never,
}

/// What one gets.
pub enum Checkout<T> {
    /// A connection that was used before.
    Idle(PooledConnection<T>),
    /// The right to make one.
    Permit(ConnectionPermit<T>),
}

impl<T> ConnectionPermit<T> {
    /// Fills the room.
    pub fn hold(self, connection: T) -> PooledConnection<T> {
        self.hold_kept(Box::new(connection))
    }

    fn hold_kept(self, connection: Box<T>) -> PooledConnection<T> {
        PooledConnection { connection, room: self }
    }

    /// The other end wants no more connections: gives the room back, and for that time there are no more of them than there
    /// are now. False where there is no other one.
    pub fn refused(mut self, time: Duration) -> bool {
        let Some(pool) = self.pool.take() else { return false };
        let mut state = pool.state.lock();
        pool.close(&mut state, self.owner);
        let others = state.open;
        state.lowered = Some((others.max(1), Instant::now() + time));
        pool.serve_waiting(&mut state);
        others > 0
    }
}

impl<T> Pool<T> {
    /// A pool for so many workers, with `limit` connections at most; counts them in the gauges.
    pub fn new(workers: usize, limit: usize, idle: IntGauge, active: IntGauge) -> Arc<Pool<T>> {
        let kept = (0..workers.max(1)).map(|_| Vec::new()).collect();
        let state = PoolState {
            open: 0,
            shares: HashMap::new(),
            lowered: None,
            idle: kept,
            waiting: VecDeque::new(),
        };
        Arc::new(Pool { limit, idle, active, state: Mutex::new(state) })
    }

    /// Whether there is any connection.
    pub fn is_open(&self) -> bool {
        self.state.lock().open > 0
    }

    /// The best connection of `worker` that fits; or else room for one, or else one of another worker. `None` where all are
    /// in use, or `owner` has as many as one may. Where none of those that are idle fits, one is closed if that is what makes
    /// room.
    pub fn try_take(
        self: &Arc<Self>,
        worker: usize,
        owner: PoolOwner,
        fit: impl Fn(&T) -> ConnectionFit,
    ) -> Option<Checkout<T>> {
        let mut state = self.state.lock();
        // Who waits comes first. There is something to give only where the bound was raised again.
        self.serve_waiting(&mut state);
        if !self.may_have_more(&mut state, owner) {
            return None;
        }
        let own = worker % state.idle.len();
        let found = best(&mut state.idle[own], &fit);
        if found.is_none()
            && let Some(room) = self.open(&mut state, owner)
        {
            return Some(Checkout::Permit(room));
        }
        let found = found.or_else(|| state.idle.iter_mut().find_map(|idle| best(idle, &fit)));
        if let Some(connection) = found {
            return Some(Checkout::Idle(self.taken_out(&mut state, owner, connection)));
        }
        // The one that was used least lately.
        let idle = state.idle.iter_mut().find(|idle| !idle.is_empty())?;
        let connection = idle.remove(0);
        let closed = self.taken_out(&mut state, owner, connection);
        drop(state);
        Some(closed.into_permit())
    }

    /// Keeps a connection for the next one who needs it; who waits comes first.
    pub fn give(self: &Arc<Self>, worker: usize, held: PooledConnection<T>) {
        let PooledConnection { connection, mut room } = held;
        let mut state = self.state.lock();
        room.pool = None;
        self.returned(&mut state, room.owner);
        self.idle.inc();
        let own = worker % state.idle.len();
        state.idle[own].push(connection);
        self.serve_waiting(&mut state);
    }

    /// Takes the idle connections out that are `spent`, and serves who waits for the bound to be what it was.
    pub fn sweep(self: &Arc<Self>, spent: impl Fn(&T) -> bool) -> Vec<PooledConnection<T>> {
        let mut state = self.state.lock();
        let mut swept = Vec::new();
        for idle in &mut state.idle {
            swept.extend(idle.extract_if(.., |connection| spent(connection)));
        }
        let swept = swept.into_iter().map(|connection| self.taken_out(&mut state, 0, connection)).collect();
        // The bound may have been raised again, and nobody else has given anything back since.
        self.serve_waiting(&mut state);
        swept
    }

    /// How many there may be now.
    fn limit(&self, state: &mut PoolState<T>) -> usize {
        match state.lowered {
            Some((limit, until)) if Instant::now() < until => limit.min(self.limit),
            _ => {
                state.lowered = None;
                self.limit
            }
        }
    }

    fn may_have_more(&self, state: &mut PoolState<T>, owner: PoolOwner) -> bool {
        let limit = self.limit(state);
        state.shares.get(&owner).is_none_or(|share| *share < limit - limit / LEFT_TO_OTHERS)
    }

    fn open(self: &Arc<Self>, state: &mut PoolState<T>, owner: PoolOwner) -> Option<ConnectionPermit<T>> {
        (state.open < self.limit(state)).then(|| {
            state.open += 1;
            self.room(state, owner)
        })
    }

    fn taken_out(
        self: &Arc<Self>,
        state: &mut PoolState<T>,
        owner: PoolOwner,
        connection: Box<T>,
    ) -> PooledConnection<T> {
        self.idle.dec();
        self.room(state, owner).hold_kept(connection)
    }

    fn room(self: &Arc<Self>, state: &mut PoolState<T>, owner: PoolOwner) -> ConnectionPermit<T> {
        self.active.inc();
        *state.shares.entry(owner).or_default() += 1;
        ConnectionPermit { pool: Some(self.clone()), owner }
    }

    /// Notes that a connection isn't in use any more.
    fn returned(&self, state: &mut PoolState<T>, owner: PoolOwner) {
        self.active.dec();
        if let Some(share) = state.shares.get_mut(&owner) {
            *share -= 1;
            if *share == 0 {
                state.shares.remove(&owner);
            }
        }
    }

    /// Notes that one that was in use is no more.
    fn close(&self, state: &mut PoolState<T>, owner: PoolOwner) {
        self.returned(state, owner);
        state.open -= 1;
    }

    /// Gives what is there to those who wait and may have it: the next is who has the fewest, and of those who came first.
    fn serve_waiting(self: &Arc<Self>, state: &mut MutexGuard<'_, PoolState<T>>) {
        while !state.waiting.is_empty() {
            let idle = state.idle.iter().any(|idle| !idle.is_empty());
            if !idle && state.open >= self.limit(state) {
                return;
            }
            let Some(PoolWaiter { owner, index, turn }) = self.next(state) else { return };
            let Some(sender) = turn.lock().take() else { continue };
            let taken = match state.idle.iter_mut().find_map(Vec::pop) {
                Some(connection) => Checkout::Idle(self.taken_out(state, owner, connection)),
                None => match self.open(state, owner) {
                    Some(room) => Checkout::Permit(room),
                    None => return,
                },
            };
            if let Err((_, refused)) = sender.send((index, taken)) {
                // Whoever waited is gone. Not dropped under the lock, which its room would take again.
                MutexGuard::unlocked(state, || drop(refused));
            }
        }
    }

    fn next(&self, state: &mut PoolState<T>) -> Option<PoolWaiter<T>> {
        let is_there =
            |waiter: &PoolWaiter<T>| waiter.turn.lock().as_ref().is_some_and(|turn| !turn.is_closed());
        state.waiting.retain(is_there);
        let limit = self.limit(state);
        let share = |waiter: &PoolWaiter<T>| state.shares.get(&waiter.owner).copied().unwrap_or_default();
        let waiting = state.waiting.iter().enumerate().map(|(at, waiter)| (share(waiter), at));
        let (_, at) = waiting.filter(|(share, _)| *share < limit - limit / LEFT_TO_OTHERS).min()?;
        state.waiting.remove(at)
    }

    #[cfg(test)]
    fn count(&self) -> (i64, i64) {
        let state = self.state.lock();
        let idle = state.idle.iter().map(Vec::len).sum::<usize>();
        assert_eq!((idle as i64, (state.open - idle) as i64), (self.idle.get(), self.active.get()));
        assert_eq!(state.shares.values().sum::<usize>(), state.open - idle);
        (self.idle.get(), self.active.get())
    }
}

/// Waits in turn for the first of these pools, each with its number, that has something to give; `None` after `patience`.
pub async fn take_any<T>(
    pools: &[(usize, &Arc<Pool<T>>)],
    owner: PoolOwner,
    patience: Duration,
    fit: impl Fn(&T) -> ConnectionFit,
) -> Option<(usize, Checkout<T>)> {
    let (sender, receiver) = oneshot::channel();
    let turn = Arc::new(Mutex::new(Some(sender)));
    for (index, pool) in pools {
        let mut state = pool.state.lock();
        state.waiting.push_back(PoolWaiter { owner, index: *index, turn: turn.clone() });
        // Something may have been given back since somebody looked.
        pool.serve_waiting(&mut state);
    }
    let (index, taken) = tokio::time::timeout(patience, receiver).await.ok()?.ok()?;
    Some(match taken {
        Checkout::Idle(held) if fit(&held.connection) == ConnectionFit::Never => (index, held.into_permit()),
        taken => (index, taken),
    })
}

/// Takes out the one that fits best; of those, the one that was used last.
fn best<T>(idle: &mut Vec<Box<T>>, fit: &impl Fn(&T) -> ConnectionFit) -> Option<Box<T>> {
    let rank = |wanted: ConnectionFit| idle.iter().rposition(|connection| fit(connection) == wanted);
    let index = rank(ConnectionFit::Best).or_else(|| rank(ConnectionFit::Good))?;
    Some(idle.remove(index))
}

impl<T> PooledConnection<T> {
    /// Closes the connection and keeps its room.
    pub fn into_permit(self) -> Checkout<T> {
        Checkout::Permit(self.room)
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        let left: usize = self.state.get_mut().idle.iter().map(Vec::len).sum();
        self.idle.sub(left as i64);
    }
}

impl<T> Drop for ConnectionPermit<T> {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut state = pool.state.lock();
        pool.close(&mut state, self.owner);
        pool.serve_waiting(&mut state);
    }
}

#[cfg(test)]
mod tests;
