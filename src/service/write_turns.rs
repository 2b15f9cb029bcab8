//! Turns of accounts to write to the store. All changes go through one connection, one after another, so an account with hundreds of
//! changes at once must not have all of them wait there: only one of each account does, and the others wait for that one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::domain::{AccountId, Unavailable};

/// The longest wait for other changes of the same account; after it, the client is told to try again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The accounts that have changes waiting or under way.
#[derive(Default)]
pub struct WriteTurns(Mutex<HashMap<AccountId, Arc<Semaphore>>>);

/// The turn of an account, until it is dropped.
pub struct WriteTurn<'a> {
    turns: &'a WriteTurns,
    account: AccountId,
    permit: Option<OwnedSemaphorePermit>,
}

impl WriteTurns {
    /// Waits until no other change of the account is being written.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if that takes longer than 5 s.
    pub async fn take(&self, account: AccountId) -> Result<WriteTurn<'_>, Unavailable> {
        let turn = Arc::clone(self.0.lock().entry(account).or_insert_with(|| Arc::new(Semaphore::new(1))));
        // Dropped in any case, also if the caller goes away in the meantime.
        let mut taken = WriteTurn { turns: self, account, permit: None };
        let permit = timeout(LONGEST_WAIT, turn.acquire_owned()).await;
        taken.permit = permit.ok().and_then(Result::ok);
        match taken.permit {
            Some(_) => Ok(taken),
            None => Err(Unavailable::Busy),
        }
    }
}

impl Drop for WriteTurn<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut turns = self.turns.0.lock();
        if turns.get(&self.account).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.account);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    // Case F4: the changes of one account wait for each other, and nobody waits for them.
    #[tokio::test(start_paused = true)]
    async fn one_change_of_each_account_is_written_at_a_time() {
        let turns = WriteTurns::default();
        let (one, other) = (AccountId(1), AccountId(2));
        let first = turns.take(one).await.unwrap();
        let mut second = pin!(turns.take(one));
        assert!(poll(second.as_mut()).is_pending());
        drop(turns.take(other).await.unwrap());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(turns.take(one).await.err(), Some(Unavailable::Busy), "time passes only by waiting");
        {
            let mut third = pin!(turns.take(one));
            assert!(poll(third.as_mut()).is_pending());
        }
        drop(second);
        assert!(turns.0.lock().is_empty(), "nothing is left of those that are gone");
    }
}
