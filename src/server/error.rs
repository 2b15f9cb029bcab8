//! The errors that keep a gateway from starting.

use thiserror::Error;

use crate::config::ConfigError;
use crate::edge::net::listener::BindError;
use crate::state::store::StoreError;

/// The reason that the gateway does not start.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("stopped during the start")]
    Stopped,
    #[error("signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the configuration cannot be served:{}", shown(.0))]
    Unfit(Vec<ConfigError>),
    #[error("tls: {0}")]
    Tls(rustls::Error),
    #[error("store.url: {0}")]
    Store(StoreError),
    #[error("server.threads: {0}")]
    Threads(std::io::Error),
    #[error("auth.hash_threads: {0}")]
    HashThreads(std::io::Error),
    #[error(
        "no file descriptor is left: raise the limit of open files (LimitNOFILE= in the unit of systemd, or `ulimit -n`): {0}"
    )]
    Descriptors(std::io::Error),
    #[error("the system provides no random numbers: {0}")]
    Random(std::io::Error),
}

// Their texts contain those of their causes, so they have no source: it would be printed a second time.
impl From<rustls::Error> for StartError {
    fn from(error: rustls::Error) -> StartError {
        StartError::Tls(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> StartError {
        StartError::Store(error)
    }
}

fn shown(errors: &[ConfigError]) -> String {
    errors.iter().map(|error| format!("\n{error}")).collect()
}
