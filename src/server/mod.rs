//! The composition root: a configuration becomes a running gateway, is reloaded, and stops.

mod assembly;
mod error;
mod log;
mod prepared;
mod reload;
mod signals;
mod sockets;
mod workers;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::Config;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener;
use crate::service::{Accounts, Credentials, Origin};

pub use error::StartError;
pub use log::{LastLines, complain, start_log};
pub use prepared::check;
pub use reload::ConfigSource;

use assembly::Assembly;
use signals::Signals;

/// How long closing the store may take: a statement that is under way has to end first.
const CLOSING: Duration = Duration::from_secs(5);
/// How many operators' connections are open at once.
const OPERATORS: usize = 1000;

/// A gateway whose listeners are open.
pub struct Gateway {
    assembly: Assembly,
    signals: Signals,
}

impl Gateway {
    /// Opens the store and all listeners. Needs a tokio runtime that lives as long as the gateway.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is listening then. [`StartError::Stopped`] where SIGTERM or SIGINT came first.
    pub async fn start(config: Config) -> Result<Gateway, StartError> {
        let mut signals = Signals::listen().map_err(StartError::Signals)?;
        let assembly = tokio::select! {
            () = signals.stop.asked() => return Err(StartError::Stopped),
            built = Assembly::build(config) => built?,
        };
        Ok(Gateway { assembly, signals })
    }

    /// Where it listens: the configuration's key and the address, with the port that 0 became.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.assembly.addresses
    }

    /// The first address that was opened for a configuration key.
    pub fn address_of(&self, key: &str) -> Option<SocketAddr> {
        self.addresses().iter().find(|(k, _)| *k == key).map(|(_, address)| *address)
    }

    /// The accounts in its store, for whoever runs it.
    pub fn accounts(&self) -> Accounts {
        Accounts::new(self.assembly.mutations.clone(), Origin::CommandLine)
    }

    /// The credentials in its store.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.assembly.mutations.clone())
    }

    /// Serves until SIGTERM or SIGINT; on SIGHUP rereads `source` and the certificate. Then stops accepting, waits for
    /// what is in flight for `server.shutdown_deadline` at most, or until it is asked a second time, closes the store
    /// and returns.
    pub async fn run(self, source: ConfigSource) {
        let Gateway { mut assembly, mut signals } = self;
        assembly.begin();
        let mut reloader =
            reload::Reloader::new(source, assembly.config.clone(), assembly.certificate.clone());
        let mut look = tokio::time::interval(Duration::from_secs(10));
        loop {
            tokio::select! {
                () = signals.stop.asked() => break,
                // Names may take long to be looked up, and a stop doesn't wait for that.
                _ = signals.hangup.recv() => tokio::select! {
                    () = signals.stop.asked() => break,
                    () = reloader.reload(&assembly) => {}
                },
                _ = look.tick() => reloader.look_at_certificate(),
            }
        }
        assembly.end(&mut signals.stop).await;
    }
}

impl Assembly {
    /// Starts what looks after it, and serves operators.
    fn begin(&mut self) {
        for site in &self.sites {
            tokio::spawn(site.clone().watch_health());
        }
        if let Some(mail) = &self.mail {
            tokio::spawn(mail.backends.clone().watch_health());
        }
        if let Some((server, socket)) = self.ops.take() {
            let serve = move |connection| server.clone().serve(connection);
            let until = self.ended.subscribe();
            tokio::spawn(listener::accept(socket, None, InFlight::new(OPERATORS), until, serve));
        }
        for (key, address) in &self.addresses {
            info!(listener = key, %address, "listening");
        }
        for warning in self.config.warnings() {
            warn!("{warning}");
        }
    }

    async fn end(self, again: &mut signals::Stop) {
        let under_way = self.workers.requests();
        info!(under_way, "stopping");
        let _ = self.stop.send(true);
        tokio::select! {
            left = self.workers.join() => {
                if left > 0 {
                    warn!(left, "the deadline passed: what was still under way is cut off");
                }
                self.cluster.leave();
            }
            () = again.asked() => {
                warn!("asked a second time: what is under way is cut off");
                // The workers decide by what they remember until the process ends, so it has to be told of changes for as
                // long. Its socket stays behind; whoever finds nobody there any more takes it away.
                std::mem::forget(self.cluster.clone());
            }
        }
        let _ = self.ended.send(true);
        // The last one out puts the log of the database back into its file, so that this one is whole.
        if tokio::time::timeout(CLOSING, self.store.close()).await.is_err() {
            warn!("the database is still in use, and is left as it is");
        }
        info!("stopped");
    }
}
