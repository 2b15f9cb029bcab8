//! Everything that a configuration needs from outside its file, read and checked before any of it is applied. A start, a
//! reload and `gatepost check` do the same.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::named_files;
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::domain::Entry;
use crate::domain::username::RESERVED;
use crate::edge::http::service::Plan;
use crate::edge::net::{certificate_validity, descriptors, tls_certificate};
use crate::edge::smtp::backend::group::BackendGroup;
use crate::state::Metrics;
use crate::state::file_access::{self, FileUse};
use crate::state::store::{Store, StoreState};

/// A configuration that can be served.
pub struct Prepared {
    plans: Vec<(Entry, Plan)>,
    /// The certificate with its key, if there is a `[tls]`.
    pub certificate: Option<CertifiedKey>,
}

impl Prepared {
    /// Reads all files, for so many workers.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(config: &Config, workers: usize, metrics: &Metrics) -> Result<Prepared, Vec<ConfigError>> {
        let (mut plans, mut wrong) = (Vec::new(), Vec::new());
        for settings in config.http_entries() {
            match Plan::new(settings, &config.server.trusted_proxies, workers, metrics) {
                Ok(plan) => plans.push((settings.entry, plan)),
                Err(errors) => wrong.extend(errors),
            }
        }
        let mut certificate = None;
        if let Some(tls) = &config.tls {
            match tls_certificate::read(tls) {
                Ok(read) => certificate = Some(read),
                Err(errors) => wrong.extend(errors),
            }
        }
        // Groups share the file that their entry names, and its errors.
        let mut said = Vec::new();
        wrong.retain(|error| {
            !said.contains(error) && {
                said.push(error.clone());
                true
            }
        });
        if wrong.is_empty() { Ok(Prepared { plans, certificate }) } else { Err(wrong) }
    }

    /// Does the same as [`Prepared::new`], and checks what `[smtp]` and the temporary files need, which is set up elsewhere.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn checked(config: &Config, workers: usize, metrics: &Metrics) -> Result<Prepared, Vec<ConfigError>> {
        let mail = config.smtp.as_ref().and_then(|smtp| BackendGroup::new(smtp, 1, &Metrics::new()).err());
        let elsewhere = [mail.unwrap_or_default(), named_files::spool_errors(config)].concat();
        let prepared = Prepared::new(config, workers, metrics);
        if elsewhere.is_empty() {
            return prepared;
        }
        let mut wrong = prepared.err().unwrap_or_default();
        wrong.extend(elsewhere);
        Err(wrong)
    }

    /// Does the same as [`Prepared::checked`], and checks the files of the store, which a running gateway has open.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn for_start(
        config: &Config,
        workers: usize,
        metrics: &Metrics,
    ) -> Result<Prepared, Vec<ConfigError>> {
        let prepared = Prepared::checked(config, workers, metrics);
        let of_store = named_files::store_errors(config);
        if of_store.is_empty() {
            return prepared;
        }
        let mut wrong = prepared.err().unwrap_or_default();
        wrong.extend(of_store);
        Err(wrong)
    }

    /// Looks up the names of all backends, so that the first request finds them.
    pub async fn resolve(&self) {
        for (_, plan) in &self.plans {
            plan.resolve().await;
        }
    }

    /// The plan of an entry, once.
    pub fn take_plan(&mut self, entry: Entry) -> Option<Plan> {
        let place = self.plans.iter().position(|(of, _)| *of == entry)?;
        Some(self.plans.swap_remove(place).1)
    }
}

/// The longest configuration file that is read.
const LONGEST: u64 = 1 << 20;

/// The result of `gatepost check`.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// All errors, in the file and outside of it.
    pub errors: Vec<ConfigError>,
    /// Warnings about settings and files.
    pub warnings: Vec<String>,
}

/// Checks the text of the configuration `file`, and everything outside of it that a start needs: certificates, root
/// certificates, passwords, directories, the database. The files are checked while there are errors in the text, too.
pub async fn check(text: &str, file: &Path) -> CheckReport {
    let examined = Config::examine(text);
    if !examined.errors.is_empty() {
        let wrong = named_files::errors_beside_others(&examined);
        return CheckReport { errors: [examined.errors, wrong].concat(), warnings: Vec::new() };
    }
    let config = &examined.config;
    let mut errors = Prepared::for_start(config, 1, &Metrics::new()).err().unwrap_or_default();
    let mut warnings = warnings(config);
    if errors.iter().all(|error| error.key != config.store_place.key) {
        match Store::inspect(&config.store).await {
            Ok(StoreState::Usable | StoreState::Older) => {}
            Ok(StoreState::Unreachable(reason)) => warnings.push(format!(
                "{}: {}: {reason}; the gateway starts nevertheless, and answers 503 until the database answers",
                config.store_place.key, config.store.url
            )),
            Err(error) => errors.push(ConfigError::at(&config.store_place, error)),
        }
    }
    if Store::has_reserved_name(&config.store).await {
        warnings.push(format!(
            "store: an account or credential has the reserved username {RESERVED}; it keeps working, but should be replaced"
        ));
    }
    warnings.extend(named_files::warning_to_root(config, file));
    CheckReport { errors, warnings }
}

/// Reads a configuration file.
///
/// # Errors
/// An error without a line, or with the line that is not UTF-8.
pub fn read_config(path: &Path) -> Result<String, ConfigErrors> {
    let refuse = |line, reason| {
        let error = ConfigError { line, key: String::new(), reason };
        ConfigErrors::new(&path.display().to_string(), vec![error])
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        let reason = file_access::explain(path, FileUse::Read, &error);
        refuse(0, format!("cannot be read: {reason}"))
    })?;
    if bytes.len() as u64 > LONGEST {
        return Err(refuse(0, "it is longer than 1 MiB, too long for a configuration".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(line, "the file is not UTF-8 text: save it as UTF-8".to_owned())
    })
}

/// Warnings about a configuration that can be served: about its settings, its files, and the limits of this process.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = [config.warnings(), named_files::warnings(config)].concat();
    warnings.extend(descriptors::shortage(config.server.max_connections));
    warnings.extend(certificate_warnings(config));
    warnings
}

/// The ones of [`warnings`] about certificates that have expired, will soon, or are not valid yet.
pub fn certificate_warnings(config: &Config) -> Vec<String> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut warnings = Vec::new();
    if let Some(tls) = &config.tls
        && let Ok(read) = tls_certificate::read(tls)
    {
        warnings.extend(certificate_validity::of_listeners(&tls.certificate, &read.cert, now));
    }
    let groups = config.http_entries().flat_map(|entry| &entry.groups);
    let of_mail = config.smtp.iter().filter_map(|smtp| smtp.relay.ca.as_ref());
    for roots in groups.filter_map(|group| group.upstream_ca.as_ref()).chain(of_mail) {
        // Groups share the file that their entry names.
        warnings.extend(certificate_validity::of_roots(roots, now).filter(|text| !warnings.contains(text)));
    }
    warnings
}
