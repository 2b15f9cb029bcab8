//! The networks from which principals are used: noted, written in the background, and asked for where a check would have to wait.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Access, Granted};
use crate::domain::{ClientNetwork, Entry, Moment, PrincipalId};
use crate::state::cache::Verified;
use crate::state::clock;

/// The interval at which uses are written: what other gateways show of the last use is at most that much older.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// The number of these intervals at which the uses of sessions are written: once a minute.
const SESSIONS_EVERY: u32 = 4;

impl Access {
    /// Notes that what the cache allowed was used from that address. To be called for each transaction of a session, once in a while
    /// for a connection, and for each request where its source may differ. Costs a few loads, except once a minute for each network.
    #[inline]
    pub fn note_use(&self, granted: &Granted, entry: Entry, source: IpAddr) {
        self.note_verified(granted.verified(), entry, source, clock::now());
    }

    #[inline]
    pub(super) fn note_verified(&self, verified: &Arc<Verified>, entry: Entry, source: IpAddr, now: Moment) {
        let identity = &verified.identity;
        self.uses.note(&identity.principal, &identity.uses, source, entry, now);
    }

    /// Writes the uses into the store for as long as it is polled: each principal and each session at most once a minute.
    pub async fn keep_uses_written(self: Arc<Self>) {
        let mut ticks = interval(WRITE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for nth in (0..SESSIONS_EVERY).cycle() {
            ticks.tick().await;
            match nth {
                0 => self.write_uses().await,
                _ => self.uses.write(&self.store).await,
            }
        }
    }

    /// Writes the uses that were noted since the last time. If the store can't be written, they are kept.
    pub async fn write_uses(&self) {
        self.uses.write(&self.store).await;
        self.session_uses.write(&self.store).await;
    }

    /// Returns true if the principal was used from that network lately. A name that doesn't exist costs the same. If the store can't
    /// be asked, no network is known that this process hasn't seen.
    pub(super) async fn is_known_from(&self, principal: Option<PrincipalId>, network: ClientNetwork) -> bool {
        let noted = principal.is_some_and(|principal| self.uses.has_noted(principal, network));
        let stored = match noted {
            true => Ok(true),
            false => self.store.was_used_from(principal, network).await,
        };
        stored.unwrap_or(false)
    }
}
