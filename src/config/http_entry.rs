//! `[api]` and `[web]`: an HTTP entry with its listeners, limits, routes and backends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;

use super::Group;
use crate::domain::{Entry, Permission};

/// `[api]` or `[web]`: the same keys, another default permission.
#[derive(Clone, Debug, PartialEq)]
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
    /// Connections to backends that are kept without use at most.
    pub upstream_idle_connections: usize,
    /// The configured routes, in order: the first match wins. What is built in comes after them.
    pub routes: Vec<Route>,
    /// The groups of backends; the first is the entry's own `upstreams` and is called [`HttpEntry::DEFAULT_GROUP`].
    pub groups: Vec<Group>,
}

impl HttpEntry {
    /// The name of the group that the entry's own `upstreams` make.
    pub const DEFAULT_GROUP: &'static str = "default";

    /// What a request needs that no route matches and nothing built in knows.
    pub fn default_need(&self) -> Need {
        match self.entry {
            Entry::Web => Need::Permission(Permission::Web),
            Entry::Api | Entry::Smtp => Need::Permission(Permission::Api),
        }
    }

    /// The group of the entry's own `upstreams`, at index 0.
    pub fn default_group(&self) -> &Group {
        &self.groups[0]
    }

    /// The group that a route sends to.
    pub fn group_of(&self, route: &Route) -> &Group {
        &self.groups[route.group]
    }
}

/// Limits on a body that has to be read to find the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms {
    /// In bytes; more is answered with 413.
    pub max_body: u64,
    /// In bytes; a longer one goes to a temporary file.
    pub memory: usize,
    /// Where that file is made; none is the system's directory for temporary files.
    pub directory: Option<PathBuf>,
}

impl Default for Forms {
    fn default() -> Self {
        Forms { max_body: 30 << 20, memory: 1 << 20, directory: None }
    }
}

/// How long things may take in one HTTP entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request's header to its end.
    pub header: Duration,
    /// The longest pause in a request's body, and the window in which a body must make progress.
    pub body: Duration,
    /// Between two requests of one connection.
    pub keepalive: Duration,
    /// While a client takes nothing of its response.
    pub write: Duration,
    /// Until a backend's response header is there.
    pub response: Duration,
    /// While nothing passes through a tunnel.
    pub tunnel_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            header: Duration::from_secs(15),
            body: Duration::from_secs(30),
            keepalive: Duration::from_secs(75),
            write: Duration::from_secs(30),
            response: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(3600),
        }
    }
}

/// One `[[api.route]]` or `[[web.route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A path pattern, checked to be plain: begins with `/`, visible ASCII, no `//`, `?`, `#`, `%`, no dot segment.
    pub path: String,
    /// The methods it is for; none is all of them.
    pub methods: Option<Vec<Method>>,
    /// What a request needs.
    pub need: Need,
    /// Its backends, as an index into [`HttpEntry::groups`].
    pub group: usize,
}

/// What a request needs before it is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: it is forwarded as it is, without being asked for a credential.
    Public,
    /// A credential that holds this permission.
    Permission(Permission),
}

impl Need {
    /// The word for it in the configuration and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Need::Public => "public",
            Need::Permission(permission) => permission.as_str(),
        }
    }

    /// What that word means; exactly as written, in lower case.
    pub fn from_name(name: &str) -> Option<Need> {
        match name {
            "public" => Some(Need::Public),
            _ => Permission::from_name(name).map(Need::Permission),
        }
    }
}
