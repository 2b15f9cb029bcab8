//! A new configuration for a running gateway.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::assembly::Assembly;
use super::certificate_stamp::CertificateStamp;
use super::prepared::{self, Prepared, read_config};
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::edge::net::tls_certificate::{self, TlsCertificate};
use crate::state::Metrics;
use crate::state::metrics::{ReloadOutcome, Reloaded};

/// The place from which a configuration is reloaded.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// Nowhere: the configuration stays as it is.
    Fixed,
}

/// Applies new configurations.
pub struct Reloader {
    source: ConfigSource,
    /// The configuration of the start, with the `[tls]` of the last reload.
    running: Config,
    /// The configuration that was applied last.
    applied: Config,
    /// True if the last reload was of that configuration again, and failed only because of the certificate.
    awaits_certificate: bool,
    certificate: Option<Arc<TlsCertificate>>,
    seen: Option<CertificateStamp>,
    metrics: Arc<Metrics>,
}

impl Reloader {
    /// `running` is the configuration with which the gateway was started, and `seen` the state of the files from before they
    /// were read.
    pub fn new(
        source: ConfigSource,
        running: Config,
        certificate: Option<Arc<TlsCertificate>>,
        seen: Option<CertificateStamp>,
        metrics: Arc<Metrics>,
    ) -> Reloader {
        let applied = running.clone();
        Reloader { source, running, applied, awaits_certificate: false, certificate, seen, metrics }
    }

    /// Reloads the source: routes, groups and limits of the HTTP entries, the trusted proxies, and the certificate. If
    /// anything in it is invalid, the errors are logged and nothing changes. A reload that is dropped half-way has changed
    /// nothing.
    pub async fn reload(&mut self, gateway: &Assembly) {
        let ConfigSource::File(path) = &self.source else {
            info!("no configuration file to reload");
            self.reload_certificate();
            return;
        };
        let file = path.display().to_string();
        self.awaits_certificate = false;
        match read_config(path).and_then(|text| Config::parse(&text, &file)) {
            Ok(config) => self.apply(config, &file, gateway).await,
            Err(errors) => self.refuse(&errors.to_string()),
        }
    }

    /// Applies what can be applied of `config`, which was read from `file`.
    async fn apply(&mut self, config: Config, file: &str, gateway: &Assembly) {
        // Before the files are read, so that a change in the meantime is seen at the next look.
        let seen = config.tls.as_ref().map(CertificateStamp::of);
        let mut prepared = match Prepared::checked(&config, gateway.workers.count(), &self.metrics) {
            Ok(prepared) => prepared,
            Err(wrong) => {
                self.awaits_certificate =
                    config == self.applied && wrong.iter().all(|error| error.key.starts_with("tls."));
                return self.refuse(&ConfigErrors::new(file, wrong).to_string());
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
        let kept = self.running.restart_needed(&config);
        self.metrics.config_restart_needed.set(kept.len() as i64);
        for key in kept {
            warn!(key, "changed setting needs a restart");
        }
        if let (Some(shown), Some(read)) = (&self.certificate, prepared.certificate) {
            shown.replace(read);
            self.running.tls.clone_from(&config.tls);
            self.seen = seen;
            self.metrics.reloaded(Reloaded::Certificate, ReloadOutcome::Done);
            info!("certificate reloaded");
        }
        self.metrics.reconfigure(&config);
        self.metrics.reloaded(Reloaded::Configuration, ReloadOutcome::Done);
        info!("configuration reloaded");
        for warning in prepared::warnings(&config) {
            warn!("{warning}");
        }
        self.applied = config;
    }

    fn refuse(&self, wrong: &str) {
        for line in wrong.lines() {
            error!("{line}");
        }
        self.metrics.reloaded(Reloaded::Configuration, ReloadOutcome::Failed);
        error!("configuration not reloaded: the old one stays in use");
    }

    /// Reloads the certificate if its files have changed, and completes a reload that had failed only because of them.
    pub async fn look_at_certificate(&mut self, gateway: &Assembly) {
        if self.reload_changed_certificate().await && std::mem::take(&mut self.awaits_certificate) {
            let file = match &self.source {
                ConfigSource::File(path) => path.display().to_string(),
                ConfigSource::Fixed => String::new(),
            };
            self.apply(self.applied.clone(), &file, gateway).await;
        }
    }

    /// Reloads the certificate if its files have changed; true if another one is in use then. A disk that does not answer keeps nothing
    /// else waiting.
    async fn reload_changed_certificate(&mut self) -> bool {
        let Some(tls) = self.running.tls.clone() else { return false };
        let stamp = tokio::task::spawn_blocking(move || CertificateStamp::of(&tls)).await.ok();
        stamp.is_some() && self.seen != stamp && self.reload_certificate()
    }

    /// Reloads the certificate. Returns false if it cannot be used.
    fn reload_certificate(&mut self) -> bool {
        let (Some(shown), Some(tls)) = (&self.certificate, &self.running.tls) else { return false };
        self.seen = Some(CertificateStamp::of(tls));
        match tls_certificate::read(tls) {
            Ok(read) => {
                shown.replace(read);
                self.metrics.reloaded(Reloaded::Certificate, ReloadOutcome::Done);
                info!("certificate reloaded");
                for warning in prepared::certificate_warnings(&self.running) {
                    warn!("{warning}");
                }
                true
            }
            Err(errors) => {
                self.metrics.reloaded(Reloaded::Certificate, ReloadOutcome::Failed);
                for ConfigError { key, reason, .. } in errors {
                    error!(key, reason, "certificate not reloaded: the old one stays in use");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, remove_file, rename, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    /// Writes a new certificate and its key.
    fn renew(folder: &Path) {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
        write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    /// A certificate in a folder, and the reloader that watches it.
    fn watched(folder: &Path) -> (Reloader, impl Fn() -> Vec<u8>) {
        let at = folder.display();
        let text = format!(
            "[tls]\ncertificate = '{at}/cert.pem'\nprivate_key = '{at}/key.pem'\n\
             [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n"
        );
        let config = Config::parse(&text, "test.toml").unwrap();
        let tls = config.tls.clone().unwrap();
        let seen = Some(CertificateStamp::of(&tls));
        let certificate = TlsCertificate::new(tls_certificate::read(&tls).unwrap());
        let shown = certificate.clone();
        let reloader =
            Reloader::new(ConfigSource::Fixed, config, Some(certificate), seen, Arc::new(Metrics::new()));
        (reloader, move || shown.shown().to_vec())
    }

    #[tokio::test]
    async fn a_look_takes_over_a_renewed_certificate_and_leaves_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        renew(folder.path());
        let (mut reloader, shown) = watched(folder.path());
        let first = shown();
        reloader.reload_changed_certificate().await;
        assert_eq!(shown(), first);
        // Within the same second, and perhaps of the same length.
        renew(folder.path());
        reloader.reload_changed_certificate().await;
        let second = shown();
        assert_ne!(second, first);
        // An invalid one: the old one stays, and a later valid one is taken.
        write(folder.path().join("key.pem"), "nothing").unwrap();
        reloader.reload_changed_certificate().await;
        assert_eq!(shown(), second);
        renew(folder.path());
        reloader.reload_changed_certificate().await;
        assert_ne!(shown(), second);
    }

    // Case E4: the time of a file's last write is the same before and after it becomes readable.
    #[tokio::test]
    async fn a_key_that_becomes_readable_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        renew(folder.path());
        let (mut reloader, shown) = watched(folder.path());
        let (first, key) = (shown(), folder.path().join("key.pem"));
        renew(folder.path());
        let mode = |mode| set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        mode(0o000);
        // Root reads everything: for root, its name leads nowhere meanwhile.
        let (away, is_root) = (folder.path().join("away"), crate::state::file_access::is_root());
        if is_root {
            rename(&key, &away).unwrap();
        }
        reloader.reload_changed_certificate().await;
        assert_eq!(shown(), first);
        if is_root {
            rename(&away, &key).unwrap();
        }
        mode(0o600);
        reloader.reload_changed_certificate().await;
        assert_ne!(shown(), first);
    }

    #[tokio::test]
    async fn a_pipe_in_the_place_of_the_key_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        renew(folder.path());
        let (mut reloader, shown) = watched(folder.path());
        let first = shown();
        let key = folder.path().join("key.pem");
        remove_file(&key).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&key).status().unwrap().success());
        reloader.reload_changed_certificate().await;
        assert_eq!(shown(), first);
        remove_file(&key).unwrap();
        renew(folder.path());
        reloader.reload_changed_certificate().await;
        assert_ne!(shown(), first);
    }

    // Case E4: the files are links that lead elsewhere after a renewal, as those of certbot and of Kubernetes do.
    #[tokio::test]
    async fn a_link_that_leads_elsewhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            create_dir(at(version)).unwrap();
            renew(&at(version));
        }
        symlink("..1", at("..data")).unwrap();
        for name in ["cert.pem", "key.pem"] {
            symlink(Path::new("..data").join(name), at(name)).unwrap();
        }
        let (mut reloader, shown) = watched(folder.path());
        let first = shown();
        symlink("..2", at("..new")).unwrap();
        rename(at("..new"), at("..data")).unwrap();
        reloader.reload_changed_certificate().await;
        let second = shown();
        assert_ne!(second, first);
        for name in ["cert.pem", "key.pem"] {
            remove_file(at(name)).unwrap();
            symlink(Path::new("..1").join(name), at(name)).unwrap();
        }
        reloader.reload_changed_certificate().await;
        assert_eq!(shown(), first);
    }
}
