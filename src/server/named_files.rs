//! The files and directories that a configuration names: what would keep the gateway from using them, and what others could
//! read of them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{
    Config, ConfigError, ExaminedConfig, HttpEntry, KeyLocation, NamedFile, PostgresUrl, StoreUrl,
};
use crate::edge::net::{tls_certificate, tls_roots};
use crate::state::cluster;
use crate::state::file_access::{self, FileUse};
use crate::state::shell_command::{path_word, to_type, word};
use crate::state::store;

/// The permissions of others, beside owner and group.
const OTHERS: u32 = 0o007;

/// The directories for forms that cannot be used, with a file created in each.
pub fn spool_errors(config: &Config) -> Vec<ConfigError> {
    // Without backends, no form is spooled.
    config.http_entries().filter(|entry| !entry.groups.is_empty()).filter_map(spool_error).collect()
}

fn spool_error(entry: &HttpEntry) -> Option<ConfigError> {
    let directory = entry.forms.directory.clone().unwrap_or_else(std::env::temp_dir);
    let made = file_access::check_directory(&directory).and_then(|_| {
        let made = tempfile::tempfile_in(&directory);
        made.map(drop).map_err(|error| file_access::explain(&directory, FileUse::Fill, &error))
    });
    let reason = made.err()?;
    let shown = directory.display();
    let reason = match entry.forms.directory {
        Some(_) => format!("{shown}: {reason}"),
        None => format!("not set, and the system's own directory {shown} cannot be used: {reason}"),
    };
    Some(ConfigError::at(&entry.spool_place, reason))
}

/// The reasons for which the database cannot be opened, found without opening it.
pub fn store_errors(config: &Config) -> Vec<ConfigError> {
    let path = match &config.store.url {
        StoreUrl::Sqlite(path) => path,
        StoreUrl::Postgres(url) => return server_errors(config, url),
    };
    let wrong = match path.symlink_metadata() {
        Ok(_) => {
            let checked = store::check_access(path).and_then(|()| cluster::check_folder(path));
            checked.err().map(|reason| (path.clone(), reason))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_store_error(path),
        Err(error) => Some((path.clone(), file_access::explain(path, FileUse::Own, &error))),
    };
    let at = |(place, reason): (PathBuf, String)| {
        ConfigError::at(&config.store_place, format!("{}: {reason}", place.display()))
    };
    wrong.map(at).into_iter().collect()
}

/// The reasons for which files cannot be read that connections to PostgreSQL need.
fn server_errors(config: &Config, url: &PostgresUrl) -> Vec<ConfigError> {
    let urls = [Some(url), config.store.direct_url.as_ref()].into_iter().flatten();
    let roots = urls.filter_map(|url| url.sslrootcert.as_ref());
    let wrong = roots.filter_map(|path| Some(tls_roots::check(path).err()?.at(None, &config.store_place)));
    let mut wrong: Vec<_> = wrong.collect();
    wrong.dedup();
    if let Some(NamedFile { path, place }) = &config.store.password_file
        && let Err(reason) = store::postgres::check_password(path)
    {
        wrong.push(ConfigError::at(place, format!("{}: {reason}", path.display())));
    }
    wrong
}

/// The reason for which a database cannot be created. Its directory is created with it.
fn new_store_error(path: &Path) -> Option<(PathBuf, String)> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().skip(1).find(|directory| directory.symlink_metadata().is_ok())?;
    let reason = file_access::check_directory(there).err()?;
    Some((there.to_path_buf(), reason))
}

/// The errors in the files of a configuration that has errors itself, for the keys that were understood.
pub fn errors_beside_others(examined: &ExaminedConfig) -> Vec<ConfigError> {
    let config = &examined.config;
    let mut wrong = spool_errors(config);
    wrong.extend(store_errors(config));
    match (&examined.tls.certificate, &examined.tls.private_key) {
        (Some(certificate), Some(private_key)) => {
            wrong.extend(tls_certificate::read_files(certificate, private_key).err().unwrap_or_default());
        }
        (Some(certificate), None) => wrong.extend(tls_certificate::read_chain(certificate).err()),
        (None, Some(private_key)) => wrong.extend(tls_certificate::read_key(private_key).err()),
        (None, None) => {}
    }
    let groups = config.http_entries().flat_map(|entry| &entry.groups);
    let mail = config.smtp.iter().map(|smtp| &smtp.relay);
    let roots = groups.filter_map(|group| group.upstream_ca.as_ref());
    for file in roots.chain(mail.clone().filter_map(|relay| relay.ca.as_ref())) {
        wrong.extend(tls_roots::check(&file.path).map_err(|error| error.at(Some(file), &file.place)).err());
    }
    for file in mail.filter_map(|relay| Some(&relay.login.as_ref()?.password_file)) {
        let checked = file_access::check_file(&file.path, FileUse::Read);
        let at = |reason| ConfigError::at(&file.place, format!("{}: {reason}", file.path.display()));
        wrong.extend(checked.map_err(at).err());
    }
    wrong.retain(|error| {
        let place = KeyLocation { line: error.line, key: error.key.clone() };
        examined.is_known(&place)
    });
    wrong
}

/// Warnings about files with secrets that every user of the system could read or write, each with its key.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut secrets = Vec::new();
    let database = match &config.store.url {
        StoreUrl::Sqlite(database) => Some(database),
        StoreUrl::Postgres(_) => None,
    };
    for (file, end) in database.iter().flat_map(|file| ["", "-wal", "-shm"].map(|end| (file, end))) {
        let mut beside = file.as_os_str().to_owned();
        beside.push(end);
        secrets.push(("store.url", beside.into(), "password hashes are in it"));
    }
    if let Some(NamedFile { path, .. }) = &config.store.password_file {
        secrets.push(("store.password_file", path.clone(), "a password is in it"));
    }
    if let Some(tls) = &config.tls {
        secrets.push((
            "tls.private_key",
            tls.private_key.path.clone(),
            "whoever has it can pose as this server",
        ));
    }
    let login = config.smtp.as_ref().and_then(|smtp| smtp.relay.login.as_ref());
    if let Some(NamedFile { path, .. }) = login.map(|login| &login.password_file) {
        secrets.push(("smtp.upstream_password_file", path.clone(), "a password is in it"));
    }
    let unwritable = database.filter(|file| file.exists()).and_then(|file| {
        let reason = file_access::check_writable(file).err()?;
        Some(format!(
            "store.url: {}: it cannot be written, so no change can be made: {reason}",
            file.display()
        ))
    });
    let open = |(key, path, why): (&str, PathBuf, &str)| {
        let metadata =
            path.metadata().ok().filter(|metadata| metadata.is_file() && is_open_to_all(metadata))?;
        let real = path.canonicalize().ok()?;
        // In a directory that others cannot enter, the mode of the file does not matter.
        let is_reached = |directory: &Path| directory.metadata().is_ok_and(|found| found.mode() & 0o001 != 0);
        if !real.ancestors().skip(1).all(is_reached) {
            return None;
        }
        let (shown, ownership) = (path.display(), file_access::ownership(&metadata));
        let help = to_type(&path, |path| format!("chmod o= {path}"));
        Some(format!("{key}: {shown}: every user may use it ({ownership}), and {why}{help}"))
    };
    secrets.into_iter().filter_map(open).chain(unwritable).collect()
}

fn is_open_to_all(metadata: &Metadata) -> bool {
    metadata.mode() & OTHERS != 0
}

/// The warning that root sees more than the gateway's own user, which is most often the owner of the database.
pub fn warning_to_root(config: &Config, file: &Path) -> Option<String> {
    if !file_access::is_root() {
        return None;
    }
    let metadata = match &config.store.url {
        StoreUrl::Sqlite(database) => database.metadata().ok(),
        StoreUrl::Postgres(_) => None,
    };
    let owner = metadata.map(|metadata| metadata.uid()).filter(|uid| *uid != 0);
    let user = owner.map_or_else(|| "gatepost".to_owned(), file_access::user);
    let command = word(&user).zip(path_word(file)).map(|(user, file)| {
        format!("; as the gateway's user, type: sudo -u {user} gatepost check --config {file}")
    });
    Some(format!("checked as root, to whom no file is closed{}", command.unwrap_or_default()))
}
