//! `[smtp]`: mail submission with its listeners and limits.

use std::net::SocketAddr;
use std::time::Duration;

use super::listeners::Listeners;
use super::quantity::{DAY, SHORTEST};
use super::reader::{ConfigTable, ConfigValue};
use super::{SmtpRelay, address};

/// `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpEntry {
    /// Addresses in clear, with STARTTLS where there is a `[tls]`; with `tls_listen`, at least one.
    pub listen: Vec<SocketAddr>,
    /// Addresses with TLS from the first byte on.
    pub tls_listen: Vec<SocketAddr>,
    /// Whether AUTH is offered and taken on encrypted connections only.
    pub require_tls: bool,
    /// Whether each connection on these listeners that comes from a trusted proxy begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The name in greeting, EHLO and `Received:`; none is the system's.
    pub hostname: Option<String>,
    /// The longest message in bytes.
    pub max_message: u64,
    /// Bounds on what one client may do.
    pub limits: SmtpLimits,
    /// How long things may take.
    pub timeouts: SmtpTimeouts,
    /// How a backend learns who submits.
    pub identity: SmtpIdentity,
    /// The backends, and how they are spoken to.
    pub relay: SmtpRelay,
}

impl SmtpEntry {
    pub(super) fn read(table: ConfigTable<'_>, has_tls: bool, listeners: &mut Listeners) -> SmtpEntry {
        let listen = table.read("listen", Vec::new(), |v| listeners.read_list(v));
        let tls_listen = table.read("tls_listen", Vec::new(), |v| listeners.read_list(v));
        let require_tls = table.read("require_tls", true, |v| v.flag());
        if !table.is_filled("tls_listen") && !table.is_filled("listen") {
            table.refuse("listen", "is missing, and tls_listen as well: the entry has no listener");
        }
        if table.is_filled("tls_listen") && !has_tls {
            table.refuse("tls_listen", "needs a section [tls] with certificate and private_key");
        } else if require_tls && !has_tls {
            table.refuse(
                "require_tls",
                "is on, and so a section [tls] with certificate and private_key is needed, or require_tls = false",
            );
        }
        let entry = SmtpEntry {
            listen,
            tls_listen,
            require_tls,
            proxy_protocol: table.read("proxy_protocol", false, |v| v.flag()),
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

/// Bounds on what one client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpLimits {
    /// Recipients of one message; RFC 5321, 4.5.3.1.8, asks for 100 at least.
    pub recipients: usize,
    /// Messages of one session.
    pub messages: usize,
    /// Commands of one session that Gatepost itself refuses; what a backend refuses doesn't count.
    pub errors: usize,
    /// Logins of one session that fail.
    pub failed_logins: usize,
    /// Connections open at once from one source: an IPv4 address, or an IPv6 network of 64 bits.
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

/// How long things may take; the defaults of the first two are those of RFC 5321, 4.5.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpTimeouts {
    /// Until the client's next command, from its first recipient to its message, while it takes nothing of a reply, until a backend's reply to a command, and for a TLS
    /// handshake or a proxy's header, if that is less than 30 s.
    pub command: Duration,
    /// The longest pause within a message on either side, and until a backend's reply to its end.
    pub data: Duration,
    /// From the beginning of a message to its end, however steadily it comes.
    pub message: Duration,
    /// From the beginning of a session to its end, whatever happens in it.
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

/// How a backend learns who submits, beside the `Received:` header that every message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SmtpIdentity {
    /// By `XCLIENT` before each transaction, where the backend offers it.
    pub xclient: bool,
    /// By a header `X-Gatepost-User`.
    pub header: bool,
}

impl SmtpIdentity {
    fn read(value: &ConfigValue<'_>) -> Option<SmtpIdentity> {
        let mut identity = SmtpIdentity::default();
        value.list(|value| {
            let word = value.word(&["xclient", "header"], |word| word)?;
            let chosen = if word == "xclient" { &mut identity.xclient } else { &mut identity.header };
            if std::mem::replace(chosen, true) {
                value.refuse(format!("'{word}' stands here twice"));
            }
            Some(())
        })?;
        Some(identity)
    }
}
