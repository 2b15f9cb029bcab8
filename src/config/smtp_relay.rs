//! The backends of `[smtp]` and their connections.

use std::time::Duration;

use super::address::{self, SmtpUpstream};
use super::quantity::{DAY, SHORTEST};
use super::reader::{ConfigTable, ConfigValue};
use super::{KeyLocation, NamedFile};

/// The backends of `[smtp]`. They are equivalent: transactions are distributed over those that are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpRelay {
    /// The backends: at least one, none twice.
    pub upstreams: Vec<SmtpUpstream>,
    /// The place of the key `upstreams`.
    pub place: KeyLocation,
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
    value.filled_list(|value| value.distinct(address::smtp_upstream, &mut seen))
}
