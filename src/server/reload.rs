//! A new configuration for a running gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use super::assembly::Assembly;
use super::prepared::{Prepared, read_config};
use crate::config::{Config, ConfigError, ConfigErrors, TlsSettings};
use crate::edge::net::tls_certificate::{self, TlsCertificate};
use crate::state::Metrics;

/// The place from which a configuration is reloaded.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// No place: the configuration stays as it is.
    Fixed,
}

/// Applies new configurations.
pub struct Reloader {
    source: ConfigSource,
    running: Config,
    certificate: Option<Arc<TlsCertificate>>,
    seen: Option<Stamp>,
}

/// The times at which certificate and key were last written.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl Reloader {
    /// `running` is the configuration with which the gateway was started.
    pub fn new(source: ConfigSource, running: Config, certificate: Option<Arc<TlsCertificate>>) -> Reloader {
        let seen = running.tls.as_ref().map(stamp);
        Reloader { source, running, certificate, seen }
    }

    /// Reloads the source: routes, groups and limits of the HTTP entries, the trusted proxies, and the certificate. If
    /// anything in it is invalid, the errors are logged and nothing changes. A reload that is dropped half-way has changed
    /// nothing.
    pub async fn reload(&mut self, gateway: &Assembly) {
        let ConfigSource::File(path) = &self.source else {
            info!("no configuration file to reload");
            return self.reload_certificate();
        };
        let file = path.display().to_string();
        let config = match read_config(path).and_then(|text| Config::parse(&text, &file)) {
            Ok(config) => config,
            Err(errors) => return refuse(errors.to_string().lines()),
        };
        // Before the files are read, so that a change in the meantime is seen at the next look.
        let seen = config.tls.as_ref().map(stamp);
        let metrics = gateway.sites.first().map_or_else(|| Arc::new(Metrics::new()), |s| s.metrics.clone());
        let mut prepared = match Prepared::checked(&config, gateway.workers.count(), &metrics) {
            Ok(prepared) => prepared,
            Err(wrong) => {
                let errors = ConfigErrors::new(&path.display().to_string(), wrong);
                return refuse(errors.to_string().lines());
            }
        };
        prepared.resolve().await;

        for site in &gateway.sites {
            if let Some(plan) = prepared.take_plan(site.entry) {
                site.plan.store(Arc::new(plan));
            }
        }
        if let Some(mail) = &gateway.mail {
            mail.trusted_proxies.store(Arc::new(config.server.trusted_proxies.clone()));
        }
        for key in self.running.restart_needed(&config) {
            warn!(key, "changed setting needs a restart");
        }
        if let (Some(shown), Some(read)) = (&self.certificate, prepared.certificate) {
            shown.replace(read);
            self.running.tls.clone_from(&config.tls);
            self.seen = seen;
            info!("certificate reloaded");
        }
        info!("configuration reloaded");
    }

    /// Reloads the certificate if its files have changed.
    pub fn reload_changed_certificate(&mut self) {
        let Some(tls) = &self.running.tls else { return };
        if self.seen != Some(stamp(tls)) {
            self.reload_certificate();
        }
    }

    fn reload_certificate(&mut self) {
        let (Some(shown), Some(tls)) = (&self.certificate, &self.running.tls) else { return };
        self.seen = Some(stamp(tls));
        match tls_certificate::read(tls) {
            Ok(read) => {
                shown.replace(read);
                info!("certificate reloaded");
            }
            Err(errors) => {
                for ConfigError { key, reason, .. } in errors {
                    error!(key, reason, "certificate not reloaded: the old one stays in use");
                }
            }
        }
    }
}

fn refuse<'a>(wrong: impl Iterator<Item = &'a str>) {
    for line in wrong {
        error!("{line}");
    }
    error!("configuration not reloaded: the old one stays in use");
}

fn stamp(tls: &TlsSettings) -> Stamp {
    let written = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    (written(&tls.certificate.path), written(&tls.private_key.path))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, write};
    use std::time::Duration;

    use super::*;

    /// Writes a new certificate and its key, as if so many seconds after the first.
    fn renew(folder: &Path, seconds: u64) {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
        write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        touch(folder, seconds);
    }

    fn touch(folder: &Path, seconds: u64) {
        for name in ["cert.pem", "key.pem"] {
            let file = File::options().append(true).open(folder.join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)).unwrap();
        }
    }

    #[test]
    fn a_look_takes_over_a_renewed_certificate_and_leaves_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        renew(folder.path(), 0);
        let at = folder.path().display();
        let text = format!(
            "[tls]\ncertificate = '{at}/cert.pem'\nprivate_key = '{at}/key.pem'\n\
             [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n"
        );
        let config = Config::parse(&text, "test.toml").unwrap();
        let tls = config.tls.clone().unwrap();
        let first = tls_certificate::read(&tls).unwrap();
        let certificate = TlsCertificate::new(first);
        let mut reloader = Reloader::new(ConfigSource::Fixed, config, Some(certificate.clone()));

        let first = certificate.shown();
        reloader.reload_changed_certificate();
        assert_eq!(certificate.shown(), first);
        renew(folder.path(), 1);
        reloader.reload_changed_certificate();
        let second = certificate.shown();
        assert_ne!(second, first);
        // An invalid one: the old one stays, and a later valid one is taken.
        write(folder.path().join("key.pem"), "nothing").unwrap();
        touch(folder.path(), 2);
        reloader.reload_changed_certificate();
        assert_eq!(certificate.shown(), second);
        renew(folder.path(), 3);
        reloader.reload_changed_certificate();
        assert_ne!(certificate.shown(), second);
    }
}
