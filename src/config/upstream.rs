//! HTTP backends and their groups.

use std::time::Duration;

use super::address::{self, Upstream};
use super::quantity::{DAY, SHORTEST};
use super::reader::{ConfigTable, ConfigValue};
use super::wording::shown;
use super::{CredentialPlaces, KeyLocation, NamedFile, Timeouts, UpstreamHost};
use crate::domain::Entry;

/// A group of equivalent backends. Requests are distributed over those that are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The name, unique in the entry.
    pub name: String,
    /// The backends: at least one, none twice.
    pub upstreams: Vec<Upstream>,
    /// The place of the key `upstreams`.
    pub place: KeyLocation,
    /// The check that finds out if a backend is up.
    pub health_check: HealthCheck,
    /// The interval of the health checks.
    pub health_interval: Duration,
    /// The time until a connection is established, including TLS.
    pub connect_timeout: Duration,
    /// The CA certificates for `https` backends, in PEM format; `None` for those of the system.
    pub upstream_ca: Option<NamedFile>,
    /// The name that the certificate of a backend must have, instead of its host.
    pub upstream_server_name: Option<String>,
    /// The `Host` that the backends get.
    pub host: UpstreamHost,
    /// The places where a request for the backends may have its credential.
    pub credentials: CredentialPlaces,
    /// The timeouts of requests for the backends.
    pub timeouts: Timeouts,
}

impl GroupSettings {
    /// The name of the group that consists of the entry's own `upstreams`.
    pub const DEFAULT_NAME: &'static str = "default";

    /// Reads the entry's own group, followed by its named groups.
    pub(super) fn read_all(table: &ConfigTable<'_>, entry: Entry, timeouts: &Timeouts) -> Vec<GroupSettings> {
        let mut defaults = GroupSettings::defaults_of(entry);
        defaults.timeouts = timeouts.clone();
        let own = GroupSettings::read(table, entry, GroupSettings::DEFAULT_NAME.to_owned(), &defaults);
        let mut groups = vec![own];
        let mut lines = vec![table.line()];
        for table in table.tables("group") {
            let name = table.required("name", |v| v.text());
            let mut group =
                GroupSettings::read(&table, entry, name.unwrap_or_default().to_owned(), &groups[0]);
            group.timeouts = Timeouts::read_of_group(&table, timeouts);
            let first = groups.iter().position(|other| other.name == group.name);
            match (name, first) {
                (None, _) => {}
                (Some(GroupSettings::DEFAULT_NAME), _) => {
                    table.refuse(
                        "name",
                        "'default' is reserved for the upstreams of the entry: choose another name",
                    );
                }
                (Some(name), Some(first)) => {
                    table.refuse(
                        "name",
                        format!("duplicate group '{}': first defined on line {}", shown(name), lines[first]),
                    );
                }
                (Some(name), None) if !is_name(name) => table.refuse(
                    "name",
                    format!("invalid name '{}': expected 1 to 64 letters, digits, '-' or '_'", shown(name)),
                ),
                (Some(_), None) => {}
            }
            lines.push(table.line());
            groups.push(group);
            table.finish();
        }
        groups
    }

    /// Reads the keys that an entry and its groups share. Absent keys have the values of `inherited`.
    fn read(table: &ConfigTable<'_>, entry: Entry, name: String, inherited: &GroupSettings) -> GroupSettings {
        let time = |key, default| table.read(key, default, |v| v.duration(SHORTEST..=DAY));
        GroupSettings {
            name,
            upstreams: table.required("upstreams", upstreams).unwrap_or_default(),
            place: table.place("upstreams"),
            health_check: table
                .read("health_check", inherited.health_check.clone(), |v| v.parsed(HealthCheck::parse)),
            health_interval: time("health_interval", inherited.health_interval),
            connect_timeout: time("connect_timeout", inherited.connect_timeout),
            upstream_ca: table
                .optional("upstream_ca", |v| v.file())
                .or_else(|| inherited.upstream_ca.clone()),
            upstream_server_name: table
                .optional("upstream_server_name", |v| v.parsed(|text| address::host(text).map(str::to_owned)))
                .or_else(|| inherited.upstream_server_name.clone()),
            host: table.read("host", inherited.host.clone(), |v| v.parsed(UpstreamHost::parse)),
            credentials: CredentialPlaces::read(table, entry).unwrap_or(inherited.credentials),
            timeouts: inherited.timeouts.clone(),
        }
    }
}

impl GroupSettings {
    /// The defaults of an entry's own group, without a name and backends.
    fn defaults_of(entry: Entry) -> GroupSettings {
        GroupSettings {
            name: String::new(),
            upstreams: Vec::new(),
            place: KeyLocation { line: 0, key: String::new() },
            health_check: HealthCheck::Tcp,
            health_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            upstream_ca: None,
            upstream_server_name: None,
            host: UpstreamHost::Keep,
            credentials: CredentialPlaces::of(entry),
            timeouts: Timeouts::default(),
        }
    }
}

fn is_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(letter)
}

fn upstreams(value: &ConfigValue<'_>) -> Option<Vec<Upstream>> {
    let mut seen = Vec::new();
    value.filled_list(|value| value.distinct(address::upstream, &mut seen))
}

/// The check that finds out if a backend is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A TCP connection can be established.
    Tcp,
    /// A `GET` of this path returns 2xx.
    Http(String),
}

impl HealthCheck {
    fn parse(text: &str) -> Result<HealthCheck, String> {
        let path =
            |text: &str| text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        match text {
            "tcp" => Ok(HealthCheck::Tcp),
            _ if path(text) => Ok(HealthCheck::Http(text.to_owned())),
            _ => Err(format!(
                "invalid health check '{}': expected \"tcp\" or a path such as \"/healthz\"",
                shown(text)
            )),
        }
    }
}
