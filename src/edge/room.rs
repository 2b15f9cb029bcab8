//! Room for forms that are read before anybody is known: bytes in memory and on disk over all workers of an entry, and how
//! much of them one source may take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::Forms;
use crate::state::throttle::Source;

/// So much of a form costs no more than the header before it, and takes no room: a short form never waits for long ones.
const FREE: u64 = 16 * 1024;

/// Room is taken in steps of so many bytes.
const STEP: u64 = 64 * 1024;

/// One source may take this part of the room: one address alone doesn't shut the others out.
const SHARE: u64 = 4;

/// How long a form waits for room on the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The room of one entry.
#[derive(Debug, Default)]
pub struct Room {
    books: Mutex<Books>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Books {
    all: Taken,
    sources: HashMap<Source, Taken>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    memory: u64,
    disk: u64,
}

impl Taken {
    fn plus(self, more: Taken) -> Taken {
        Taken { memory: self.memory + more.memory, disk: self.disk + more.disk }
    }

    fn minus(self, less: Taken) -> Taken {
        Taken { memory: self.memory.saturating_sub(less.memory), disk: self.disk.saturating_sub(less.disk) }
    }

    fn is_within(self, bounds: Taken) -> bool {
        self.memory <= bounds.memory && self.disk <= bounds.disk
    }
}

/// What one form takes of the room; it is given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    room: Arc<Room>,
    source: Source,
    bounds: Taken,
    share: Taken,
    taken: Taken,
}

impl Lease {
    /// Nothing yet, for a form that comes from `source`.
    pub fn new(room: Arc<Room>, source: IpAddr, forms: &Forms) -> Lease {
        let bounds = Taken { memory: forms.memory_total, disk: forms.disk_total };
        // The longest form has to fit into anybody's share.
        let share =
            Taken { memory: bounds.memory / SHARE, disk: (bounds.disk / SHARE).max(forms.max_body + STEP) };
        Lease { room, source: Source::of(source), bounds, share, taken: Taken::default() }
    }

    /// Takes room for `length` bytes of the form in memory; false where there is none.
    pub fn cover_in_memory(&mut self, length: u64) -> bool {
        length <= FREE || length <= self.taken.memory || {
            let more = length.next_multiple_of(STEP) - self.taken.memory;
            self.take(Taken { memory: more, disk: 0 })
        }
    }

    /// Takes room for `length` bytes of the form on the disk; false where there is none, after a while.
    pub async fn cover_on_disk(&mut self, length: u64) -> bool {
        if length <= self.taken.disk {
            return true;
        }
        let more = Taken { memory: 0, disk: length.next_multiple_of(STEP) - self.taken.disk };
        if self.take(more) {
            return true;
        }
        let room = self.room.clone();
        let waited = timeout(PATIENCE, async {
            loop {
                let mut freed = std::pin::pin!(room.freed.notified());
                freed.as_mut().enable();
                if self.take(more) {
                    return;
                }
                freed.await;
            }
        });
        waited.await.is_ok()
    }

    /// Gives back what it took of the memory: the form is on the disk now.
    pub fn leave_memory(&mut self) {
        self.give_back(Taken { memory: self.taken.memory, disk: 0 });
    }

    fn take(&mut self, more: Taken) -> bool {
        let mut books = self.room.books.lock();
        let all = books.all.plus(more);
        let own = books.sources.get(&self.source).copied().unwrap_or_default().plus(more);
        if !all.is_within(self.bounds) || !own.is_within(self.share) {
            return false;
        }
        books.all = all;
        books.sources.insert(self.source, own);
        self.taken = self.taken.plus(more);
        true
    }

    fn give_back(&mut self, less: Taken) {
        if less == Taken::default() {
            return;
        }
        self.taken = self.taken.minus(less);
        let mut books = self.room.books.lock();
        books.all = books.all.minus(less);
        let own = books.sources.get(&self.source).copied().unwrap_or_default().minus(less);
        if own == Taken::default() {
            books.sources.remove(&self.source);
        } else {
            books.sources.insert(self.source, own);
        }
        drop(books);
        self.room.freed.notify_waiters();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn lease(room: &Arc<Room>, source: &str) -> Lease {
        let forms =
            Forms { max_body: 64 * KIB, memory_total: 512 * KIB, disk_total: 1024 * KIB, ..Forms::default() };
        Lease::new(room.clone(), source.parse().unwrap(), &forms)
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_takes_its_share_and_all_take_no_more_than_there_is() {
        let room = Arc::new(Room::default());
        let mut first = lease(&room, "192.0.2.1");
        assert!(first.cover_in_memory(FREE) && first.taken == Taken::default());
        assert!(first.cover_in_memory(FREE + 1) && first.cover_in_memory(64 * KIB));
        assert_eq!(first.taken.memory, 64 * KIB);
        assert!(first.cover_in_memory(128 * KIB) && !first.cover_in_memory(128 * KIB + 1));
        let mut same = lease(&room, "192.0.2.1");
        assert!(same.cover_in_memory(FREE) && !same.cover_in_memory(FREE + 1));
        assert!(same.cover_on_disk(256 * KIB).await && !same.cover_on_disk(256 * KIB + 1).await);
        first.leave_memory();
        assert!(same.cover_in_memory(FREE + 1));
        let mut others: Vec<Lease> = (2..5).map(|n| lease(&room, &format!("192.0.2.{n}"))).collect();
        for other in &mut others {
            assert!(other.cover_on_disk(256 * KIB).await);
        }
        assert!(!lease(&room, "192.0.2.9").cover_on_disk(1).await);
        drop((first, same, others));
        let books = room.books.lock();
        assert!(books.all == Taken::default() && books.sources.is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let room = Arc::new(Room::default());
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
