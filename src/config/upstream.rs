//! Backends and the groups that they form.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Backends that are as good as each other: requests go round, and pass by those that are down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name; unique in its entry.
    pub name: String,
    /// The backends, at least one, none twice.
    pub upstreams: Vec<Upstream>,
    /// How it is found out whether one is up.
    pub health_check: HealthCheck,
    /// How often.
    pub health_interval: Duration,
    /// Until a connection is made, with TLS where there is some.
    pub connect_timeout: Duration,
    /// PEM: the roots that `https` backends are verified against; none is those of the system.
    pub upstream_ca: Option<PathBuf>,
    /// The name that `https` backends must prove, instead of their host.
    pub upstream_server_name: Option<String>,
}

/// One backend: `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// In clear or with TLS.
    pub scheme: Scheme,
    /// A name or an IP address; an IPv6 address stands without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Upstream {
    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// With TLS, verified.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
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
    /// As the configuration writes it.
    pub fn as_str(&self) -> &str {
        match self {
            HealthCheck::Tcp => "tcp",
            HealthCheck::Http(path) => path,
        }
    }
}
