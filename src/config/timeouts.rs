//! Timeouts of HTTP.

use std::time::Duration;

use super::quantity::{DAY, SHORTEST};
use super::reader::ConfigTable;

/// The timeouts of one HTTP entry, or of one group of its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for a request's header, from its first byte to its end.
    pub header: Duration,
    /// The longest pause in a request's body, and the window in which the body must make progress.
    pub body: Duration,
    /// The time for a form that is read to find the credential, from its first byte to its last.
    pub form: Duration,
    /// The longest pause between two requests on one connection.
    pub keepalive: Duration,
    /// The longest time in which a client reads nothing of its response.
    pub write: Duration,
    /// The time until a backend's response header has arrived.
    pub response: Duration,
    /// The longest time without data in a tunnel.
    pub tunnel_idle: Duration,
}

impl Timeouts {
    pub(super) fn read(table: &ConfigTable<'_>) -> Timeouts {
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

    /// Reads the timeouts of the console, which has no backends.
    pub(super) fn read_of_console(table: &ConfigTable<'_>) -> Timeouts {
        let default = Timeouts::default();
        let time = |key, default| table.read(key, default, |v| v.duration(SHORTEST..=DAY));
        Timeouts {
            header: time("header_timeout", default.header),
            body: time("body_timeout", default.body),
            keepalive: time("keepalive_timeout", default.keepalive),
            write: time("write_timeout", default.write),
            ..default
        }
    }

    /// Reads the timeouts that a group of backends may have of its own. The others are the entry's.
    pub(super) fn read_of_group(table: &ConfigTable<'_>, entry: &Timeouts) -> Timeouts {
        let time = |key, default| table.read(key, default, |v| v.duration(SHORTEST..=DAY));
        Timeouts {
            body: time("body_timeout", entry.body),
            response: time("response_timeout", entry.response),
            tunnel_idle: time("tunnel_idle_timeout", entry.tunnel_idle),
            ..entry.clone()
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
