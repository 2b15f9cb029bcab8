//! The proof that every running gateway was told of a change, whatever became of its socket.
//!
//! Each process that caches data of the store holds a shared lock on the database file. A process that has told all others of
//! a change asks them to step aside, that is, to give up their locks for that moment. If somebody still holds one then, there
//! is a process that was not told. The lock is on the file itself (flock(2)): it cannot be deleted as a socket can, it is seen
//! from every container that has the file, and it ends with its process, even by kill -9. SQLite's own locks are of another
//! kind (fcntl(2)), and the two do not see each other.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::state::store::FileId;

/// The pause between two attempts to get a lock that another process holds for a moment.
const PAUSE: Duration = Duration::from_millis(2);

/// The lock of one process.
#[derive(Debug)]
pub(super) struct RollCall {
    /// Not closed as long as SQLite has the file open: closing any handle of a file ends all locks that SQLite has on it in this
    /// process. That of a command is closed after the store, that of a gateway never.
    file: Arc<File>,
    attendance: Mutex<Attendance>,
}

#[derive(Debug, Default)]
struct Attendance {
    /// True if the process caches data of the store.
    is_member: bool,
    /// The calls for which it has stepped aside and which have not ended.
    calls: usize,
    holds: bool,
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
        Ok(RollCall { file, attendance: Mutex::default() })
    }

    /// Takes the lock, before the first read that is cached.
    pub(super) async fn enroll(&self, patience: Duration) -> io::Result<()> {
        self.attendance.lock().is_member = true;
        std::mem::forget(self.file.clone());
        let deadline = Instant::now() + patience;
        while !self.hold()? {
            if Instant::now() >= deadline {
                return Err(io::Error::other("another process has locked the file"));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Gives up the lock for good.
    pub(super) fn leave(&self) {
        let mut attendance = self.attendance.lock();
        attendance.is_member = false;
        attendance.holds = false;
        let _ = self.file.unlock();
    }

    /// Gives up the lock until [`RollCall::step_back`].
    pub(super) fn step_aside(&self) {
        let mut attendance = self.attendance.lock();
        attendance.calls += 1;
        if std::mem::take(&mut attendance.holds) {
            let _ = self.file.unlock();
        }
    }

    /// Ends a call, and takes the lock again after the last one.
    pub(super) async fn step_back(&self) {
        self.attendance.lock().calls -= 1;
        while self.hold().is_ok_and(|held| !held) {
            sleep(PAUSE).await;
        }
    }

    /// Returns true if no other process holds the lock. Called by one that has stepped aside, or is no member.
    pub(super) fn is_complete(&self) -> bool {
        // One task at a time, since they share the handle.
        let _attendance = self.attendance.lock();
        match self.file.try_lock() {
            Ok(()) => {
                let _ = self.file.unlock();
                true
            }
            Err(TryLockError::WouldBlock) => false,
            // The file system has no such locks. Sockets alone have to do.
            Err(TryLockError::Error(_)) => true,
        }
    }

    /// Takes the lock if it is due. Returns false if another process holds it exclusively.
    fn hold(&self) -> io::Result<bool> {
        let mut attendance = self.attendance.lock();
        if !attendance.is_member || attendance.calls > 0 || attendance.holds {
            return Ok(true);
        }
        match self.file.try_lock_shared() {
            Ok(()) => attendance.holds = true,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(_)) => {}
        }
        Ok(true)
    }
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
    async fn a_call_is_complete_once_every_member_has_stepped_aside() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (caller, one, two) = (open(file.path()), open(file.path()), open(file.path()));
        let patience = Duration::from_secs(5);
        assert!(caller.is_complete());
        one.enroll(patience).await.unwrap();
        two.enroll(patience).await.unwrap();
        assert!(!caller.is_complete());
        one.step_aside();
        assert!(!caller.is_complete(), "the other was not told");
        two.step_aside();
        two.step_aside();
        assert!(caller.is_complete());
        two.step_back().await;
        assert!(caller.is_complete(), "one of two calls has ended");
        two.step_back().await;
        assert!(!caller.is_complete());
        two.leave();
        one.step_back().await;
        assert!(!caller.is_complete());
        drop(one.file.unlock());
        assert!(caller.is_complete());
    }
}
