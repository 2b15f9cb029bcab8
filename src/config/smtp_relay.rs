//! The backends of `[smtp]` and their connections.

use std::fmt;
use std::time::Duration;

use super::reader::{ConfigTable, ConfigValue};
use super::settings::{DAY, SHORTEST};
use super::{NamedFile, Place, address};

/// The backends of `[smtp]`. They are equivalent: transactions are distributed over those that are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpRelay {
    /// The backends: at least one, none twice.
    pub upstreams: Vec<SmtpUpstream>,
    /// The place of the key `upstreams`.
    pub place: Place,
    /// The CA certificates for backends with TLS, in PEM format; `None` for those of the system.
    pub ca: Option<NamedFile>,
    /// The name that the certificate of a backend must have, instead of its host.
    pub server_name: Option<String>,
    /// The gateway's login at its backends.
    pub login: Option<SmtpLogin>,
    /// The largest number of connections to each backend, over all workers; at least 1.
    pub connections: usize,
    /// The longest time for which an unused connection is kept.
    pub idle: Duration,
    /// The time until a backend is ready for a transaction: connection, TLS, greeting, EHLO and login.
    pub connect_timeout: Duration,
    /// The interval of the health checks, which also find out the extensions of a backend.
    pub health_interval: Duration,
}

/// The gateway's login at its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLogin {
    /// The username.
    pub user: String,
    /// A file whose first line is the password.
    pub password_file: NamedFile,
}

impl SmtpRelay {
    pub(super) fn read(table: &ConfigTable<'_>) -> SmtpRelay {
        let time = |key, seconds| {
            table.read(key, Duration::from_secs(seconds), |v: &ConfigValue<'_>| v.duration(SHORTEST..=DAY))
        };
        SmtpRelay {
            upstreams: table.required("upstreams", upstreams).unwrap_or_default(),
            place: table.place("upstreams"),
            ca: table.optional("upstream_ca", |v| v.file()),
            server_name: table
                .optional("upstream_server_name", |v| v.parsed(|t| address::host(t).map(str::to_owned))),
            login: SmtpLogin::read(table),
            connections: table.read("upstream_connections", 64, |v| v.number(1..=100_000)),
            idle: time("upstream_idle", 60),
            connect_timeout: time("connect_timeout", 30),
            health_interval: time("health_interval", 5),
        }
    }
}

impl SmtpLogin {
    fn read(table: &ConfigTable<'_>) -> Option<SmtpLogin> {
        let user = table.optional("upstream_user", |v| {
            v.parsed(|text| match text {
                "" => Err("the username is empty".to_owned()),
                _ if text.contains(char::is_control) => {
                    Err("the username contains a control character".to_owned())
                }
                _ => Ok(text.to_owned()),
            })
        });
        let password_file = table.optional("upstream_password_file", |v| v.file());
        match (table.is_filled("upstream_user"), table.is_filled("upstream_password_file")) {
            (true, false) => table.refuse("upstream_user", "requires upstream_password_file"),
            (false, true) => table.refuse("upstream_password_file", "requires upstream_user"),
            _ => {}
        }
        Some(SmtpLogin { user: user?, password_file: password_file? })
    }
}

fn upstreams(value: &ConfigValue<'_>) -> Option<Vec<SmtpUpstream>> {
    let mut seen = Vec::new();
    value.filled_list(|value| {
        let upstream = value.parsed(address::smtp_upstream)?;
        if seen.contains(&upstream) {
            value.refuse(format!("'{upstream}' is listed twice"));
        }
        seen.push(upstream.clone());
        Some(upstream)
    })
}

/// One backend: `smtp://host:port`, `smtps://host:port` or `smtp+starttls://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmtpUpstream {
    /// The scheme: with or without TLS.
    pub scheme: SmtpScheme,
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for SmtpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = (self.scheme.as_str(), &self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// The scheme of a mail backend's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SmtpScheme {
    /// Without TLS.
    Clear,
    /// With implicit TLS; the certificate is verified.
    Tls,
    /// With STARTTLS, which must succeed; the certificate is verified.
    StartTls,
}

impl SmtpScheme {
    /// All schemes.
    pub const ALL: [SmtpScheme; 3] = [SmtpScheme::Clear, SmtpScheme::Tls, SmtpScheme::StartTls];

    /// `smtp`, `smtps` or `smtp+starttls`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SmtpScheme::Clear => "smtp",
            SmtpScheme::Tls => "smtps",
            SmtpScheme::StartTls => "smtp+starttls",
        }
    }
}
