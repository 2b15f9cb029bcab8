//! Layer 0: from raw TOML to a checked [`Config`]. All errors are reported at once, each with its line and key.
//!
//! Everything here is pure, except [`Config::load`], which reads the file. The server checks what depends on the machine,
//! such as certificates, free ports and host names.

pub mod accent_color;
pub mod address;
pub mod allowed_origin;
mod change;
pub mod console_entry;
pub mod credential_file;
pub mod credential_places;
pub mod error;
mod findings;
pub mod gate;
pub mod http_entry;
pub mod key_location;
mod listeners;
pub mod own_pages;
mod parse;
mod pattern;
pub mod postgres_url;
mod quantity;
mod reader;
pub mod route;
pub mod settings;
pub mod smtp_entry;
pub mod smtp_listener;
pub mod smtp_relay;
pub mod store_url;
pub mod timeouts;
mod toml_faults;
pub mod upstream;
pub mod upstream_host;
mod warnings;
mod wording;

pub use accent_color::AccentColor;
pub use address::{Scheme, SmtpScheme, SmtpUpstream, Upstream};
pub use allowed_origin::AllowedOrigin;
pub use console_entry::ConsoleEntry;
pub use credential_file::{CredentialFile, ListedAccount, ListedCredential};
pub use credential_places::{CredentialPlace, CredentialPlaces};
pub use error::{ConfigError, ConfigErrors};
pub use gate::GateSettings;
pub use http_entry::{Forms, HttpEntry};
pub use key_location::{KeyLocation, NamedFile};
pub use own_pages::{ImageKind, OwnPages};
pub use parse::ExaminedConfig;
pub use postgres_url::{PostgresHost, PostgresUrl, SslMode, UrlPassword};
pub use quantity::{duration as parse_duration, show_duration};
pub use route::{Need, RouteSettings};
pub use settings::{
    AuthSettings, Config, LogFormat, LogLevel, LogSettings, OpsSettings, ServerSettings, StoreSettings,
    TlsFiles, TlsSettings,
};
pub use smtp_entry::{SmtpEntry, SmtpIdentity, SmtpLimits, SmtpTimeouts};
pub use smtp_listener::{BareNewline, SmtpListener, SmtpListenerRules, SmtpListenerTls};
pub use smtp_relay::{SmtpLogin, SmtpRelay};
pub use store_url::StoreUrl;
pub use timeouts::Timeouts;
pub use upstream::{GroupSettings, HealthCheck};
pub use upstream_host::UpstreamHost;
