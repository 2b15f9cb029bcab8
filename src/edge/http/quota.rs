//! A quota of memory and disk space for requests whose credential has not been accepted yet: over all workers of an entry, and for
//! each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::Forms;
use crate::state::throttle::SourcePrefix;

/// The bytes of a form up to which it never waits for long forms. Over HTTP/1 they take no room, since the connection's own buffers
/// are as large. Over HTTP/2 they take the room of the request.
const SHORT: u64 = 16 * 1024;

/// The steps in which short and long forms take room.
const SHORT_STEP: u64 = 4 * 1024;
const STEP: u64 = 64 * 1024;

/// The memory of one request over HTTP/2 before it is forwarded, beside its header and its body: its task, its stream and the
/// scanner of its form. Measured: 6.5 KiB.
const REQUEST: u64 = 8 * 1024;

/// The memory of one header field beside its bytes.
const FIELD: u64 = 128;

/// The memory that an HTTP/2 connection keeps for each stream that it had at once (measured), and the number of streams that
/// are part of the connection itself.
const STREAM: u64 = 2 * 1024;
const FREE_STREAMS: usize = 8;

/// The least bound of each [`Use`], for all sources together.
const LEAST: u64 = 2 << 20;

/// The part of the room for forms that one source may take.
const SHARE: u64 = 4;

/// The time that a form waits for room on the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The purpose for which a request or connection takes memory, over HTTP/2 if nothing else is said. Each has room of its own, so that none blocks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A form that is read for its credential.
    Form,
    /// A login while it is checked.
    Login,
    /// A body while it is forwarded to a public route.
    Upload,
    /// A refusal while its client doesn't read it, or continues to send.
    Refusal,
    /// The streams of a connection.
    Stream,
    /// A response that the client doesn't read.
    Answer,
    /// A response that waits for the room of [`Use::Answer`].
    Waiting,
    /// A body over HTTP/1 while it is forwarded to a public route.
    SingleUpload,
}

impl Use {
    const ALL: [Use; 8] = [
        Use::Form,
        Use::Login,
        Use::Upload,
        Use::Refusal,
        Use::Stream,
        Use::Answer,
        Use::Waiting,
        Use::SingleUpload,
    ];

    /// The bound for all sources together, as a part of `spool_memory_total`.
    const fn part(self) -> u64 {
        match self {
            Use::SingleUpload => 4,
            Use::Answer => 16,
            Use::Login => 32,
            Use::Form | Use::Upload | Use::Refusal | Use::Stream | Use::Waiting => 64,
        }
    }

    /// The part of the bound that one source may take, so that one address can't shut the others out. There may be many browsers
    /// behind one address, each with many streams, and programs that begin with a burst of logins.
    const fn share(self) -> u64 {
        match self {
            Use::Form | Use::Upload | Use::Refusal | Use::Answer | Use::Waiting | Use::SingleUpload => SHARE,
            Use::Login | Use::Stream => 2,
        }
    }
}

/// The room of one entry.
#[derive(Debug, Default)]
pub struct Quota {
    totals: Mutex<Totals>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Totals {
    all: TakenRoom,
    sources: HashMap<SourcePrefix, TakenRoom>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TakenRoom {
    /// For each [`Use`].
    uses: [u64; Use::ALL.len()],
    /// Of long forms.
    memory: u64,
    disk: u64,
}

impl TakenRoom {
    const NONE: TakenRoom = TakenRoom { uses: [0; Use::ALL.len()], memory: 0, disk: 0 };

    fn of(purpose: Use, bytes: u64) -> TakenRoom {
        let mut taken = TakenRoom::NONE;
        taken.uses[purpose as usize] = bytes;
        taken
    }

    fn plus(self, more: TakenRoom) -> TakenRoom {
        self.with(more, |taken, more| taken + more)
    }

    fn minus(self, less: TakenRoom) -> TakenRoom {
        self.with(less, u64::saturating_sub)
    }

    fn with(self, other: TakenRoom, each: fn(u64, u64) -> u64) -> TakenRoom {
        TakenRoom {
            uses: std::array::from_fn(|at| each(self.uses[at], other.uses[at])),
            memory: each(self.memory, other.memory),
            disk: each(self.disk, other.disk),
        }
    }

    fn is_within(self, bounds: TakenRoom) -> bool {
        self.uses.iter().zip(bounds.uses).all(|(taken, bound)| *taken <= bound)
            && self.memory <= bounds.memory
            && self.disk <= bounds.disk
    }
}

/// The room that one request or one connection has taken. It is given back on drop.
#[derive(Debug)]
pub struct QuotaLease {
    room: Arc<Quota>,
    source: SourcePrefix,
    /// The purpose of short bodies and streams; none over HTTP/1.
    purpose: Option<Use>,
    bounds: TakenRoom,
    share: TakenRoom,
    taken: TakenRoom,
}

impl QuotaLease {
    /// A lease that has taken nothing, for a request from `source`. `purpose` is none over HTTP/1.
    pub fn new(room: Arc<Quota>, source: IpAddr, purpose: Option<Use>, forms: &Forms) -> QuotaLease {
        let uses = Use::ALL.map(|purpose| (forms.memory_total / purpose.part()).max(LEAST));
        let bounds = TakenRoom { uses, memory: forms.memory_total, disk: forms.disk_total };
        let share = TakenRoom {
            uses: Use::ALL.map(|purpose| uses[purpose as usize] / purpose.share()),
            memory: bounds.memory / SHARE,
            // The longest form has to fit into any source's share.
            disk: (bounds.disk / SHARE).max(forms.max_body + STEP),
        };
        QuotaLease { room, source: SourcePrefix::of(source), purpose, bounds, share, taken: TakenRoom::NONE }
    }

    /// Takes room for a request with a header of `fields` fields and `bytes` bytes, until [`QuotaLease::accept`]. Returns false if
    /// there is none.
    pub fn cover_request(&mut self, fields: usize, bytes: usize) -> bool {
        self.cover(REQUEST + FIELD * fields as u64 + bytes as u64)
    }

    /// Takes room for an HTTP/2 connection that has had `streams` streams at once. Returns false if there is none.
    pub fn cover_streams(&mut self, streams: usize) -> bool {
        let wanted = STREAM * streams.saturating_sub(FREE_STREAMS) as u64;
        let more = wanted.saturating_sub(self.taken.uses[Use::Stream as usize]);
        more == 0 || self.cover(more)
    }

    /// Takes room for a piece of a response with `length` bytes, until it is sent. Returns false if there is none.
    pub fn cover_answer(&mut self, length: usize) -> bool {
        self.cover(REQUEST + length as u64)
    }

    /// Takes room for a piece of a response, and waits for it for as long as it takes.
    pub async fn cover_answer_in_time(&mut self, length: usize) {
        let Some(purpose) = self.purpose else { return };
        self.take_in_time(TakenRoom::of(purpose, REQUEST + length as u64)).await;
    }

    /// Returns true if this has taken room for its purpose, and half of that room is taken, in all or by its source. Then a request
    /// that makes no progress blocks others.
    pub fn is_crowded(&self) -> bool {
        let Some(at) = self.purpose.map(|purpose| purpose as usize) else { return false };
        if self.taken.uses[at] == 0 {
            return false;
        }
        let totals = self.room.totals.lock();
        let own = totals.sources.get(&self.source).map_or(0, |own| own.uses[at]);
        totals.all.uses[at] > self.bounds.uses[at] / 2 || own > self.share.uses[at] / 2
    }

    /// Takes room for `length` bytes of the body in memory. Returns false if there is none. `before` is the length of the last such
    /// call.
    pub fn cover_in_memory(&mut self, before: u64, length: u64) -> bool {
        let steps = |length: u64| length.min(SHORT).next_multiple_of(SHORT_STEP);
        let short = steps(length) - steps(before);
        let long = match length > SHORT {
            true => length.next_multiple_of(STEP).saturating_sub(self.taken.memory),
            false => 0,
        };
        (short == 0 || self.cover(short))
            && (long == 0 || self.take(TakenRoom { memory: long, ..TakenRoom::NONE }))
    }

    /// Takes room for the lease's purpose.
    fn cover(&mut self, bytes: u64) -> bool {
        self.purpose.is_none_or(|purpose| self.take(TakenRoom::of(purpose, bytes)))
    }

    /// Takes room for `length` bytes of the form on the disk, and waits for it for a while. Returns false if there is none.
    pub async fn cover_on_disk(&mut self, length: u64) -> bool {
        if length <= self.taken.disk {
            return true;
        }
        let more = TakenRoom { disk: length.next_multiple_of(STEP) - self.taken.disk, ..TakenRoom::NONE };
        if self.take(more) {
            return true;
        }
        timeout(PATIENCE, self.take_in_time(more)).await.is_ok()
    }

    /// Takes room, and waits for it.
    async fn take_in_time(&mut self, more: TakenRoom) {
        let room = self.room.clone();
        loop {
            let mut freed = std::pin::pin!(room.freed.notified());
            freed.as_mut().enable();
            if self.take(more) {
                return;
            }
            freed.await;
        }
    }

    /// Gives the memory back: the form is on the disk now.
    pub fn leave_memory(&mut self) {
        self.give_back(TakenRoom { memory: self.taken.memory, ..TakenRoom::NONE });
    }

    /// Gives back the room that a request holds until its credential is accepted.
    pub fn accept(&mut self) {
        self.give_back(TakenRoom { uses: self.taken.uses, ..TakenRoom::NONE });
    }

    fn take(&mut self, more: TakenRoom) -> bool {
        let mut totals = self.room.totals.lock();
        let all = totals.all.plus(more);
        let own = totals.sources.get(&self.source).copied().unwrap_or_default().plus(more);
        if !all.is_within(self.bounds) || !own.is_within(self.share) {
            return false;
        }
        totals.all = all;
        totals.sources.insert(self.source, own);
        self.taken = self.taken.plus(more);
        true
    }

    fn give_back(&mut self, less: TakenRoom) {
        if less == TakenRoom::NONE {
            return;
        }
        self.taken = self.taken.minus(less);
        let mut totals = self.room.totals.lock();
        totals.all = totals.all.minus(less);
        let own = totals.sources.get(&self.source).copied().unwrap_or_default().minus(less);
        if own == TakenRoom::NONE {
            totals.sources.remove(&self.source);
        } else {
            totals.sources.insert(self.source, own);
        }
        drop(totals);
        self.room.freed.notify_waiters();
    }
}

impl Drop for QuotaLease {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn lease_for(purpose: Option<Use>, room: &Arc<Quota>, source: &str) -> QuotaLease {
        let forms =
            Forms { max_body: 64 * KIB, memory_total: 512 * KIB, disk_total: 1024 * KIB, ..Forms::default() };
        QuotaLease::new(room.clone(), source.parse().unwrap(), purpose, &forms)
    }

    fn lease(room: &Arc<Quota>, source: &str) -> QuotaLease {
        lease_for(Some(Use::Form), room, source)
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_takes_its_share_and_all_take_no_more_than_there_is() {
        let room = Arc::new(Quota::default());
        let mut first = lease(&room, "192.0.2.1");
        assert!(first.cover_in_memory(0, SHORT) && first.taken.memory == 0);
        assert!(first.cover_in_memory(SHORT, SHORT + 1) && first.cover_in_memory(SHORT + 1, 64 * KIB));
        assert_eq!(first.taken, TakenRoom { memory: 64 * KIB, ..TakenRoom::of(Use::Form, SHORT) });
        assert!(first.cover_in_memory(64 * KIB, 128 * KIB));
        assert!(!first.cover_in_memory(128 * KIB, 128 * KIB + 1));
        let mut same = lease_for(None, &room, "192.0.2.1");
        assert!(same.cover_in_memory(0, SHORT) && same.taken == TakenRoom::NONE);
        assert!(!same.cover_in_memory(SHORT, SHORT + 1));
        assert!(same.cover_on_disk(256 * KIB).await && !same.cover_on_disk(256 * KIB + 1).await);
        first.leave_memory();
        assert!(same.cover_in_memory(SHORT, SHORT + 1));
        let mut others: Vec<QuotaLease> = (2..5).map(|n| lease(&room, &format!("192.0.2.{n}"))).collect();
        for other in &mut others {
            assert!(other.cover_on_disk(256 * KIB).await);
        }
        assert!(!lease(&room, "192.0.2.9").cover_on_disk(1).await);
        drop((first, same, others));
        let totals = room.totals.lock();
        assert!(totals.all == TakenRoom::NONE && totals.sources.is_empty());
    }

    /// Leases of one source, as many as find room for a request.
    fn requests(room: &Arc<Quota>, purpose: Use, source: &str) -> Vec<QuotaLease> {
        let leases = std::iter::repeat_with(|| lease_for(Some(purpose), room, source));
        leases.map_while(|mut lease| lease.cover_request(10, 300).then_some(lease)).collect()
    }

    #[test]
    fn a_request_takes_room_of_its_purpose_until_its_credential_is_accepted() {
        for purpose in [Use::Form, Use::Login, Use::Upload, Use::Refusal] {
            let room = Arc::new(Quota::default());
            let mut taken = requests(&room, purpose, "192.0.2.1");
            let most = LEAST / purpose.share() / (REQUEST + 10 * FIELD + 300);
            assert_eq!(taken.len() as u64, most, "{purpose:?}");
            assert!(taken[0].is_crowded() && !lease_for(Some(purpose), &room, "192.0.2.1").is_crowded());
            // Other purposes, other sources and HTTP/1 have room of their own.
            for other in Use::ALL.into_iter().filter(|other| *other != purpose) {
                assert!(lease_for(Some(other), &room, "192.0.2.1").cover_request(10, 300));
            }
            assert!(lease_for(None, &room, "192.0.2.1").cover_request(10, 300));
            let others: Vec<_> = (2..9).map(|n| requests(&room, purpose, &format!("192.0.2.{n}"))).collect();
            let sum = others.iter().map(Vec::len).sum::<usize>() as u64 + most;
            assert!(sum <= LEAST / (REQUEST + 10 * FIELD + 300) && sum >= most * purpose.share());
            taken[0].accept();
            assert!(lease_for(Some(purpose), &room, "192.0.2.1").cover_request(10, 300));
            drop((taken, others));
            assert_eq!(room.totals.lock().all, TakenRoom::NONE);
        }
    }

    #[test]
    fn streams_of_a_connection_count_for_as_many_as_it_had_at_once() {
        let room = Arc::new(Quota::default());
        let connection = || lease_for(Some(Use::Stream), &room, "192.0.2.1");
        let mut first = connection();
        assert!(first.cover_streams(FREE_STREAMS) && first.taken == TakenRoom::NONE && !first.is_crowded());
        for streams in [1, 100, 50, 100] {
            assert!(first.cover_streams(streams));
        }
        let each = STREAM * (100 - FREE_STREAMS as u64);
        assert_eq!(first.taken, TakenRoom::of(Use::Stream, each));
        let mut more = Vec::new();
        let mut next = connection();
        while next.cover_streams(100) {
            more.push(std::mem::replace(&mut next, connection()));
        }
        assert_eq!(more.len() as u64 + 1, LEAST / 2 / each);
        assert!(first.is_crowded());
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let room = Arc::new(Quota::default());
        let mut first = lease(&room, "2001:db8::1");
        assert!(first.cover_on_disk(256 * KIB).await);
        // The same network, and so the same source.
        let mut second = lease(&room, "2001:db8::2");
        let waiting = tokio::spawn(async move { second.cover_on_disk(1).await });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
