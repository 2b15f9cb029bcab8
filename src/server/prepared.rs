//! Everything that a configuration needs from outside its file, read and checked before any of it is applied. A start, a
//! reload and `gatepost check` do the same.

use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use crate::config::{Config, ConfigError};
use crate::domain::Entry;
use crate::edge::http::service::Plan;
use crate::edge::net::{certificate_validity, descriptors, tls_certificate};
use crate::edge::smtp::backend::group::BackendGroup;
use crate::state::Metrics;

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

    /// Does the same as [`Prepared::new`], and checks what `[smtp]` needs, which is set up elsewhere.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn checked(config: &Config, workers: usize, metrics: &Metrics) -> Result<Prepared, Vec<ConfigError>> {
        let mail = config.smtp.as_ref().and_then(|smtp| BackendGroup::new(smtp, 1, &Metrics::new()).err());
        let prepared = Prepared::new(config, workers, metrics);
        match mail {
            None => prepared,
            Some(errors) => {
                let mut wrong = prepared.err().unwrap_or_default();
                wrong.extend(errors);
                Err(wrong)
            }
        }
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

/// The errors of a configuration that lie outside its file: in a certificate, a file of roots, a password. Empty if it can
/// be served.
pub fn check(config: &Config) -> Vec<ConfigError> {
    Prepared::checked(config, 1, &Metrics::new()).err().unwrap_or_default()
}

/// Warnings about a configuration that can be served: about its settings, its certificates, and the limits of this process.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config.warnings();
    warnings.extend(descriptors::shortage(config.server.max_connections));
    warnings.extend(certificate_warnings(config));
    warnings
}

/// Those of [`warnings`] about certificates that have expired, will soon, or are not valid yet.
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
