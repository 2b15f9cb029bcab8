//! The composition root: a configuration becomes a running gateway, is reloaded, and stops.

mod assembly;
mod certificate_stamp;
mod error;
mod log;
mod named_files;
mod observed;
mod prepared;
mod reload;
mod signals;
mod sockets;
#[cfg(test)]
mod tests;
mod workers;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::field::debug;
use tracing::{info, warn};

use crate::config::{Config, SmtpListener};
use crate::edge::net::listener::{self, AdmissionLimits};
use crate::edge::net::refused_connections::RefusedConnections;
use crate::edge::net::source_limit::unlimited;
use crate::service::{Accounts, Credentials, Origin};
use crate::state::store::Store;

pub use error::StartError;
pub use log::{LastLines, complain, start_log};
pub use prepared::{CheckReport, check, read_config};
pub use reload::ConfigSource;
pub use signals::Signals;

use assembly::Assembly;

/// The longest time for closing the store: a statement that is running has to end first.
const CLOSING: Duration = Duration::from_secs(5);
/// The most connections of operators that are open at once.
const OPERATORS: usize = 1000;

/// A gateway whose listeners are open.
pub struct Gateway {
    assembly: Assembly,
    signals: Signals,
}

impl Gateway {
    /// Opens the store and all listeners. Needs a tokio runtime that lives as long as the gateway. Obeys the signals from the moment
    /// at which their handlers were installed.
    ///
    /// # Errors
    /// Everything that prevents the start; no listener is open then. [`StartError::Stopped`] if SIGTERM or SIGINT came first.
    pub async fn start(config: Config, mut signals: Signals) -> Result<Gateway, StartError> {
        let assembly = tokio::select! {
            () = signals.stop.asked() => return Err(StartError::Stopped),
            built = Assembly::build(config) => built?,
        };
        Ok(Gateway { assembly, signals })
    }

    /// The key in the configuration and the address of each listener, with the port that was chosen for 0.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.assembly.addresses
    }

    /// The first address that was opened for a key of the configuration.
    pub fn address_of(&self, key: &str) -> Option<SocketAddr> {
        self.addresses().iter().find(|(k, _)| *k == key).map(|(_, address)| *address)
    }

    /// The accounts in its store, for the operator.
    pub fn accounts(&self) -> Accounts {
        Accounts::new(self.assembly.mutations.clone(), Origin::CommandLine)
    }

    /// The credentials in its store.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.assembly.mutations.clone())
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.assembly.store
    }

    /// Serves until SIGTERM or SIGINT; on SIGHUP reloads `source` and the certificate. Then stops accepting, and waits for open
    /// requests and sessions, for `server.shutdown_deadline` at most or until a second signal. At last closes the store.
    pub async fn run(self, source: ConfigSource) {
        let Gateway { mut assembly, mut signals } = self;
        assembly.begin();
        let (config, certificate) = (assembly.config.clone(), assembly.certificate.clone());
        let (seen, metrics) = (assembly.certificate_stamp, assembly.metrics.clone());
        let mut reloader = reload::Reloader::new(source, config, certificate, seen, metrics);
        let mut look = tokio::time::interval(Duration::from_secs(10));
        loop {
            tokio::select! {
                () = signals.stop.asked() => break,
                // Looking up names may take long, and a stop does not wait for that.
                _ = signals.hangup.recv() => tokio::select! {
                    () = signals.stop.asked() => break,
                    () = reloader.reload(&assembly) => {}
                },
                _ = look.tick() => tokio::select! {
                    () = signals.stop.asked() => break,
                    () = reloader.look_at_certificate(&assembly) => {}
                },
            }
        }
        assembly.end(&mut signals.stop).await;
    }
}

impl Assembly {
    /// Starts the health checks, and serves operators.
    fn begin(&mut self) {
        for site in &self.sites {
            tokio::spawn(site.clone().watch_health());
        }
        if let Some(mail) = &self.mail {
            tokio::spawn(mail.backends.clone().watch_health());
        }
        tokio::spawn(self.access.clone().keep_uses_written());
        if let Some((server, socket)) = self.ops.take() {
            let serve = move |connection| server.clone().serve(connection);
            let until = self.ended.subscribe();
            let limits = AdmissionLimits::for_operators(OPERATORS, Some(self.metrics.accept_errors.clone()));
            let refusals = RefusedConnections::default();
            tokio::spawn(listener::accept(socket, None, limits, unlimited, refusals, until, serve));
        }
        let mut mail = self.config.smtp.iter().flat_map(|smtp| &smtp.listeners);
        for (key, address) in &self.addresses {
            let listener = key.strip_prefix("smtp.").and_then(|_| mail.next());
            tell(key, *address, listener, self.chosen.contains(address));
        }
        for warning in prepared::warnings(&self.config) {
            warn!("{warning}");
        }
    }

    async fn end(self, again: &mut signals::Stop) {
        let under_way = self.workers.requests();
        info!(under_way, "stopping");
        let _ = self.stop.send(true);
        let (workers, cluster) = (self.workers, self.cluster.clone());
        let ended = async {
            let left = workers.join().await;
            if left > 0 {
                warn!(left, "shutdown deadline passed: open requests and sessions are cut off");
            }
            // Last: until here, open sessions were decided.
            cluster.leave().await;
        };
        tokio::select! {
            () = ended => {}
            () = again.asked() => {
                warn!("second signal to stop: open requests and sessions are cut off");
                // The workers decide from the cache until the process ends, so other processes must be able to tell it of changes
                // until then. Its socket, or its row in PostgreSQL, stays behind. Another process that finds it dead removes it.
                std::mem::forget(self.cluster.clone());
            }
        }
        let _ = self.ended.send(true);
        if tokio::time::timeout(CLOSING, self.access.write_uses()).await.is_err() {
            warn!("database still in use: the networks of users since the last minute are not written");
        }
        // The last process that closes the database moves its write-ahead log into the file, which is complete then.
        if tokio::time::timeout(CLOSING, self.store.close()).await.is_err() {
            warn!("database still in use: closed without a checkpoint");
        }
        info!("stopped");
    }
}

/// Logs an open listener, with the rules of one for mail. Nothing else tells a port that the system has `chosen`, so that line is
/// written at every level.
fn tell(key: &str, address: SocketAddr, mail: Option<&SmtpListener>, chosen: bool) {
    let tls = mail.map(|listener| listener.tls.as_str());
    let require_tls = mail.map(|listener| listener.rules.require_tls);
    let bare_newline = mail.map(|listener| listener.rules.bare_newline.as_str());
    let networks = mail.map(|listener| debug(&listener.rules.networks));
    if chosen {
        info!(target: log::LISTENER, listener = key, %address, tls, require_tls, bare_newline, networks, "listening");
    } else {
        info!(listener = key, %address, tls, require_tls, bare_newline, networks, "listening");
    }
}
