//! Files as this process may use them, in the words of an operator: what is in the way, whose file it is, as whom the
//! process looks, and the command that helps.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

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
        let (user, path) = (user(geteuid().as_raw()), path.display());
        return format!("there is no such directory; type: install -d -o {user} -m 0700 {path}");
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

/// Explains a denial: by the first directory on the way that cannot be entered, or by the file itself.
fn denied(path: &Path, usage: FileUse) -> String {
    let (viewer, name) = (viewer(), user(geteuid().as_raw()));
    let (place, is_directory) = obstacle(path.to_path_buf());
    let Ok(metadata) = place.metadata() else {
        return format!("permission denied to {viewer}");
    };
    let (ownership, shown) = (ownership(&metadata), place.display());
    if is_root() {
        return format!(
            "permission denied even to root ({ownership}): look for a security module, a read-only mount or chattr +i"
        );
    }
    // Its own group, which on some systems has another name than the user.
    let own_group = group(getegid().as_raw());
    if is_directory {
        return format!(
            "permission denied to {viewer}, who may not enter {shown} ({ownership}); \
             type: chgrp {own_group} {shown} && chmod g+x {shown}"
        );
    }
    match usage {
        FileUse::Read => format!(
            "permission denied to {viewer} ({ownership}); type: chgrp {own_group} {shown} && chmod 0640 {shown}"
        ),
        FileUse::Own => format!(
            "permission denied to {viewer} ({ownership}); type: chown {name}: {shown} && chmod 0600 {shown}"
        ),
        FileUse::Fill => format!(
            "permission denied to {viewer} ({ownership}); type: chown {name}: {shown} && chmod 0700 {shown}"
        ),
    }
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
