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
