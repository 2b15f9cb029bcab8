//! Epochs tell which of the data that was read from the store is still valid.
//!
//! There is one sequence for all mutations. A mutation, after its commit and before it is answered, takes the next number
//! of the sequence and raises the shard of the name that it touched to this number. A loader takes the present number of
//! the sequence, `seen`, *before* it reads the store, and keeps `seen` with the data. The data is fresh as long as no shard
//! that it depends on (that of its name, that of its account, the one for all) was raised above `seen`.
//!
//! This is exact. Let a mutation take the number `m`, and let a check begin after that mutation was answered. Assume that
//! the check finds an entry that depends on the mutated name.
//!
//! - `seen >= m`: the loader saw the number `m` or a later one, so taking `m` happened before the loader's look at the
//!   sequence (acquire and release on one variable that is only ever added to). The commit came before that and the
//!   reading of the store after it: the entry holds what the mutation wrote, or something later.
//! - `seen < m`: raising the shard to `m` happened before the answer, and the answer before the check. So the check reads
//!   `m` or more from the shard, which only grows, finds `seen` below it, and reads the store.
//!
//! Nothing else matters, neither the order in which loaders insert entries, nor the time between reading and inserting. An
//! entry that was read before a mutation is stale after it, whenever it is inserted. If a slow loader replaces a newer
//! entry by an older one, the older one is either still true or known to be stale, because it has its `seen`.
//!
//! All of this is of changes that this process has heard of. [`Trust`] tells for how long it has heard of all, and is asked first: what
//! was raised before an extension is visible to a check that relies on it. In the other order, a check could find no
//! raise, be overtaken by a node that catches up, and then find its trust.
//!
//! A name shares its shard with one in four thousand others. A mutation of it costs each of them one row read.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::raised::Raised;
use super::trust::Trust;
use crate::domain::Canonical;

const SHARDS: usize = 4096;

/// The function that frees what is remembered of a name.
type Forget = Box<dyn Fn(&Canonical) + Send + Sync>;

/// The sequence of mutations, and its number at the last mutation of each shard of names.
pub struct Epochs {
    trust: Trust,
    raised: Raised,
    hasher: RandomState,
    announced: watch::Sender<u64>,
    forget: OnceLock<Forget>,
}

/// The shard of a name. It is kept with the data, so that a check needs no hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(u16);

impl Epochs {
    /// A sequence that starts at zero, of a process that is told of every change. Everything that is loaded from now on is fresh.
    pub fn new() -> Epochs {
        Epochs::with(Trust::for_ever())
    }

    /// The same for a process that may miss changes: without trust until it has contact for the first time.
    pub fn without_trust() -> Epochs {
        Epochs::with(Trust::none())
    }

    fn with(trust: Trust) -> Epochs {
        Epochs {
            trust,
            raised: Raised::new(SHARDS),
            hasher: RandomState::default(),
            announced: watch::Sender::new(0),
            forget: OnceLock::new(),
        }
    }

    /// The trust of this process. To be asked before the epochs.
    #[inline]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Announces the end of trust, and its return, as a change is announced, for as long as it is polled. To be called once, where trust can end.
    pub async fn watch_trust(&self) {
        self.trust.watch(|_| self.announced.send_modify(|_| {})).await;
    }

    /// The present number of the sequence. It must be taken *before* the store is read, and kept with the data.
    pub fn now(&self) -> u64 {
        self.raised.now()
    }

    /// Makes all data about `name` stale that was read before this call: the principal of that name and, for an account
    /// holder, every credential of the account. Must be called after the commit and before the answer.
    pub fn raise(&self, name: &Canonical) {
        self.announce(self.raised.raise(usize::from(self.shard(name).0)));
    }

    /// Does the same for each of these names, and announces it once.
    pub fn raise_each(&self, names: &[Canonical]) {
        let raised = names.iter().map(|name| self.raised.raise(usize::from(self.shard(name).0)));
        if let Some(number) = raised.max() {
            self.announce(number);
        }
    }

    /// Does the same as [`Epochs::raise`], for a name whose verified secrets are of no more use. Cached data of the name is
    /// dropped, which only frees its memory: it is stale already, and a slow loader may insert it again.
    pub fn raise_and_forget(&self, name: &Canonical) {
        self.raise(name);
        if let Some(forget) = self.forget.get() {
            forget(name);
        }
    }

    /// Sets the function that drops the cached data of a name. Only the first call has an effect.
    pub fn on_forget(&self, forget: impl Fn(&Canonical) + Send + Sync + 'static) {
        let _ = self.forget.set(Box::new(forget));
    }

    /// Makes all data stale that was read before this call.
    pub fn raise_all(&self) {
        self.announce(self.raised.raise_all());
    }

    /// Returns true if data about a user of an account that was read at `seen` is still valid.
    pub fn is_fresh(&self, seen: u64, user: &Canonical, account: &Canonical) -> bool {
        self.is_fresh_at(seen, self.shard(user), self.shard(account))
    }

    /// The same for names whose shards are known.
    pub fn is_fresh_at(&self, seen: u64, user: Shard, account: Shard) -> bool {
        self.raised.is_fresh(seen, usize::from(user.0), usize::from(account.0))
    }

    /// The shard of a name.
    pub fn shard(&self, name: &Canonical) -> Shard {
        Shard((self.hasher.hash_one(name) % SHARDS as u64) as u16)
    }

    /// A value that changes at every raise, after the shard was raised, and when trust ends or returns. Open tunnels and sessions wait for it, and are
    /// decided again.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }

    fn announce(&self, number: u64) {
        // Wakes them even if a later number was announced first, because its shard may have been read too early.
        self.announced.send_modify(|last| *last = number.max(*last));
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epochs({})", self.now())
    }
}

impl Default for Epochs {
    fn default() -> Epochs {
        Epochs::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Canonical {
        Canonical::of(text.as_bytes()).unwrap()
    }

    /// Names in three shards of their own, whatever the seed.
    fn apart(epochs: &Epochs) -> [Canonical; 3] {
        let mut found: Vec<Canonical> = Vec::new();
        for n in 0.. {
            let candidate = name(&format!("user{n}"));
            if found.iter().all(|other| epochs.shard(other) != epochs.shard(&candidate)) {
                found.push(candidate);
            }
            if found.len() == 3 {
                break;
            }
        }
        [found[0], found[1], found[2]]
    }

    #[test]
    fn a_raise_ends_what_was_read_before_it() {
        let epochs = Epochs::new();
        let [user, account, other] = apart(&epochs);
        let before = epochs.now();
        assert!(epochs.is_fresh(before, &user, &account));

        epochs.raise(&user);
        assert!(!epochs.is_fresh(before, &user, &account));
        assert!(epochs.is_fresh(epochs.now(), &user, &account));
        assert!(epochs.is_fresh(before, &other, &account), "nobody else's entry ends");

        let between = epochs.now();
        epochs.raise(&account);
        assert!(
            !epochs.is_fresh(between, &user, &account),
            "the account's change is its credentials' change"
        );
        assert!(epochs.is_fresh(between, &user, &other));

        let between = epochs.now();
        epochs.raise_all();
        assert!(!epochs.is_fresh(between, &other, &other));
        assert!(epochs.is_fresh(epochs.now(), &user, &account));
    }

    #[test]
    fn a_late_insert_of_an_early_read_is_stale() {
        let epochs = Epochs::new();
        let user = name("someone");
        let seen = epochs.now();
        // Here the loader reads the store; then the mutation commits, raises and answers; then the loader inserts.
        epochs.raise(&user);
        assert!(!epochs.is_fresh(seen, &user, &user));
    }

    #[test]
    fn raises_of_one_shard_never_lower_it() {
        let epochs = Epochs::new();
        let user = name("someone");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let before = epochs.now();
                        epochs.raise(&user);
                        assert!(!epochs.is_fresh(before, &user, &user));
                    }
                });
            }
        });
        assert_eq!(epochs.now(), 4_000);
        assert!(epochs.is_fresh(epochs.now(), &user, &user));
    }

    #[test]
    fn subscribers_wake_at_each_raise() {
        let epochs = Epochs::new();
        let mut raised = epochs.subscribe();
        assert!(!raised.has_changed().unwrap());
        epochs.raise(&name("someone"));
        assert!(raised.has_changed().unwrap());
        raised.mark_unchanged();
        epochs.raise_all();
        assert!(raised.has_changed().unwrap());
    }
}
