//! The sections `[api]` and `[web]`: an HTTP entry with its listeners, limits, routes and backends. `[console]` is one without
//! routes and backends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::ConfigTable;
use super::{
    AllowedOrigin, GateSettings, GroupSettings, KeyLocation, Need, OwnPages, RouteSettings, Timeouts,
};
use crate::domain::{Entry, Permission, Permissions};

/// A section `[api]` or `[web]`: the same keys, different default permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEntry {
    /// The section: [`Entry::Api`], [`Entry::Web`] or [`Entry::Console`].
    pub entry: Entry,
    /// Addresses without TLS. Together with `tls_listen` there is at least one.
    pub listen: Vec<SocketAddr>,
    /// Addresses with TLS, and HTTP/2 by ALPN.
    pub tls_listen: Vec<SocketAddr>,
    /// The origins of pages that may call the entry from another site.
    pub cors_origins: Vec<AllowedOrigin>,
    /// Limits for bodies that are read to find the credential.
    pub forms: Forms,
    /// The place of `spool_directory`, or of the section.
    pub spool_place: KeyLocation,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// The longest time for which an unused connection to a backend is kept.
    pub upstream_keepalive: Duration,
    /// The largest number of unused connections to backends that are kept.
    pub upstream_idle_connections: usize,
    /// The configured routes, in order. The first match wins, before the built-in rules.
    pub routes: Vec<RouteSettings>,
    /// The groups of backends. The first consists of the entry's own `upstreams`, and is [`GroupSettings::DEFAULT_NAME`].
    pub groups: Vec<GroupSettings>,
    /// The gate; on `[web]` only.
    pub gate: Option<GateSettings>,
    /// Gatepost's own pages; on `[web]` and `[console]`.
    pub pages: Option<OwnPages>,
}

impl HttpEntry {
    pub(super) fn read(
        entry: Entry,
        table: ConfigTable<'_>,
        has_tls: bool,
        listeners: &mut Listeners,
    ) -> HttpEntry {
        let (listen, tls_listen) = read_listeners(&table, has_tls, listeners);
        let timeouts = Timeouts::read(&table);
        let groups = GroupSettings::read_all(&table, entry, &timeouts);
        let read = HttpEntry {
            entry,
            listen,
            tls_listen,
            cors_origins: table.read("cors_origins", Vec::new(), AllowedOrigin::read_list),
            forms: Forms::read(&table),
            spool_place: table.place("spool_directory"),
            timeouts,
            upstream_keepalive: table
                .read("upstream_keepalive", Duration::from_secs(50), |v| v.duration(SHORTEST..=DAY)),
            upstream_idle_connections: table
                .read("upstream_idle_connections", 128, |v| v.number(0..=1_000_000)),
            routes: RouteSettings::read_all(&table, entry, &groups),
            groups,
            gate: (entry == Entry::Web).then(|| GateSettings::read(&table)),
            pages: (entry == Entry::Web).then(|| OwnPages::read_of_gate(&table)),
        };
        table.finish();
        read
    }

    /// Reads the listeners and timeouts of the console.
    pub(super) fn read_console(
        table: &ConfigTable<'_>,
        has_tls: bool,
        listeners: &mut Listeners,
        pages: OwnPages,
    ) -> HttpEntry {
        let (listen, tls_listen) = read_listeners(table, has_tls, listeners);
        HttpEntry {
            entry: Entry::Console,
            listen,
            tls_listen,
            cors_origins: Vec::new(),
            forms: Forms::default(),
            spool_place: KeyLocation { line: table.line(), key: "console".to_owned() },
            timeouts: Timeouts::read_of_console(table),
            upstream_keepalive: Duration::ZERO,
            upstream_idle_connections: 0,
            routes: Vec::new(),
            groups: Vec::new(),
            gate: None,
            pages: Some(pages),
        }
    }

    /// The need of a request that no route and no built-in rule matches.
    pub fn default_need(&self) -> Need {
        match self.entry {
            Entry::Web | Entry::Console => Need::Permission(Permission::Web),
            Entry::Api | Entry::Smtp => Need::Permission(Permission::Api),
        }
    }

    /// All permissions that a request may need: by a route, by default, or by a built-in rule.
    pub fn permissions(&self) -> Permissions {
        let built_in = match self.entry {
            Entry::Api => Permissions::only(Permission::Email),
            Entry::Web | Entry::Smtp => Permissions::NONE,
            // Nothing is forwarded.
            Entry::Console => return Permissions::NONE,
        };
        let needs = self.routes.iter().map(|route| route.need).chain([self.default_need()]);
        needs.fold(built_in, |all, need| match need {
            Need::Public => all,
            Need::Permission(permission) => all.or(Permissions::only(permission)),
        })
    }
}

/// Reads `listen` and `tls_listen`.
fn read_listeners(
    table: &ConfigTable<'_>,
    has_tls: bool,
    listeners: &mut Listeners,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let listen = table.read("listen", Vec::new(), |v| listeners.read_list(v));
    let tls_listen = table.read("tls_listen", Vec::new(), |v| listeners.read_list(v));
    let with_tls = table.is_filled("tls_listen");
    if with_tls && !has_tls {
        table.refuse("tls_listen", "requires a section [tls] with certificate and private_key");
    }
    if !with_tls && !table.is_filled("listen") {
        table.refuse("listen", "no listener: set listen or tls_listen");
    }
    (listen, tls_listen)
}

/// Limits for bodies that are read to find the credential. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// The longest body; a longer one is a 413.
    pub max_body: u64,
    /// The longest body in memory; a longer one goes to a temporary file.
    pub memory: u64,
    /// The memory for all bodies together.
    pub memory_total: u64,
    /// The room in temporary files for all bodies together; at least `max_body`.
    pub disk_total: u64,
    /// The directory of the temporary files; `None` for the system's default.
    pub directory: Option<PathBuf>,
}

impl Forms {
    fn read(table: &ConfigTable<'_>) -> Forms {
        let default = Forms::default();
        let forms = Forms {
            max_body: table.read("max_form_body", default.max_body, |v| v.size(1 << 10..=16 << 30)),
            memory: table.read("spool_memory", default.memory, |v| v.size(0..=1 << 30)),
            memory_total: table.read("spool_memory_total", default.memory_total, |v| v.size(0..=1 << 40)),
            disk_total: table.read("spool_disk_total", default.disk_total, |v| v.size(1 << 10..=1 << 50)),
            directory: table.optional("spool_directory", |v| v.path()),
        };
        if forms.disk_total < forms.max_body {
            table.refuse(
                "spool_disk_total",
                "smaller than max_form_body: the longest form would never find room",
            );
        }
        forms
    }
}

impl Default for Forms {
    fn default() -> Self {
        Forms {
            max_body: 30 << 20,
            memory: 1 << 20,
            memory_total: 256 << 20,
            disk_total: 8 << 30,
            directory: None,
        }
    }
}
