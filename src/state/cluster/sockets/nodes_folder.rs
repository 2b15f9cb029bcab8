//! The directory of unix sockets beside the database, by which the processes on a store find each other.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, Mode, OFlags, Stat, access, fchown, mkdirat, openat, statat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use tokio::net::{UnixListener, UnixStream};

use super::roll_call::MemberSeat;
use crate::state::file_access::{self, FileUse};
use crate::state::shell_command::to_type;

/// The end of the names of sockets that listen. The name of a socket that is still being made ends otherwise.
const LISTENING: &str = ".sock";

/// The directory `DATABASE.nodes`, by its name: it may be removed and created again while the process runs.
///
/// Somebody else may control the directory of the database while root runs the command line in it. Therefore each step begins
/// at an open directory, no link is followed, and owner and mode are those of the opened directory.
#[derive(Clone, Debug)]
pub(super) struct NodesFolder {
    path: PathBuf,
    /// The directory of the database.
    parent: Arc<File>,
    database: OsString,
    name: OsString,
}

/// The opened directory. Sockets are reached through its handle, because the path of a socket is at most 107 bytes long,
/// and that of a database may be longer.
#[derive(Debug)]
pub(super) struct OpenFolder {
    folder: File,
    /// True if it did not exist before.
    pub(super) is_new: bool,
}

impl NodesFolder {
    /// The same for all processes that open the file, by whatever path.
    ///
    /// # Errors
    /// The text for the operator.
    pub(super) fn beside(database: &Path) -> Result<NodesFolder, String> {
        let explain = |path: &Path, error: io::Error| {
            format!("{}: {}", path.display(), file_access::explain(path, FileUse::Own, &error))
        };
        let database = database.canonicalize().map_err(|error| explain(database, error))?;
        let (Some(parent), Some(file)) = (database.parent(), database.file_name()) else {
            return Err(format!("{}: it is not the path of a file", database.display()));
        };
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let opened = File::options().read(true).custom_flags(flags).open(parent);
        let opened = opened.map_err(|error| explain(parent, error))?;
        let mut name = file.to_owned();
        name.push(".nodes");
        let path = parent.join(&name);
        Ok(NodesFolder { path, parent: Arc::new(opened), database: file.to_owned(), name })
    }

    /// The path of the folder, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory, and creates it if it does not exist. Only the owner of the database may use it.
    ///
    /// # Errors
    /// The text for the operator.
    pub(super) fn open(&self) -> Result<OpenFolder, String> {
        let is_new = match mkdirat(&*self.parent, &self.name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.explain(FileUse::Fill, errno)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&*self.parent, &self.name, flags, Mode::empty());
        let folder: OwnedFd = opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => self.wrong("it is a link or a file, not a directory"),
            errno => self.explain(FileUse::Fill, errno),
        })?;
        let folder = File::from(folder);
        self.check(&folder)?;
        Ok(OpenFolder { folder, is_new })
    }

    /// Checks the directory, if it exists, without a change.
    ///
    /// # Errors
    /// The text for the operator.
    pub(super) fn inspect(&self) -> Result<(), String> {
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(self.wrong("it is a link or a file, not a directory"));
            }
            _ => {}
        }
        access(&self.path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| self.explain(FileUse::Fill, errno))
    }

    /// Checks owner and mode of the opened directory. Root gives it to the owner of the database, so as not to lock out the
    /// gateway, but only if nothing else is in it than sockets.
    fn check(&self, folder: &File) -> Result<(), String> {
        let unknown = |error: io::Error| format!("{}: {error}", self.path.display());
        let database: Stat = statat(&*self.parent, &self.database, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| unknown(errno.into()))?;
        let metadata = folder.metadata().map_err(unknown)?;
        let own = geteuid();
        if own.is_root() && metadata.uid() == 0 && database.st_uid != 0 {
            if !holds_only_sockets(folder).map_err(unknown)? {
                return Err(self.wrong("it belongs to root, and has other files than sockets"));
            }
            let (owner, group) = (Uid::from_raw(database.st_uid), Gid::from_raw(database.st_gid));
            fchown(folder, Some(owner), Some(group)).map_err(|errno| unknown(errno.into()))?;
        } else if metadata.uid() != database.st_uid && metadata.uid() != own.as_raw() {
            let (owner, wanted) = (file_access::user(metadata.uid()), file_access::user(database.st_uid));
            return Err(self.wrong(&format!("it belongs to {owner}, and the database to {wanted}")));
        }
        if metadata.mode() & 0o077 != 0 {
            let own_only = folder.set_permissions(Permissions::from_mode(0o700));
            own_only.map_err(|_| {
                let help = to_type(&self.path, |path| format!("chmod 0700 {path}"));
                let mode = metadata.mode() & 0o7777;
                format!("{}: its mode is {mode:04o}, expected 0700{help}", self.path.display())
            })?;
        }
        Ok(())
    }

    /// Returns true if there is still a socket of that name at the path.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path.join(name).symlink_metadata().is_ok()
    }

    pub(super) fn remove(&self, name: &str) {
        // If that fails, nothing can be done. The next process finds a dead socket and skips it.
        let _ = std::fs::remove_file(self.path.join(name));
    }

    fn explain(&self, usage: FileUse, errno: Errno) -> String {
        let (path, error) = (&self.path, io::Error::from(errno));
        if let (Errno::ACCESS, Ok(metadata)) = (errno, path.symlink_metadata()) {
            let (viewer, ownership) = (file_access::viewer(), file_access::ownership(&metadata));
            return self.wrong(&format!("permission denied to {viewer} ({ownership})"));
        }
        // It cannot be created: its directory is in the way.
        let place = if path.symlink_metadata().is_ok() { path } else { path.parent().unwrap_or(path) };
        format!("{}: {}", place.display(), file_access::explain(place, usage, &error))
    }

    /// The words for a directory that cannot be used. It is put aside, as something else may be in it.
    fn wrong(&self, reason: &str) -> String {
        let help = to_type(&self.path, |path| format!("mv -i {path} {path}.old"));
        format!("{}: {reason}{help}", self.path.display())
    }
}

impl OpenFolder {
    /// Listens under a new name with that seat. Only a socket that listens gets the name, because any other would count as dead and be removed.
    pub(super) fn listen(&self, seat: MemberSeat) -> io::Result<(UnixListener, String)> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let random = u32::from_ne_bytes(random);
        let name = format!("{}-{}-{random:08x}{LISTENING}", std::process::id(), seat.text());
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

    /// Returns true if nobody has listened here yet, and it was made less than `age` ago.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        let made =
            self.folder.metadata().and_then(|metadata| metadata.created().or_else(|_| metadata.modified()));
        let is_young = made.is_ok_and(|made| made.elapsed().is_ok_and(|elapsed| elapsed < age));
        is_young && self.names().is_ok_and(|names| names.is_empty())
    }

    pub(super) async fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.path(name)).await
    }

    pub(super) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }

    fn path(&self, name: &str) -> PathBuf {
        within(&self.folder, name)
    }
}

/// The seat in the name of a socket. Sockets of earlier versions have none.
pub(super) fn seat_of(name: &str) -> Option<MemberSeat> {
    MemberSeat::parse(name.split('-').nth(1)?)
}

/// The path of a name in an open directory.
fn within(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

fn holds_only_sockets(folder: &File) -> io::Result<bool> {
    for entry in std::fs::read_dir(within(folder, "."))? {
        let entry = entry?;
        let is_unfinished = Path::new(&entry.file_name()).extension() == Some(OsStr::new("new"));
        if !entry.file_type()?.is_socket() && !is_unfinished {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;

    fn beside(folder: &Path) -> NodesFolder {
        let database = folder.join("gatepost.db");
        std::fs::write(&database, "").unwrap();
        if geteuid().is_root() {
            chown(&database, Some(65534), Some(65534)).unwrap();
        }
        NodesFolder::beside(&database).unwrap()
    }

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = path.symlink_metadata().unwrap();
        (metadata.uid(), metadata.gid())
    }

    // Case E11: the directory is swapped for a link to one of root's while root opens it.
    #[test]
    fn a_link_is_not_followed_however_it_is_swapped() {
        let outer = tempfile::tempdir().unwrap();
        let (folder, victim) = (outer.path().join("data"), outer.path().join("victim"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("file"), "root's").unwrap();
        let (before, mode) = (owner(&victim), victim.metadata().unwrap().mode());
        let nodes = beside(&folder);
        let (path, aside) = (nodes.path().to_path_buf(), folder.join("aside"));

        symlink(&victim, &path).unwrap();
        let refused = nodes.open().unwrap_err();
        assert!(refused.contains("not a directory; type: mv -i "), "{refused}");
        std::fs::remove_file(&path).unwrap();

        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                symlink(&victim, folder.join("link")).unwrap();
                while !done.load(Ordering::Relaxed) {
                    // Its name is a link, then nothing, then the directory again.
                    let _ = std::fs::rename(&path, &aside);
                    let _ = symlink(&victim, &path);
                    let _ = std::fs::remove_file(&path);
                    let _ = std::fs::rename(&aside, &path);
                    let _ = std::fs::remove_dir(&path);
                }
            });
            let (mut opened, mut tries) = (0, 0);
            let deadline = Instant::now() + Duration::from_secs(20);
            while tries < 3000 || opened == 0 && Instant::now() < deadline {
                opened += usize::from(nodes.open().is_ok());
                tries += 1;
            }
            done.store(true, Ordering::Relaxed);
            assert!(opened > 0, "it never succeeded: is the test blind?");
        });
        assert_eq!((owner(&victim), victim.metadata().unwrap().mode()), (before, mode));
        assert_eq!(owner(&victim.join("file")), before);
    }

    // Case E10: root may have made the directory; the gateway's user must get in.
    #[test]
    fn root_gives_the_directory_to_the_owner_of_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = beside(folder.path());
        nodes.open().unwrap();
        let expected = if geteuid().is_root() { (65534, 65534) } else { owner(folder.path()) };
        assert_eq!(owner(nodes.path()), expected);
        if !geteuid().is_root() {
            return;
        }
        // An older one of root's, with a socket in it.
        chown(nodes.path(), Some(0), Some(0)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(nodes.path().join("1-x.sock")).unwrap();
        nodes.open().unwrap();
        assert_eq!(owner(nodes.path()), (65534, 65534));
        // Something else of root's, which somebody gave that name.
        chown(nodes.path(), Some(0), Some(0)).unwrap();
        std::fs::write(nodes.path().join("file"), "").unwrap();
        assert!(nodes.open().unwrap_err().contains("other files than sockets"));
        assert_eq!(owner(nodes.path()), (0, 0));
        // And one of a third user's.
        std::fs::remove_file(nodes.path().join("file")).unwrap();
        chown(nodes.path(), Some(12345), Some(12345)).unwrap();
        let refused = nodes.open().unwrap_err();
        assert!(refused.contains("belongs to 12345") && refused.contains("type: mv -i "), "{refused}");
    }

    #[test]
    fn nobody_else_gets_in() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = beside(folder.path());
        std::fs::create_dir(nodes.path()).unwrap();
        std::fs::set_permissions(nodes.path(), Permissions::from_mode(0o777)).unwrap();
        nodes.open().unwrap();
        assert_eq!(nodes.path().metadata().unwrap().mode() & 0o7777, 0o700);
    }
}
