//! The look-ups of tokens of which this process knows nothing. Anybody can make tokens up, so there are few look-ups at once, and each
//! source has a share of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::domain::Unavailable;
use crate::state::throttle::SourcePrefix;

/// The number of look-ups at once.
const AT_ONCE: usize = 16;
/// The number of them for one source.
const SHARE: usize = AT_ONCE / 4;
/// The longest wait for one.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The number of sources from which on those without look-ups are dropped.
const FEW: usize = 64;

/// The bound on look-ups. At most [`SHARE`] of each source wait for one of all places, in the order of their arrival. So a source that
/// floods delays others by that many look-ups, and by no more.
pub(super) struct LookUps {
    all: Semaphore,
    sources: Mutex<LookUpSources>,
}

/// The shares of the sources that look up tokens.
#[derive(Default)]
struct LookUpSources {
    shares: HashMap<SourcePrefix, Arc<Semaphore>, RandomState>,
    /// The number of sources at which those without look-ups are dropped.
    full: usize,
}

/// A look-up, until this is dropped.
pub(super) struct LookUpTurn<'a> {
    _all: Option<SemaphorePermit<'a>>,
    _own: Option<OwnedSemaphorePermit>,
}

impl LookUps {
    /// The bound, without any look-ups yet.
    pub(super) fn new() -> LookUps {
        LookUps { all: Semaphore::new(AT_ONCE), sources: Mutex::default() }
    }

    /// Waits until a source may look up a token.
    ///
    /// # Errors
    /// [`Unavailable::Busy`]: it would have to wait for too long.
    pub(super) async fn turn(&self, source: IpAddr) -> Result<LookUpTurn<'_>, Unavailable> {
        let share = self.sources.lock().share(SourcePrefix::of(source));
        let turn = async {
            // Neither is ever closed. The own share comes first: a request that waits for it takes no place from others.
            let own = share.acquire_owned().await.ok();
            LookUpTurn { _all: self.all.acquire().await.ok(), _own: own }
        };
        timeout(LONGEST_WAIT, turn).await.map_err(|_| Unavailable::Busy)
    }
}

impl LookUpSources {
    fn share(&mut self, source: SourcePrefix) -> Arc<Semaphore> {
        if self.shares.len() >= self.full.max(FEW) {
            // Each look-up that runs or waits has its share.
            self.shares.retain(|_, share| Arc::strong_count(share) > 1);
            self.full = 2 * self.shares.len();
        }
        Arc::clone(self.shares.entry(source).or_insert_with(|| Arc::new(Semaphore::new(SHARE))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(n: usize) -> IpAddr {
        Ipv4Addr::new(198, 51, 100, u8::try_from(n).unwrap()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_source_delays_no_other() {
        let look_ups = LookUps::new();
        let mut flood = Vec::new();
        for _ in 0..SHARE {
            flood.push(look_ups.turn(source(1)).await.unwrap());
        }
        let waiting = look_ups.turn(source(1));
        tokio::pin!(waiting);
        assert!(timeout(LONGEST_WAIT / 2, &mut waiting).await.is_err());
        for n in 2..=4 {
            for _ in 0..SHARE {
                flood.push(timeout(Duration::ZERO, look_ups.turn(source(n))).await.unwrap().unwrap());
            }
        }
        // All places are taken. The first one that is free is for the source that has waited for one, not for the flood.
        let other = look_ups.turn(source(5));
        tokio::pin!(other);
        assert!(timeout(Duration::ZERO, &mut other).await.is_err());
        drop(flood.remove(0));
        let others = timeout(Duration::ZERO, &mut other).await.unwrap();
        assert!(others.is_ok());
        assert!(waiting.await.is_err(), "it has waited for too long");
        drop(flood);
        assert!(look_ups.turn(source(1)).await.is_ok());
    }

    #[tokio::test]
    async fn sources_that_look_nothing_up_are_forgotten() {
        let look_ups = LookUps::new();
        let staying = look_ups.turn(source(0)).await.unwrap();
        for n in 0..=255 {
            look_ups.turn(source(n)).await.unwrap();
        }
        assert!(look_ups.sources.lock().shares.len() <= FEW + 1);
        assert!(look_ups.sources.lock().shares.contains_key(&SourcePrefix::of(source(0))));
        drop(staying);
    }
}
