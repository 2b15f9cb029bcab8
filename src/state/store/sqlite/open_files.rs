//! The files of the open database, by device and inode. SQLite continues with a file that was replaced or deleted, and then
//! decides on a state that nobody can change any more.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The device and the inode of a file, which are its own as long as it is open.
pub type FileId = (u64, u64);

/// The database and its two companions, as they were when the connections were opened.
#[derive(Debug)]
pub(super) struct OpenFiles {
    database: (PathBuf, FileId),
    /// The write-ahead log and its index, as far as they existed.
    companions: Vec<(PathBuf, FileId)>,
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
        Ok(OpenFiles { database, companions: companions.collect() })
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

    /// Checks that the paths still lead to the open files: one `stat` each.
    ///
    /// # Errors
    /// The text for the operator.
    pub(super) fn verify(&self) -> Result<(), String> {
        for (path, open) in std::iter::once(&self.database).chain(&self.companions) {
            let what_happened = match id(path) {
                Ok(now) if now == *open => continue,
                Ok(_) => "was replaced by another file",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was moved or deleted",
                Err(_) => "cannot be found any more",
            };
            return Err(format!(
                "{} {what_happened} while it is open, so nothing is decided: restart the gateway (or move the file back)",
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
