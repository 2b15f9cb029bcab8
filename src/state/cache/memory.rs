//! The principal that one connection presents again and again. A check that is answered from here writes nothing that other
//! connections read or write, also where they present the same credential.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::digest::Digest;
use super::verified::Verified;
use crate::domain::Moment;

/// The interval at which the cache hears that a remembered principal is still in use, so that it is not evicted as unused.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The memory of one connection: the principal of a credential that was presented twice in a row.
///
/// Believed under the same conditions as an entry of the cache, it is judged anew at each request. The streams of an
/// HTTP/2 connection share it; they run on one thread, so that the lock is free.
#[derive(Default)]
pub struct ConnectionMemory {
    remembered: Mutex<Remembered>,
    /// True once a second, so that the last use of a principal with a long connection is noted.
    is_use_due: AtomicBool,
}

/// The content of a [`ConnectionMemory`].
#[derive(Default)]
pub(super) struct Remembered {
    principal: Option<OwnPrincipal>,
    /// Of the credential that the cache knew at the last request. It is remembered if it comes again: a proxy that has a connection
    /// for many users would have each of them copied in vain.
    candidate: Option<Digest>,
}

struct OwnPrincipal {
    /// A copy, whose references nobody else counts.
    verified: Arc<Verified>,
    reported_at: Moment,
}

impl ConnectionMemory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock()
    }

    #[cold]
    pub(super) fn set_use_due(&self) {
        self.is_use_due.store(true, Ordering::Relaxed);
    }

    /// Returns true if the use of the principal should be noted again, once a second at most.
    #[inline]
    pub fn takes_use(&self) -> bool {
        self.is_use_due.load(Ordering::Relaxed) && self.is_use_due.swap(false, Ordering::Relaxed)
    }
}

impl Remembered {
    /// The remembered principal, fresh or not, if the digest is of its secret.
    #[inline]
    pub(super) fn find(&mut self, digest: &Digest) -> Option<&Arc<Verified>> {
        let own = self.principal.as_ref()?;
        let is_same = own.verified.proof.digest.matches(digest);
        is_same.then(|| {
            self.candidate = None;
            &own.verified
        })
    }

    /// Returns true, once in a while, if the cache should hear that the principal is in use.
    #[inline]
    pub(super) fn should_report(&mut self, now: Moment) -> bool {
        let Some(own) = &mut self.principal else { return false };
        let is_due = now.since(own.reported_at) >= REPORT_EVERY;
        if is_due {
            own.reported_at = now;
        }
        is_due
    }

    /// Takes note of what the cache has answered. Remembers it the second time, or at once in place of what is remembered of the
    /// same credential and has become stale. Returns what is to be used.
    pub(super) fn note(&mut self, found: Arc<Verified>, now: Moment) -> Arc<Verified> {
        let replaces =
            self.principal.as_ref().is_some_and(|own| own.verified.proof.digest.matches(&found.proof.digest));
        let is_second = self.candidate.is_some_and(|digest| digest.matches(&found.proof.digest));
        if !replaces && !is_second {
            self.candidate = Some(found.proof.digest);
            return found;
        }
        let verified = Arc::new(found.unshared());
        self.candidate = None;
        self.principal = Some(OwnPrincipal { verified: Arc::clone(&verified), reported_at: now });
        verified
    }
}

impl fmt::Debug for ConnectionMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionMemory(…)")
    }
}
