//! The proof that every running gateway was told of a change, whatever became of its socket.
//!
//! Each process that caches data of the store has a number of its own, its seat. It is in the names of its sockets, and the process
//! holds a lock on one byte of the database file, far behind its end, at the place of that number. A process that has told all
//! others of a change asks the system for all such locks. If a seat is locked of which nobody has acknowledged, there is a process
//! that was not told. Nobody gives up its lock for that, so any number of processes can ask at once.
//!
//! The lock is on the file itself: it cannot be deleted as a socket can, it is seen from every container that has the file, and it
//! ends with its process, even by kill -9. It belongs to the open file and not to the process (`F_OFD_SETLK` of fcntl(2)), so it
//! is no matter of SQLite, which locks other bytes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::state::store::FileId;

/// The pause between two attempts to get a lock that another process holds for a moment.
const PAUSE: Duration = Duration::from_millis(2);

/// The place of the first seat in the file. No database is that long, and SQLite's own locks are at 1 GiB.
const FIRST: i64 = 1 << 62;
const SEATS: i64 = 1 << 61;

/// The number of a process among those that cache data of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemberSeat(i64);

impl MemberSeat {
    /// A number that nobody else has.
    pub(super) fn random() -> io::Result<MemberSeat> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(MemberSeat(i64::from_ne_bytes(random) & (SEATS - 1)))
    }

    /// The number as a part of a name.
    pub(super) fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    /// The opposite of [`MemberSeat::text`].
    pub(super) fn parse(text: &str) -> Option<MemberSeat> {
        i64::from_str_radix(text, 16).ok().filter(|number| (0..SEATS).contains(number)).map(MemberSeat)
    }
}

/// The lock of one process, and its view on those of the others.
#[derive(Debug)]
pub(super) struct RollCall {
    /// Not closed as long as SQLite has the file open: closing any handle of a file ends all locks that SQLite has on it in this
    /// process. That of a command is closed after the store, that of a gateway never.
    file: Arc<File>,
    own: Mutex<Option<MemberSeat>>,
}

impl RollCall {
    /// Opens the file, which must be the one with that ID.
    pub(super) fn open(database: &Path, id: FileId) -> io::Result<RollCall> {
        use std::os::unix::fs::MetadataExt;
        let file = Arc::new(File::open(database)?);
        let metadata = file.metadata()?;
        if (metadata.dev(), metadata.ino()) != id {
            return Err(io::Error::other("the file was replaced while it was opened: try again"));
        }
        Ok(RollCall { file, own: Mutex::default() })
    }

    /// Takes a seat, before the first read that is cached.
    pub(super) async fn enroll(&self, seat: MemberSeat, patience: Duration) -> io::Result<()> {
        std::mem::forget(self.file.clone());
        let deadline = Instant::now() + patience;
        loop {
            match fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&range(libc::F_RDLCK, FIRST + seat.0, 1))) {
                Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < deadline => sleep(PAUSE).await,
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(io::Error::other(FOREIGN)),
                // If the file system has no such locks, sockets alone have to do.
                _ => break,
            }
        }
        *self.own.lock() = Some(seat);
        Ok(())
    }

    /// Gives up the seat.
    pub(super) fn leave(&self) {
        if let Some(seat) = self.own.lock().take() {
            let _ = fcntl(&*self.file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, FIRST + seat.0, 1)));
        }
    }

    /// The seats of all other processes. One that is taken all the while is among them.
    ///
    /// # Errors
    /// [`FOREIGN`], if the lock of another program hides them.
    pub(super) fn others(&self) -> Result<Vec<MemberSeat>, &'static str> {
        let mut seats = Vec::new();
        let mut ranges = vec![(FIRST, FIRST + SEATS)];
        while let Some((from, end)) = ranges.pop() {
            let mut lock = range(libc::F_WRLCK, from, end - from);
            // Tells any one lock within the range, and nothing about the rest.
            let asked = fcntl(&*self.file, FcntlArg::F_OFD_GETLK(&mut lock));
            if asked.is_err() || lock.l_type == kind(libc::F_UNLCK) {
                continue;
            }
            if lock.l_len != 1 || !(from..end).contains(&lock.l_start) {
                return Err(FOREIGN);
            }
            seats.push(MemberSeat(lock.l_start - FIRST));
            let rest = [(from, lock.l_start), (lock.l_start + 1, end)];
            ranges.extend(rest.into_iter().filter(|(from, end)| from < end));
        }
        Ok(seats)
    }
}

/// The text for a lock that is none of Gatepost's.
pub(super) const FOREIGN: &str =
    "another program has locked the database file: end that program (see it by `fuser`)";

fn range(lock: libc::c_int, start: i64, length: i64) -> libc::flock {
    let whence = i16::try_from(libc::SEEK_SET).unwrap_or_default();
    libc::flock { l_type: kind(lock), l_whence: whence, l_start: start, l_len: length, l_pid: 0 }
}

/// The type of a lock as the structure has it.
fn kind(lock: libc::c_int) -> i16 {
    i16::try_from(lock).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn open(path: &Path) -> RollCall {
        let metadata = path.metadata().unwrap();
        RollCall::open(path, (metadata.dev(), metadata.ino())).unwrap()
    }

    #[tokio::test]
    async fn everybody_sees_all_others_until_they_leave() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let caller = open(file.path());
        assert_eq!(caller.others(), Ok(vec![]));
        let members: Vec<RollCall> = (0..20).map(|_| open(file.path())).collect();
        let mut seats = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let seat = match index {
                0 => MemberSeat(0),
                1 => MemberSeat(1),
                2 => MemberSeat(SEATS - 1),
                _ => MemberSeat::random().unwrap(),
            };
            assert_eq!(MemberSeat::parse(&seat.text()), Some(seat));
            member.enroll(seat, Duration::from_secs(5)).await.unwrap();
            seats.push(seat);
        }
        let sorted = |mut seats: Vec<MemberSeat>| {
            seats.sort_by_key(|seat| seat.0);
            seats
        };
        assert_eq!(sorted(caller.others().unwrap()), sorted(seats.clone()));
        assert_eq!(sorted(members[0].others().unwrap()), sorted(seats[1..].to_vec()), "not itself");
        members[7].leave();
        seats.remove(7);
        assert_eq!(sorted(caller.others().unwrap()), sorted(seats));
    }

    #[tokio::test]
    async fn the_lock_of_another_program_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (caller, other) = (open(file.path()), File::options().write(true).open(file.path()).unwrap());
        // flock(2) is of another kind.
        other.lock().unwrap();
        assert_eq!(caller.others(), Ok(vec![]));
        fcntl(&other, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, 0, 0))).unwrap();
        assert_eq!(caller.others(), Err(FOREIGN));
        let refused = caller.enroll(MemberSeat(7), Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.to_string(), FOREIGN);
    }
}
