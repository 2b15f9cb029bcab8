//! `[api]` and `[web]`: an HTTP entry with its listeners, limits, routes and backends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::ConfigTable;
use super::{GroupSettings, Need, RouteSettings};
use crate::domain::{Entry, Permission};

/// `[api]` or `[web]`: the same keys, another default permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEntry {
    /// Which of the two it is.
    pub entry: Entry,
    /// Addresses in clear; with `tls_listen`, at least one.
    pub listen: Vec<SocketAddr>,
    /// Addresses with TLS; HTTP/2 by ALPN.
    pub tls_listen: Vec<SocketAddr>,
    /// What a body that may hold the credential may cost.
    pub forms: Forms,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How long a connection to a backend is kept without use.
    pub upstream_keepalive: Duration,
    /// Connections to backends that are kept without use at most; 0 keeps none.
    pub upstream_idle_connections: usize,
    /// The configured routes, in order: the first match wins. What is built in comes after them.
    pub routes: Vec<RouteSettings>,
    /// The groups of backends; the first is the entry's own `upstreams` and is called [`GroupSettings::DEFAULT_NAME`].
    pub groups: Vec<GroupSettings>,
}

impl HttpEntry {
    pub(super) fn read(
        entry: Entry,
        table: ConfigTable<'_>,
        has_tls: bool,
        listeners: &mut Listeners,
    ) -> HttpEntry {
        let listen = table.read("listen", Vec::new(), |v| listeners.read_list(v));
        let tls_listen = table.read("tls_listen", Vec::new(), |v| listeners.read_list(v));
        let with_tls = table.is_filled("tls_listen");
        if with_tls && !has_tls {
            table.refuse("tls_listen", "needs a section [tls] with certificate and private_key");
        }
        if !with_tls && !table.is_filled("listen") {
            table.refuse("listen", "is missing, and tls_listen as well: the entry has no listener");
        }
        let groups = GroupSettings::read_all(&table);
        let read = HttpEntry {
            entry,
            listen,
            tls_listen,
            forms: Forms::read(&table),
            timeouts: Timeouts::read(&table),
            upstream_keepalive: table
                .read("upstream_keepalive", Duration::from_secs(50), |v| v.duration(SHORTEST..=DAY)),
            upstream_idle_connections: table
                .read("upstream_idle_connections", 128, |v| v.number(0..=1_000_000)),
            routes: RouteSettings::read_all(&table, &groups),
            groups,
        };
        table.finish();
        read
    }

    /// What a request needs that no route matches and nothing built in knows.
    pub fn default_need(&self) -> Need {
        match self.entry {
            Entry::Web => Need::Permission(Permission::Web),
            Entry::Api | Entry::Smtp => Need::Permission(Permission::Api),
        }
    }
}

/// Limits on a body that has to be read to find the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// In bytes; more is answered with 413.
    pub max_body: u64,
    /// In bytes; a longer one goes to a temporary file.
    pub memory: u64,
    /// In bytes, for all that are in memory at once.
    pub memory_total: u64,
    /// In bytes, for all that are in temporary files at once; no less than `max_body`.
    pub disk_total: u64,
    /// Where that file is made; none is the system's directory for temporary files.
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
                "is less than max_form_body: the longest form would find no room",
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

/// How long things may take in one HTTP entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's header to its end.
    pub header: Duration,
    /// The longest pause in a request's body, and the window in which a body must make progress.
    pub body: Duration,
    /// For a form that is read before anybody is known, from its first byte to its last.
    pub form: Duration,
    /// Between two requests of one connection.
    pub keepalive: Duration,
    /// While a client takes nothing of its response.
    pub write: Duration,
    /// Until a backend's response header is there.
    pub response: Duration,
    /// While nothing passes through a tunnel.
    pub tunnel_idle: Duration,
}

impl Timeouts {
    fn read(table: &ConfigTable<'_>) -> Timeouts {
        let default = Timeouts::default();
        let time = |key, default| table.read(key, default, |v| v.duration(SHORTEST..=DAY));
        Timeouts {
            header: time("header_timeout", default.header),
            body: time("body_timeout", default.body),
            form: time("form_timeout", default.form),
            keepalive: time("keepalive_timeout", default.keepalive),
            write: time("write_timeout", default.write),
            response: time("response_timeout", default.response),
            tunnel_idle: time("tunnel_idle_timeout", default.tunnel_idle),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            header: Duration::from_secs(15),
            body: Duration::from_secs(30),
            form: Duration::from_secs(600),
            keepalive: Duration::from_secs(75),
            write: Duration::from_secs(30),
            response: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(3600),
        }
    }
}
