//! The pool of connections to one backend. Idle connections are kept for each worker, the total is bounded over all of them,
//! and waiting transactions are served fairly by account.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use tokio::sync::oneshot;

/// The account that uses a connection, as a hash.
pub type PoolOwner = u64;

/// The fraction of the connections, one in so many, that an owner leaves to the others: a slow client occupies a connection for
/// the whole of its message.
const LEFT_TO_OTHERS: usize = 8;

/// A pool of connections of type `T`.
pub struct Pool<T> {
    limit: usize,
    idle: IntGauge,
    active: IntGauge,
    state: Mutex<PoolState<T>>,
}

struct PoolState<T> {
    /// The number of connections: in use, being made, and idle.
    open: usize,
    /// The number of connections in use by each owner.
    shares: HashMap<PoolOwner, usize>,
    /// A limit below the pool's own, and the end of it.
    lowered: Option<(usize, Instant)>,
    /// Idle connections by worker, the one used last at the end. Boxed, because connections are large and move with each
    /// transaction.
    idle: Box<[Vec<Box<T>>]>,
    waiting: VecDeque<PoolWaiter<T>>,
}

/// A waiting transaction in the queue of one pool. The same one may wait in the queues of several pools.
struct PoolWaiter<T> {
    owner: PoolOwner,
    index: usize,
    slot: WaiterSlot<T>,
}

/// The channel to a waiting transaction, for a pool's index and what that pool gives. Empty once it was used.
type WaiterSlot<T> = Arc<Mutex<Option<oneshot::Sender<(usize, Checkout<T>)>>>>;

/// The right to one connection. Dropped, it goes to the next waiting transaction.
pub struct ConnectionPermit<T> {
    pool: Option<Arc<Pool<T>>>,
    owner: PoolOwner,
}

/// A connection in use, with its permit.
pub struct PooledConnection<T> {
    /// The connection.
    pub connection: Box<T>,
    permit: ConnectionPermit<T>,
}

/// The suitability of an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFit {
    /// Usable as it is.
    Best,
    /// Usable after some preparation.
    Good,
    /// Not usable.
    Never,
}

/// The answer of a pool to a transaction.
pub enum Checkout<T> {
    /// A connection that was used before.
    Idle(PooledConnection<T>),
    /// The right to make a connection.
    Permit(ConnectionPermit<T>),
}

impl<T> ConnectionPermit<T> {
    /// Uses the permit for a new connection.
    pub fn fill(self, connection: T) -> PooledConnection<T> {
        self.fill_boxed(Box::new(connection))
    }

    fn fill_boxed(self, connection: Box<T>) -> PooledConnection<T> {
        PooledConnection { connection, permit: self }
    }

    /// Gives the permit back, since the backend refused the connection. For `time`, the limit is the number of connections that
    /// there are now. Returns false if there are none.
    pub fn give_back_refused(mut self, time: Duration) -> bool {
        let Some(pool) = self.pool.take() else { return false };
        let mut state = pool.state.lock();
        pool.count_closed(&mut state, self.owner);
        let others = state.open;
        state.lowered = Some((others.max(1), Instant::now() + time));
        pool.serve_waiting(&mut state);
        others > 0
    }
}

impl<T> Pool<T> {
    /// A pool for `workers` workers with at most `limit` connections, which it counts in the gauges.
    pub fn new(workers: usize, limit: usize, idle: IntGauge, active: IntGauge) -> Arc<Pool<T>> {
        let idle_by_worker = (0..workers.max(1)).map(|_| Vec::new()).collect();
        let state = PoolState {
            open: 0,
            shares: HashMap::new(),
            lowered: None,
            idle: idle_by_worker,
            waiting: VecDeque::new(),
        };
        Arc::new(Pool { limit, idle, active, state: Mutex::new(state) })
    }

    /// Returns true if there is any connection.
    pub fn is_open(&self) -> bool {
        self.state.lock().open > 0
    }

    /// Takes, in this order: the best idle connection of `worker`, a permit for a new connection, an idle connection of
    /// another worker. If idle connections remain and none fits, one is closed and its permit is given. Returns `None` if all
    /// are in use, or if `owner` has as many as one owner may have.
    pub fn try_take(
        self: &Arc<Self>,
        worker: usize,
        owner: PoolOwner,
        fit: impl Fn(&T) -> ConnectionFit,
    ) -> Option<Checkout<T>> {
        let mut state = self.state.lock();
        // Waiting transactions come first. There is something for them only if the limit was raised again.
        self.serve_waiting(&mut state);
        if !self.may_have_more(&mut state, owner) {
            return None;
        }
        let own = worker % state.idle.len();
        let found = best(&mut state.idle[own], &fit);
        if found.is_none()
            && let Some(permit) = self.permit_new(&mut state, owner)
        {
            return Some(Checkout::Permit(permit));
        }
        let found = found.or_else(|| state.idle.iter_mut().find_map(|idle| best(idle, &fit)));
        if let Some(connection) = found {
            return Some(Checkout::Idle(self.take_idle(&mut state, owner, connection)));
        }
        // The least recently used one.
        let idle = state.idle.iter_mut().find(|idle| !idle.is_empty())?;
        let connection = idle.remove(0);
        let closed = self.take_idle(&mut state, owner, connection);
        drop(state);
        Some(closed.into_permit())
    }

    /// Returns a connection to the pool, for the next waiting transaction or for later ones.
    pub fn give(self: &Arc<Self>, worker: usize, held: PooledConnection<T>) {
        let PooledConnection { connection, mut permit } = held;
        let mut state = self.state.lock();
        permit.pool = None;
        self.count_returned(&mut state, permit.owner);
        self.idle.inc();
        let own = worker % state.idle.len();
        state.idle[own].push(connection);
        self.serve_waiting(&mut state);
    }

    /// Removes the idle connections that are `spent`, and serves waiting transactions if the limit was raised again.
    pub fn sweep(self: &Arc<Self>, spent: impl Fn(&T) -> bool) -> Vec<PooledConnection<T>> {
        let mut state = self.state.lock();
        let mut swept = Vec::new();
        for idle in &mut state.idle {
            swept.extend(idle.extract_if(.., |connection| spent(connection)));
        }
        let swept = swept.into_iter().map(|connection| self.take_idle(&mut state, 0, connection)).collect();
        // The limit may have been raised again, and no connection may have been returned since.
        self.serve_waiting(&mut state);
        swept
    }

    /// The limit at this moment.
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

    fn permit_new(
        self: &Arc<Self>,
        state: &mut PoolState<T>,
        owner: PoolOwner,
    ) -> Option<ConnectionPermit<T>> {
        (state.open < self.limit(state)).then(|| {
            state.open += 1;
            self.permit(state, owner)
        })
    }

    fn take_idle(
        self: &Arc<Self>,
        state: &mut PoolState<T>,
        owner: PoolOwner,
        connection: Box<T>,
    ) -> PooledConnection<T> {
        self.idle.dec();
        self.permit(state, owner).fill_boxed(connection)
    }

    fn permit(self: &Arc<Self>, state: &mut PoolState<T>, owner: PoolOwner) -> ConnectionPermit<T> {
        self.active.inc();
        *state.shares.entry(owner).or_default() += 1;
        ConnectionPermit { pool: Some(self.clone()), owner }
    }

    /// Counts a connection as not in use any more.
    fn count_returned(&self, state: &mut PoolState<T>, owner: PoolOwner) {
        self.active.dec();
        if let Some(share) = state.shares.get_mut(&owner) {
            *share -= 1;
            if *share == 0 {
                state.shares.remove(&owner);
            }
        }
    }

    /// Counts a connection that was in use as closed.
    fn count_closed(&self, state: &mut PoolState<T>, owner: PoolOwner) {
        self.count_returned(state, owner);
        state.open -= 1;
    }

    /// Serves waiting transactions: first the owner with the fewest connections, and among those the one that waited longest.
    fn serve_waiting(self: &Arc<Self>, state: &mut MutexGuard<'_, PoolState<T>>) {
        while !state.waiting.is_empty() {
            let idle = state.idle.iter().any(|idle| !idle.is_empty());
            if !idle && state.open >= self.limit(state) {
                return;
            }
            let Some(PoolWaiter { owner, index, slot }) = self.next(state) else { return };
            let Some(sender) = slot.lock().take() else { continue };
            let taken = match state.idle.iter_mut().find_map(Vec::pop) {
                Some(connection) => Checkout::Idle(self.take_idle(state, owner, connection)),
                None => match self.permit_new(state, owner) {
                    Some(permit) => Checkout::Permit(permit),
                    None => return,
                },
            };
            if let Err((_, refused)) = sender.send((index, taken)) {
                // The waiting transaction is gone. What it refused is dropped without the lock, because its permit takes the
                // lock.
                MutexGuard::unlocked(state, || drop(refused));
            }
        }
    }

    fn next(&self, state: &mut PoolState<T>) -> Option<PoolWaiter<T>> {
        let is_there =
            |waiter: &PoolWaiter<T>| waiter.slot.lock().as_ref().is_some_and(|sender| !sender.is_closed());
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

/// Waits for the first of `pools`, each given with its index, that can give something. Returns `None` after `patience`.
pub async fn take_any<T>(
    pools: &[(usize, &Arc<Pool<T>>)],
    owner: PoolOwner,
    patience: Duration,
    fit: impl Fn(&T) -> ConnectionFit,
) -> Option<(usize, Checkout<T>)> {
    let (sender, receiver) = oneshot::channel();
    let slot = Arc::new(Mutex::new(Some(sender)));
    for (index, pool) in pools {
        let mut state = pool.state.lock();
        state.waiting.push_back(PoolWaiter { owner, index: *index, slot: slot.clone() });
        // A connection may have been returned since the caller looked.
        pool.serve_waiting(&mut state);
    }
    let (index, taken) = tokio::time::timeout(patience, receiver).await.ok()?.ok()?;
    Some(match taken {
        Checkout::Idle(held) if fit(&held.connection) == ConnectionFit::Never => (index, held.into_permit()),
        taken => (index, taken),
    })
}

/// Removes the most suitable connection; among equals, the one used last.
fn best<T>(idle: &mut Vec<Box<T>>, fit: &impl Fn(&T) -> ConnectionFit) -> Option<Box<T>> {
    let rank = |wanted: ConnectionFit| idle.iter().rposition(|connection| fit(connection) == wanted);
    let index = rank(ConnectionFit::Best).or_else(|| rank(ConnectionFit::Good))?;
    Some(idle.remove(index))
}

impl<T> PooledConnection<T> {
    /// Closes the connection and keeps its permit.
    pub fn into_permit(self) -> Checkout<T> {
        Checkout::Permit(self.permit)
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
        pool.count_closed(&mut state, self.owner);
        pool.serve_waiting(&mut state);
    }
}

#[cfg(test)]
mod tests;
