//! Backends and the groups that they form.

use std::time::Duration;

use super::address::{self, Upstream};
use super::quantity::{DAY, SHORTEST};
use super::reader::{ConfigTable, ConfigValue, shown};
use super::{KeyLocation, NamedFile};

/// Backends that are as good as each other: requests go round, and pass by those that are down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Its name; unique in its entry.
    pub name: String,
    /// The backends, at least one, none twice.
    pub upstreams: Vec<Upstream>,
    /// Where they stand.
    pub place: KeyLocation,
    /// How it is found out whether one is up.
    pub health_check: HealthCheck,
    /// How often.
    pub health_interval: Duration,
    /// Until a connection is made, with TLS where there is some.
    pub connect_timeout: Duration,
    /// PEM: the roots that `https` backends are verified against; none is those of the system.
    pub upstream_ca: Option<NamedFile>,
    /// The name that `https` backends must prove, instead of their host.
    pub upstream_server_name: Option<String>,
}

impl GroupSettings {
    /// The name of the group that an entry's own `upstreams` make.
    pub const DEFAULT_NAME: &'static str = "default";

    /// Reads an entry's own group and its named ones, in this order.
    pub(super) fn read_all(entry: &ConfigTable<'_>) -> Vec<GroupSettings> {
        let own =
            GroupSettings::read(entry, GroupSettings::DEFAULT_NAME.to_owned(), &GroupSettings::default());
        let mut groups = vec![own];
        let mut lines = vec![entry.line()];
        for table in entry.tables("group") {
            let name = table.required("name", |v| v.text());
            let group = GroupSettings::read(&table, name.unwrap_or_default().to_owned(), &groups[0]);
            let first = groups.iter().position(|other| other.name == group.name);
            match (name, first) {
                (None, _) => {}
                (Some(GroupSettings::DEFAULT_NAME), _) => {
                    table.refuse("name", "'default' is the entry's own group: choose another name");
                }
                (Some(name), Some(first)) => {
                    table.refuse("name", format!("'{}' is the group on line {}", shown(name), lines[first]));
                }
                (Some(name), None) if !is_name(name) => table.refuse(
                    "name",
                    format!("'{}' is no name: write letters, digits, - and _, 64 at most", shown(name)),
                ),
                (Some(_), None) => {}
            }
            lines.push(table.line());
            groups.push(group);
            table.finish();
        }
        groups
    }

    /// Reads the keys that an entry and its groups share; what is absent is as in `inherited`.
    fn read(table: &ConfigTable<'_>, name: String, inherited: &GroupSettings) -> GroupSettings {
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
        }
    }
}

/// Without a name and without backends: what an entry's own group is where nothing is set.
impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings {
            name: String::new(),
            upstreams: Vec::new(),
            place: KeyLocation { line: 0, key: String::new() },
            health_check: HealthCheck::Tcp,
            health_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            upstream_ca: None,
            upstream_server_name: None,
        }
    }
}

fn is_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(letter)
}

fn upstreams(value: &ConfigValue<'_>) -> Option<Vec<Upstream>> {
    let mut seen = Vec::new();
    value.filled_list(|value| {
        let upstream = value.parsed(address::upstream)?;
        if seen.contains(&upstream) {
            value.refuse(format!("'{upstream}' stands here twice"));
        }
        seen.push(upstream.clone());
        Some(upstream)
    })
}

/// How it is found out whether a backend is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A connection can be made.
    Tcp,
    /// A `GET` of this path is answered with 2xx.
    Http(String),
}

impl HealthCheck {
    fn parse(text: &str) -> Result<HealthCheck, String> {
        let path =
            |text: &str| text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        match text {
            "tcp" => Ok(HealthCheck::Tcp),
            _ if path(text) => Ok(HealthCheck::Http(text.to_owned())),
            _ => Err(format!("'{}' is neither \"tcp\" nor a path such as \"/healthz\"", shown(text))),
        }
    }
}
