//! The section `[smtp]`: mail submission with its listeners, limits and backends.

use std::time::Duration;

use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::{ConfigTable, ConfigValue};
use super::{SmtpListener, SmtpRelay, address};

/// The section `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpEntry {
    /// The listeners; at least one.
    pub listeners: Vec<SmtpListener>,
    /// The name in the greeting, EHLO and `Received:`; `None` for the system's name.
    pub hostname: Option<String>,
    /// The longest message, in bytes.
    pub max_message: u64,
    /// Limits for one client.
    pub limits: SmtpLimits,
    /// Timeouts.
    pub timeouts: SmtpTimeouts,
    /// The ways in which a backend learns who submits.
    pub identity: SmtpIdentity,
    /// The backends and their connections.
    pub relay: SmtpRelay,
}

impl SmtpEntry {
    pub(super) fn read(table: ConfigTable<'_>, has_tls: bool, listeners: &mut Listeners) -> SmtpEntry {
        let entry = SmtpEntry {
            listeners: SmtpListener::read_all(&table, has_tls, listeners),
            hostname: table.optional("hostname", |v| v.parsed(|text| address::host(text).map(str::to_owned))),
            max_message: table.read("max_message", 30 << 20, |v| v.size(64 << 10..=16 << 30)),
            limits: SmtpLimits::read(&table),
            timeouts: SmtpTimeouts::read(&table),
            identity: table.read("identity", SmtpIdentity::default(), SmtpIdentity::read),
            relay: SmtpRelay::read(&table),
        };
        table.finish();
        entry
    }
}

/// Limits for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLimits {
    /// Recipients of one message. RFC 5321, section 4.5.3.1.8, requires at least 100.
    pub recipients: usize,
    /// Messages in one session.
    pub messages: usize,
    /// Commands in one session that Gatepost itself refuses. Refusals by a backend are not counted.
    pub errors: usize,
    /// Failed logins in one session.
    pub failed_logins: usize,
    /// Open connections from one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_source: usize,
}

impl SmtpLimits {
    fn read(table: &ConfigTable<'_>) -> SmtpLimits {
        let default = SmtpLimits::default();
        let number = |key, default, least| table.read(key, default, |v| v.number(least..=1_000_000));
        SmtpLimits {
            recipients: number("max_recipients", default.recipients, 1),
            messages: number("max_messages", default.messages, 1),
            errors: number("max_errors", default.errors, 1),
            failed_logins: number("max_failed_logins", default.failed_logins, 1),
            connections_per_source: number("max_connections_per_source", default.connections_per_source, 1),
        }
    }
}

impl Default for SmtpLimits {
    fn default() -> Self {
        SmtpLimits {
            recipients: 100,
            messages: 1000,
            errors: 20,
            failed_logins: 3,
            connections_per_source: 100,
        }
    }
}

/// The timeouts of mail sessions. The defaults of the first two follow RFC 5321, section 4.5.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpTimeouts {
    /// The time until the client's next command, from its first recipient to its message, while it reads no reply, and until
    /// a backend's reply to a command. A TLS handshake or a PROXY header has at most 30 s of it.
    pub command: Duration,
    /// The longest pause within a message on either side, and the time until a backend's reply to its end.
    pub data: Duration,
    /// The time for a whole message, however steadily it arrives.
    pub message: Duration,
    /// The time for a whole session.
    pub session: Duration,
}

impl SmtpTimeouts {
    fn read(table: &ConfigTable<'_>) -> SmtpTimeouts {
        let default = SmtpTimeouts::default();
        let time = |key, default| table.read(key, default, |v| v.duration(SHORTEST..=DAY));
        SmtpTimeouts {
            command: time("command_timeout", default.command),
            data: time("data_timeout", default.data),
            message: time("message_deadline", default.message),
            session: time("session_deadline", default.session),
        }
    }
}

impl Default for SmtpTimeouts {
    fn default() -> Self {
        SmtpTimeouts {
            command: Duration::from_secs(300),
            data: Duration::from_secs(600),
            message: Duration::from_secs(30 * 60),
            session: Duration::from_secs(2 * 3600),
        }
    }
}

/// The ways in which a backend learns who submits, in addition to the `Received:` field of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SmtpIdentity {
    /// `XCLIENT` before each transaction, if the backend offers it.
    pub xclient: bool,
    /// The header field `X-Gatepost-User`.
    pub header: bool,
}

impl SmtpIdentity {
    fn read(value: &ConfigValue<'_>) -> Option<SmtpIdentity> {
        let mut identity = SmtpIdentity::default();
        value.list(|value| {
            let word = value.word(&["xclient", "header"], |word| word)?;
            let chosen = if word == "xclient" { &mut identity.xclient } else { &mut identity.header };
            if std::mem::replace(chosen, true) {
                value.refuse(format!("'{word}' is listed twice"));
            }
            Some(())
        })?;
        Some(identity)
    }
}
