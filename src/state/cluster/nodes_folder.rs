//! The directory of unix sockets beside the database, by which the processes on a store find each other.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The end of the names of sockets that listen. The name of a socket that is still being made ends otherwise.
const LISTENING: &str = ".sock";

/// The directory `DATABASE.nodes`, by its path: it may be removed and created again while the process runs.
#[derive(Clone, Debug)]
pub(super) struct NodesFolder {
    folder: PathBuf,
    database: PathBuf,
}

/// The opened directory. Sockets are reached through its handle, because the path of a socket is at most 107 bytes long,
/// and that of a database may be longer.
#[derive(Debug)]
pub(super) struct OpenFolder(File);

impl NodesFolder {
    /// The same for all processes that open the file, by whatever path.
    pub(super) fn beside(database: &Path) -> io::Result<NodesFolder> {
        let database = database.canonicalize()?;
        let mut folder = database.as_os_str().to_owned();
        folder.push(".nodes");
        Ok(NodesFolder { folder: folder.into(), database })
    }

    /// Opens the directory, and creates it if it does not exist. Only the owner of the database may read it.
    pub(super) fn open(&self) -> io::Result<OpenFolder> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            // The command line may run as root, and must not lock out the gateway.
            Ok(()) => {
                let owner = self.database.metadata()?;
                chown(&self.folder, Some(owner.uid()), Some(owner.gid()))?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        File::open(&self.folder).map(OpenFolder)
    }

    /// Returns true if there is still a socket of that name at the path.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folder.join(name).symlink_metadata().is_ok()
    }

    pub(super) fn remove(&self, name: &str) {
        // If that fails, nothing can be done. The next process finds a dead socket and skips it.
        let _ = std::fs::remove_file(self.folder.join(name));
    }
}

impl OpenFolder {
    /// Listens under an own name. Only a socket that listens gets the name, because any other would count as dead and be removed.
    pub(super) fn listen(&self) -> io::Result<(UnixListener, String)> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{}-{:016x}{LISTENING}", std::process::id(), u64::from_ne_bytes(random));
        let unfinished = self.path(&format!("{name}.new"));
        let listener = UnixListener::bind(&unfinished)?;
        std::fs::rename(unfinished, self.path(&name))?;
        Ok((listener, name))
    }

    /// The names of all sockets that listen or have listened.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.path("."))?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.filter(|name| name.as_ref().map_or(true, |name| name.ends_with(LISTENING))).collect()
    }

    pub(super) async fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.path(name)).await
    }

    pub(super) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}
