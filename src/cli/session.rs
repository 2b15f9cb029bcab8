//! What a command needs to make a change: the store, a thread that hashes, and word to the running gateways.

use std::sync::Arc;

use super::CliError;
use super::output::say;
use crate::config::Config;
use crate::service::{Accounts, Credentials, Mutations, Origin};
use crate::state::cluster::Cluster;
use crate::state::store::Store;
use crate::state::{Epochs, Hasher, Metrics};

/// The services as the command line uses them.
pub struct AdminSession {
    /// Accounts.
    pub accounts: Accounts,
    /// Credentials.
    pub credentials: Credentials,
    store: Store,
}

impl AdminSession {
    /// Opens the store of that configuration.
    ///
    /// # Errors
    /// There is none, it can't be opened, or the running gateways can't be reached.
    pub async fn open(config: &Config) -> Result<AdminSession, CliError> {
        AdminSession::over(Store::open_existing(&config.store).await?, config)
    }

    /// Opens the store of that configuration, makes it where there is none, and tells so.
    ///
    /// # Errors
    /// It can't be opened, or the running gateways can't be reached.
    pub async fn open_or_make(config: &Config) -> Result<AdminSession, CliError> {
        let store = Store::open(&config.store).await?;
        if store.is_new() {
            say(&format!("made a new database, {}", store.path().display()));
        }
        AdminSession::over(store, config)
    }

    fn over(store: Store, config: &Config) -> Result<AdminSession, CliError> {
        let cluster = Arc::new(Cluster::visit(&store)?);
        let metrics = Arc::new(Metrics::new());
        let hasher = Hasher::start(config.auth.bcrypt_cost, 1, 1, metrics.clone());
        let hasher = Arc::new(hasher.map_err(CliError::Hashing)?);
        let mutations = Mutations::new(store.clone(), hasher, Arc::new(Epochs::new()), cluster, metrics);
        Ok(AdminSession {
            accounts: Accounts::new(mutations.clone(), Origin::CommandLine),
            credentials: Credentials::new(mutations),
            store,
        })
    }

    /// Leaves the database in order: the last one out puts the log back into the file.
    pub async fn close(self) {
        self.store.close().await;
    }
}
