//! The services that a command needs for a change: the store, password hashing, and messages to running gateways.

use std::sync::Arc;

use super::CommandError;
use super::output::say;
use crate::config::Config;
use crate::service::{Accounts, Credentials, ManagementError, Mutations, OpenSessions, Origin};
use crate::state::cluster::{self, Cluster};
use crate::state::store::Store;
use crate::state::{Epochs, Hasher, Metrics};

/// The services of one command.
pub struct Services {
    /// Accounts.
    pub accounts: Accounts,
    /// Credentials.
    pub credentials: Credentials,
    /// Sessions of browsers.
    pub sessions: OpenSessions,
    /// The running gateways.
    pub cluster: Arc<Cluster>,
    store: Store,
}

impl Services {
    /// Opens the store of the configuration.
    ///
    /// # Errors
    /// The store does not exist or cannot be opened, or the running gateways cannot be reached.
    pub async fn open(config: &Config) -> Result<Services, CommandError> {
        cluster::await_running(&config.store).await?;
        cluster::ask_running(&config.store).await?;
        Services::with(Store::open_existing(&config.store).await?, config)
    }

    /// Does the same for a command that only reads.
    ///
    /// # Errors
    /// The errors of [`Services::open`], and that the store was made by an older version.
    pub async fn open_to_read(config: &Config) -> Result<Services, CommandError> {
        cluster::ask_running(&config.store).await?;
        Services::with(Store::open_to_read(&config.store).await?, config)
    }

    /// Opens the store of the configuration. Creates it if it does not exist, and says so.
    ///
    /// # Errors
    /// The store cannot be opened, or the running gateways cannot be reached.
    pub async fn open_or_create(config: &Config) -> Result<Services, CommandError> {
        cluster::await_running(&config.store).await?;
        cluster::ask_running(&config.store).await?;
        let store = Store::open(&config.store).await?;
        if store.is_new() {
            say(&format!("created a new database, {}", store.place()));
        }
        Services::with(store, config)
    }

    fn with(store: Store, config: &Config) -> Result<Services, CommandError> {
        let cluster = Arc::new(Cluster::visit(&store, &config.store)?);
        let metrics = Arc::new(Metrics::new());
        let hasher = Hasher::start(config.auth.bcrypt_cost, 1, 1, metrics.clone());
        let hasher = Arc::new(hasher.map_err(CommandError::Hashing)?);
        let mutations =
            Mutations::new(store.clone(), hasher, Arc::new(Epochs::new()), cluster.clone(), metrics);
        Ok(Services {
            accounts: Accounts::new(mutations.clone(), Origin::CommandLine),
            credentials: Credentials::new(mutations.clone()),
            sessions: OpenSessions::new(mutations),
            cluster,
            store,
        })
    }

    /// Closes the database. The last process to close it writes its log back into the file.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// Closes the database, and names its file in the error of a command that could not use it.
    ///
    /// # Errors
    /// That of the command.
    pub async fn finish<T>(self, done: Result<T, CommandError>) -> Result<T, CommandError> {
        let place = self.store.place();
        self.close().await;
        done.map_err(|error| match error {
            CommandError::Refused(ManagementError::Store(error)) => {
                CommandError::Unusable(place, error.reason().to_owned())
            }
            other => other,
        })
    }
}
