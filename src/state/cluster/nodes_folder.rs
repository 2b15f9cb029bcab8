//! Where the processes that share a store meet: a folder of unix sockets beside the database.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Sockets that listen have names that end so; one that is still being made has not.
const LISTENING: &str = ".sock";

/// The folder `DATABASE.nodes`, by its path: it may be removed and made again while we run.
#[derive(Clone, Debug)]
pub(super) struct NodesFolder {
    folder: PathBuf,
    database: PathBuf,
}

/// The folder, opened. Sockets are reached through its handle, since a socket's path holds 107 bytes at most and a
/// database's may be longer.
#[derive(Debug)]
pub(super) struct OpenFolder(File);

impl NodesFolder {
    /// The same for all who open that file, by whatever path.
    pub(super) fn beside(database: &Path) -> io::Result<NodesFolder> {
        let database = database.canonicalize()?;
        let mut folder = database.as_os_str().to_owned();
        folder.push(".nodes");
        Ok(NodesFolder { folder: folder.into(), database })
    }

    /// Opens the folder and makes it where it isn't there; nobody but the owner of the database may look into it.
    pub(super) fn open(&self) -> io::Result<OpenFolder> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            // The command line may be root's, and must not shut out the gateway.
            Ok(()) => {
                let owner = self.database.metadata()?;
                chown(&self.folder, Some(owner.uid()), Some(owner.gid()))?;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        File::open(&self.folder).map(OpenFolder)
    }

    /// Returns true if there is still a socket with this name in the folder.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folder.join(name).symlink_metadata().is_ok()
    }

    pub(super) fn remove(&self, name: &str) {
        // Where it fails there is nothing to be done, and whoever comes next finds a dead socket and skips it.
        let _ = std::fs::remove_file(self.folder.join(name));
    }
}

impl OpenFolder {
    /// Listens under a name of our own. The name is given only to a socket that listens: one that doesn't would be
    /// taken for dead and removed.
    pub(super) fn listen(&self) -> io::Result<(UnixListener, String)> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{}-{:016x}{LISTENING}", std::process::id(), u64::from_ne_bytes(random));
        let unfinished = self.path(&format!("{name}.new"));
        let listener = UnixListener::bind(&unfinished)?;
        std::fs::rename(unfinished, self.path(&name))?;
        Ok((listener, name))
    }

    /// The names of all sockets that listen or did so once.
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
