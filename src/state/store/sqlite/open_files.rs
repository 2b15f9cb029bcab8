//! The files of the open database, by device and inode. SQLite continues with a file that was replaced or deleted, and then
//! decides on a state that nobody can change any more.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::error;

/// The device and the inode of a file, which are its own as long as it is open.
pub type FileId = (u64, u64);

/// The database and its two companions, as they were when the connections were opened.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: (PathBuf, FileId),
    /// The write-ahead log and its index, as far as they existed.
    companions: Vec<(PathBuf, FileId)>,
    /// True since they were found replaced.
    are_replaced: AtomicBool,
    on_replaced: OnceLock<ReplacedHook>,
}

/// The reaction to files that were found replaced.
struct ReplacedHook(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for ReplacedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplacedHook")
    }
}

impl OpenFiles {
    /// Notes the files of the database at `path`, all connections to which are open.
    pub(super) fn of(path: &Path) -> io::Result<OpenFiles> {
        let database = (path.to_path_buf(), id(path)?);
        // SQLite resolves links, and has its companions beside the file itself.
        let real = path.canonicalize()?;
        let beside = ["-wal", "-shm"].map(|end| {
            let mut name = OsString::from(&real);
            name.push(end);
            PathBuf::from(name)
        });
        let companions = beside.into_iter().filter_map(|path| id(&path).ok().map(|id| (path, id)));
        let companions = companions.collect();
        let (are_replaced, on_replaced) = (AtomicBool::new(false), OnceLock::new());
        Ok(OpenFiles { database, companions, are_replaced, on_replaced })
    }

    /// The ID of the database.
    pub(super) fn id(&self) -> FileId {
        self.database.1
    }

    /// Returns true if another file is in the place of a companion. Closing would delete that one, or write the own log over
    /// what was written since.
    pub(super) fn has_lost_companion(&self) -> bool {
        self.companions.iter().any(|(path, open)| id(path).is_ok_and(|now| now != *open))
    }

    /// The ID of the file in the place of the database, if that is another one; none in it if there is no file.
    pub(super) fn successor(&self) -> Option<Option<FileId>> {
        let (path, open) = &self.database;
        let now = id(path).ok();
        (now != Some(*open)).then_some(now)
    }

    /// Removes the companions from beside a database that is another one: SQLite would take them for that one's, and write the
    /// old changes into it. Only those that were open here, and after they are closed.
    pub(super) fn remove_companions(&self) {
        for (path, open) in &self.companions {
            if id(path).is_ok_and(|now| now == *open)
                && let Err(error) = std::fs::remove_file(path)
            {
                error!(file = %path.display(), %error, "a file of the replaced database cannot be removed: remove it before the start");
            }
        }
    }

    /// Calls `hook` when the files are found replaced.
    pub(super) fn on_replaced(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_replaced.set(ReplacedHook(Box::new(hook)));
    }

    /// Checks that the paths still lead to the open files: one `stat` each.
    ///
    /// # Errors
    /// The text for the operator.
    pub(super) fn verify(&self) -> Result<(), String> {
        let verified = self.compare();
        if verified.is_err() != self.are_replaced.load(Ordering::Relaxed) {
            let were_replaced = self.are_replaced.swap(verified.is_err(), Ordering::Relaxed);
            if let (false, true, Some(hook)) = (were_replaced, verified.is_err(), self.on_replaced.get()) {
                hook.0();
            }
        }
        verified
    }

    fn compare(&self) -> Result<(), String> {
        for (path, open) in std::iter::once(&self.database).chain(&self.companions) {
            let what_happened = match id(path) {
                Ok(now) if now == *open => continue,
                Ok(_) => "was replaced by another file",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was moved or deleted",
                Err(_) => "cannot be found any more",
            };
            let database = self.database.0.display();
            return Err(format!(
                "{} {what_happened} while it is open, so nothing is decided: restart the gateway (or move the file back); \
                 if it is killed instead of stopped, remove {database}-wal and {database}-shm before the start",
                path.display()
            ));
        }
        Ok(())
    }
}

/// The ID of a file, with links followed.
pub(super) fn id(path: &Path) -> io::Result<FileId> {
    path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}
