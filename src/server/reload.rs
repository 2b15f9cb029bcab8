//! A new configuration for a running gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::config::{Config, HttpEntry};
use crate::domain::Entry;
use crate::edge::certificate::Certificate;
use crate::edge::site::{Plan, PlanError, Site};

/// Where a configuration comes from, again and again.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Nowhere: it stays as it is.
    Fixed,
}

/// Puts new configurations in place.
pub struct Reloader {
    source: Source,
    running: Config,
    certificate: Option<Arc<Certificate>>,
    seen: Option<Stamp>,
}

/// When certificate and key were last written.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl Reloader {
    /// `running` is what the gateway was started with.
    pub fn new(source: Source, running: Config, certificate: Option<Arc<Certificate>>) -> Reloader {
        let seen = running.tls.as_ref().map(|tls| stamp(&tls.certificate, &tls.private_key));
        Reloader { source, running, certificate, seen }
    }

    /// Rereads the source: routes, groups and limits of the HTTP entries, and the certificate. Where anything in it is
    /// wrong, all of it is left, its errors are logged, and the gateway goes on as it was.
    pub async fn reload(&mut self, sites: &[Arc<Site>], workers: usize) {
        let Source::File(path) = &self.source else {
            info!("there is no configuration file to reread");
            return self.reread_certificate();
        };
        let config = match Config::load(path) {
            Ok(config) => config,
            Err(errors) => {
                for line in errors.to_string().lines() {
                    error!("{line}");
                }
                error!("the new configuration is refused, the old one goes on");
                return;
            }
        };
        let plans: Result<Vec<(Arc<Site>, Plan)>, PlanError> = sites
            .iter()
            .filter_map(|site| Some((site, settings_of(&config, site.entry)?)))
            .map(|(site, settings)| {
                let trusted = &config.server.trusted_proxies;
                Ok((site.clone(), Plan::new(settings, trusted, workers, &site.metrics)?))
            })
            .collect();
        match plans {
            Ok(plans) => {
                for (site, plan) in plans {
                    plan.resolve().await;
                    site.plan.store(Arc::new(plan));
                }
            }
            Err(error) => {
                error!("{error}");
                error!("the new configuration is refused, the old one goes on");
                return;
            }
        }
        for key in self.running.restart_needed(&config) {
            warn!(key, "this change takes a restart");
        }
        self.running.tls.clone_from(&config.tls);
        info!("the new configuration is in place");
        self.reread_certificate();
    }

    /// Rereads the certificate where its files have changed.
    pub fn look_at_certificate(&mut self) {
        let Some(tls) = &self.running.tls else { return };
        if self.seen != Some(stamp(&tls.certificate, &tls.private_key)) {
            self.reread_certificate();
        }
    }

    fn reread_certificate(&mut self) {
        let (Some(certificate), Some(tls)) = (&self.certificate, &self.running.tls) else { return };
        self.seen = Some(stamp(&tls.certificate, &tls.private_key));
        match certificate.reload(&tls.certificate, &tls.private_key) {
            Ok(()) => info!("the certificate was reread"),
            Err(error) => error!("{error}; the old certificate goes on"),
        }
    }
}

fn settings_of(config: &Config, entry: Entry) -> Option<&HttpEntry> {
    match entry {
        Entry::Api => config.api.as_ref(),
        Entry::Web => config.web.as_ref(),
        Entry::Smtp => None,
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    let written = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    (written(certificate), written(key))
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
        let certificate = Certificate::load(&tls.certificate, &tls.private_key).unwrap();
        let mut reloader = Reloader::new(Source::Fixed, config, Some(certificate.clone()));

        let first = certificate.shown();
        reloader.look_at_certificate();
        assert_eq!(certificate.shown(), first);
        renew(folder.path(), 1);
        reloader.look_at_certificate();
        let second = certificate.shown();
        assert_ne!(second, first);
        // Bad: the old one stays, and whatever is good later is taken.
        write(folder.path().join("key.pem"), "nothing").unwrap();
        touch(folder.path(), 2);
        reloader.look_at_certificate();
        assert_eq!(certificate.shown(), second);
        renew(folder.path(), 3);
        reloader.look_at_certificate();
        assert_ne!(certificate.shown(), second);
    }
}
