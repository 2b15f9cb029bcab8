//! Floor 0: raw TOML -> checked [`Config`]; every error at once, each with its line and key.
//!
//! Everything here is pure but [`Config::load`], which reads the one file. That a certificate exists, that a port is
//! free and that a name resolves is for the server to find out.

pub mod error;
pub mod http_entry;
pub mod settings;
pub mod upstream;

pub use error::{ConfigError, ConfigErrors};
pub use http_entry::{Forms, HttpEntry, Need, Route, Timeouts};
pub use settings::{
    AuthSettings, Config, LogFormat, LogLevel, LogSettings, OpsSettings, ServerSettings, StoreSettings,
    StoreUrl, TlsSettings,
};
pub use upstream::{Group, HealthCheck, Scheme, Upstream};
