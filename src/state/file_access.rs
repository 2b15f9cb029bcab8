//! Files as this process may use them, in the words of an operator: what is in the way, whose file it is, as whom the
//! process looks, and the command that helps.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::shell_command::{to_type, word};

/// The use of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUse {
    /// A file is read. It may belong to somebody else.
    Read,
    /// A file is read, and should be writable. It should belong to the user who runs the gateway.
    Own,
    /// Files are created in a directory.
    Fill,
}

const NOT_REGULAR: &str = "it is not a regular file";

/// The most links that are followed, as the kernel does.
const LINKS: usize = 40;

/// The user as whom the process looks: `gatepost (uid 998)`.
pub fn viewer() -> String {
    let uid = geteuid().as_raw();
    match name_of("/etc/passwd", uid) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// Returns true if the process runs as root, to whom the system denies nothing.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Owner, group and mode: `owner root:ssl-cert, mode 0640`.
pub fn ownership(metadata: &Metadata) -> String {
    let (owner, group) = (user(metadata.uid()), group(metadata.gid()));
    format!("owner {owner}:{group}, mode {:04o}", metadata.mode() & 0o7777)
}

/// The name of a user, or else the number.
pub fn user(uid: u32) -> String {
    name_of("/etc/passwd", uid).unwrap_or_else(|| uid.to_string())
}

fn group(gid: u32) -> String {
    name_of("/etc/group", gid).unwrap_or_else(|| gid.to_string())
}

/// Explains an error of the system about `path`. The path itself is not repeated at the beginning.
pub fn explain(path: &Path, usage: FileUse, error: &io::Error) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match error.kind() {
        io::ErrorKind::NotFound => missing(&path, usage),
        io::ErrorKind::PermissionDenied => denied(&path, usage),
        io::ErrorKind::IsADirectory => "it is a directory, expected a file".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists if usage == FileUse::Fill => {
            "it is not a directory: choose another, or remove it".to_owned()
        }
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a directory".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: mount it for writing, or add it to ReadWritePaths= of the systemd unit".to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "no space is left on its disk: make room, or choose another directory".to_owned()
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "its symbolic links lead in a circle".to_owned()
        }
        _ if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            "this process has too many open files: raise the limit (LimitNOFILE= of the systemd unit)".to_owned()
        }
        _ => without_number(error),
    }
}

/// Opens a regular file for reading. A pipe or a device would keep its reader waiting, and is an error at once.
///
/// # Errors
/// The errors of the system, and one for everything that is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR)),
    }
}

/// Checks that a file can be read, without opening it. SQLite's locks would be lost by that.
///
/// # Errors
/// The explanation.
pub fn check_file(path: &Path, usage: FileUse) -> Result<Metadata, String> {
    let wrong = |error: io::Error| explain(path, usage, &error);
    let metadata = fs::metadata(path).map_err(wrong)?;
    if metadata.is_dir() {
        return Err(wrong(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(NOT_REGULAR.to_owned());
    }
    access(path, Access::READ_OK).map_err(|errno| wrong(errno.into()))?;
    Ok(metadata)
}

/// Checks that a file can be written, without opening it.
///
/// # Errors
/// The explanation.
pub fn check_writable(path: &Path) -> Result<(), String> {
    access(path, Access::WRITE_OK).map_err(|errno| explain(path, FileUse::Own, &errno.into()))
}

/// Checks that files can be created in a directory.
///
/// # Errors
/// The explanation.
pub fn check_directory(path: &Path) -> Result<Metadata, String> {
    let wrong = |error: io::Error| explain(path, FileUse::Fill, &error);
    let metadata = fs::metadata(path).map_err(wrong)?;
    if !metadata.is_dir() {
        return Err(wrong(io::ErrorKind::NotADirectory.into()));
    }
    access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|errno| wrong(errno.into()))?;
    Ok(metadata)
}

fn missing(path: &Path, usage: FileUse) -> String {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if is_link {
        let to = fs::read_link(path).unwrap_or_default();
        return format!("it is a symbolic link to {}, which does not exist", to.display());
    }
    if usage == FileUse::Fill {
        let user = word(&user(geteuid().as_raw())).unwrap_or_default();
        let help = to_type(path, |path| format!("install -d -o {user} -m 0700 {path}"));
        return format!("there is no such directory{help}");
    }
    match path.ancestors().skip(1).find(|directory| directory.is_dir()) {
        Some(there) if Some(there) != path.parent() => {
            let missing = path.strip_prefix(there).ok().and_then(|rest| rest.iter().next());
            let first = missing.map_or_else(|| there.to_path_buf(), |name| there.join(name));
            format!("there is no such file, and no directory {}", first.display())
        }
        _ => "there is no such file".to_owned(),
    }
}

/// Explains a denial: by the first directory on the way that cannot be entered, or by the file itself. The command gives away nothing that
/// others use: it changes a directory only if it is the viewer's, and the group of a file only if that group has no use of it.
fn denied(path: &Path, usage: FileUse) -> String {
    let viewer = viewer();
    let (place, is_closed) = obstacle(path.to_path_buf());
    let Ok(metadata) = place.metadata() else {
        return format!("permission denied to {viewer}");
    };
    let ownership = ownership(&metadata);
    if is_root() {
        return format!(
            "permission denied even to root ({ownership}): look for a security module, a read-only mount or chattr +i"
        );
    }
    let help = help(&place, &metadata, usage, is_closed);
    match is_closed {
        true => {
            format!(
                "permission denied to {viewer}, who may not enter {} ({ownership}){help}",
                place.display()
            )
        }
        false => format!("permission denied to {viewer} ({ownership}){help}"),
    }
}

/// The end of the explanation of a denial: what helps.
fn help(place: &Path, metadata: &Metadata, usage: FileUse, is_closed: bool) -> String {
    let (own, mode, owner) = (geteuid().as_raw(), metadata.mode(), metadata.uid());
    let (user_name, group_name) = (user(own), group(metadata.gid()));
    let (Some(user), Some(own_group)) = (word(&user_name), word(&group(getegid().as_raw()))) else {
        return String::new();
    };
    let is_named = user_name.parse::<u32>().is_err();
    // A user without a name has no login group.
    let chown = if is_named { format!("chown {user}:") } else { format!("chown {user}") };
    let allows_group = mode & if is_closed { 0o010 } else { 0o040 } != 0;
    let is_shared = metadata.gid() != 0 && allows_group && (is_closed || usage == FileUse::Read);
    let is_free_group = metadata.gid() == 0 || mode & 0o070 == 0;
    let command = |command: &str, rights: &str| {
        to_type(place, |path| format!("{command} {path} && chmod {rights} {path}"))
    };
    let owned = |rights: &str| to_type(place, |path| format!("chmod {rights} {path}"));
    match usage {
        _ if owner == own && metadata.is_dir() => owned("u+rwx"),
        FileUse::Read if owner == own => owned("u+r"),
        FileUse::Own if owner == own => owned("u+rw"),
        _ if is_shared && is_named => word(&group_name)
            .map(|group| {
                format!(", and not in the group (from the next start on); type: usermod -aG {group} {user}")
            })
            .unwrap_or_default(),
        _ if is_closed && is_free_group && is_named_for_gatepost(place) => {
            command(&format!("chgrp {own_group}"), "g+x")
        }
        _ if is_closed => elsewhere(place.parent().unwrap_or(place), usage, &user),
        FileUse::Fill if is_left_to(own, place) => command(&chown, "0700"),
        FileUse::Fill => elsewhere(place, usage, &user),
        FileUse::Read if is_free_group => command(&format!("chgrp {own_group}"), "0640"),
        FileUse::Read => String::new(),
        FileUse::Own if owner == 0 => command(&chown, "0600"),
        FileUse::Own => ": run Gatepost as its owner, or choose another file".to_owned(),
    }
}

/// The command that makes a directory of the viewer's own below `directory`, or below one of the system's if that is the root.
fn elsewhere(directory: &Path, usage: FileUse, user: &str) -> String {
    let directory = match directory.parent() {
        Some(_) => directory,
        None if usage == FileUse::Read => Path::new("/etc"),
        None => Path::new("/var/lib"),
    };
    let made = directory.join("gatepost");
    if made.symlink_metadata().is_ok() {
        return ": choose another directory".to_owned();
    }
    let purpose =
        if usage == FileUse::Fill { "use one of its own" } else { "keep the file in one of its own" };
    let command = to_type(&made, |made| format!("install -d -o {user} -m 0700 {made}"));
    format!(": {purpose}{command}")
}

/// Returns true if a directory of somebody else's is there for the viewer alone: it holds only files of the viewer's, or it is empty and
/// named for Gatepost.
fn is_left_to(viewer: u32, directory: &Path) -> bool {
    let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
    let Ok(entries) = entries else { return false };
    let is_file_of_viewer = |entry: &fs::DirEntry| {
        let of_sockets = entry.path().extension() == Some(OsStr::new("nodes"));
        entry.metadata().is_ok_and(|found| found.uid() == viewer && (!found.is_dir() || of_sockets))
    };
    let is_near_root = directory.ancestors().count() < 3;
    let is_meant = if entries.is_empty() { is_named_for_gatepost(directory) } else { !is_near_root };
    is_meant && entries.iter().all(is_file_of_viewer)
}

fn is_named_for_gatepost(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.to_string_lossy().contains("gatepost"))
}

/// The first directory on the way to `path` that cannot be entered, and true; or the file itself, with links followed, and false.
fn obstacle(mut path: PathBuf) -> (PathBuf, bool) {
    for _ in 0..LINKS {
        let mut directories: Vec<&Path> = path.ancestors().skip(1).collect();
        directories.reverse();
        if let Some(closed) =
            directories.into_iter().find(|directory| access(*directory, Access::EXEC_OK).is_err())
        {
            return (closed.to_path_buf(), true);
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().map(|parent| parent.join(&target)).unwrap_or(target);
    }
    (path, false)
}

/// The system's words, without its number.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    let mut words = text[..end].to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}

/// The name of a number in a file of the format of passwd(5).
fn name_of(file: &str, number: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn error(path: &Path, usage: FileUse) -> String {
        match usage {
            FileUse::Fill => check_directory(path).unwrap_err(),
            _ => check_file(path, usage).unwrap_err(),
        }
    }

    #[test]
    fn each_obstacle_has_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        assert_eq!(error(&at("none"), FileUse::Read), "there is no such file");
        let deep = error(&at("a/b/c"), FileUse::Own);
        assert_eq!(deep, format!("there is no such file, and no directory {}", at("a").display()));
        assert!(error(&at("a"), FileUse::Fill).contains("type: install -d -o "));
        assert!(error(&at("file"), FileUse::Fill).contains("not a directory"));
        assert!(error(&at("file/x"), FileUse::Read).contains("a part of the path is a file"));
        assert!(error(folder.path(), FileUse::Read).contains("is a directory, expected a file"));
        assert!(error(&at("dangling"), FileUse::Read).contains("link to nowhere"));
        assert!(error(&at("circle"), FileUse::Read).contains("in a circle"));
        assert!(error(Path::new("/dev/null"), FileUse::Read).contains("not a regular file"));
        assert!(check_file(&at("file"), FileUse::Own).is_ok() && check_directory(folder.path()).is_ok());
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        fs::write(at("file"), "x").unwrap();
        assert!(open_regular(&at("file")).is_ok());
        let wrong = |path: &Path| explain(path, FileUse::Read, &open_regular(path).unwrap_err());
        assert_eq!(wrong(&at("pipe")), NOT_REGULAR);
        assert_eq!(wrong(Path::new("/dev/null")), NOT_REGULAR);
        assert_eq!(wrong(folder.path()), "it is a directory, expected a file");
    }

    #[test]
    fn a_file_is_described_by_owner_and_mode() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_permissions(fs::Permissions::from_mode(0o4640)).unwrap();
        let text = ownership(&file.as_file().metadata().unwrap());
        assert!(text.ends_with(", mode 4640") && text.starts_with("owner "), "{text}");
        assert_eq!(user(0), "root");
        assert_eq!(user(4_000_000_000), "4000000000");
    }
}
