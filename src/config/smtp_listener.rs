//! The listeners of `[smtp]`, each with the rules for its clients: `[[smtp.listener]]`, and the short forms `listen` and
//! `tls_listen`.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::address;
use super::listeners::Listeners;
use super::reader::{ConfigTable, ConfigValue};

/// The error of a listener that needs a certificate where there is none.
const TLS_MISSING: &str = "requires a section [tls] with certificate and private_key";
/// The error of a listener that requires TLS of its clients where there is no certificate.
const TLS_REQUIRED: &str = "TLS is required, but there is no section [tls]: add certificate and private_key, or set require_tls = false";

/// A listener of `[smtp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpListener {
    /// The key that it was read from: `smtp.listen`, `smtp.tls_listen` or `smtp.listener`.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The point where TLS begins.
    pub tls: SmtpListenerTls,
    /// The rules for its clients.
    pub rules: SmtpListenerRules,
}

impl SmtpListener {
    /// Reads all listeners of the section `[smtp]`.
    pub(super) fn read_all(
        smtp: &ConfigTable<'_>,
        has_tls: bool,
        addresses: &mut Listeners,
    ) -> Vec<SmtpListener> {
        let defaults = SmtpListenerRules::read(smtp, SmtpListenerRules::default());
        let are_named = smtp.is_filled("networks");
        let mut short = |key, whole_key, tls| {
            let read = |value: &ConfigValue<'_>| {
                let listener = SmtpListener {
                    key: whole_key,
                    address: addresses.read(value)?,
                    tls,
                    rules: defaults.clone(),
                };
                listener.check_exposure(value, are_named);
                Some(listener)
            };
            smtp.read(key, Vec::new(), |v| v.list(read))
        };
        let mut all = short("listen", "smtp.listen", SmtpListenerTls::StartTls);
        all.extend(short("tls_listen", "smtp.tls_listen", SmtpListenerTls::Implicit));
        let tables = smtp.tables("listener");
        let has_tables = smtp.is_filled("listener");
        if !smtp.is_filled("tls_listen") && !smtp.is_filled("listen") && !has_tables {
            smtp.refuse("listen", "no listener: set listen or tls_listen, or add [[smtp.listener]]");
        }
        if smtp.is_filled("tls_listen") && !has_tls {
            smtp.refuse("tls_listen", TLS_MISSING);
        } else if defaults.require_tls && !has_tls && (smtp.is_filled("listen") || !has_tables) {
            smtp.refuse("require_tls", TLS_REQUIRED);
        }
        let listeners = tables
            .iter()
            .filter_map(|table| SmtpListener::read(table, defaults.clone(), are_named, has_tls, addresses));
        all.extend(listeners);
        all
    }

    fn read(
        table: &ConfigTable<'_>,
        defaults: SmtpListenerRules,
        are_named: bool,
        has_tls: bool,
        addresses: &mut Listeners,
    ) -> Option<SmtpListener> {
        let tls = table.read("tls", SmtpListenerTls::StartTls, |v| {
            v.word(&SmtpListenerTls::ALL, SmtpListenerTls::as_str)
        });
        let rules = SmtpListenerRules::read(table, defaults);
        let are_named = table.value("networks").map_or(are_named, |_| table.is_filled("networks"));
        match tls {
            SmtpListenerTls::Implicit if !has_tls => table.refuse("tls", TLS_MISSING),
            SmtpListenerTls::StartTls if rules.require_tls && !has_tls => {
                table.refuse("require_tls", TLS_REQUIRED);
            }
            SmtpListenerTls::Never if rules.require_tls => {
                table.refuse(
                    "tls",
                    "without TLS nobody could log in: add require_tls = false, or use \"starttls\"",
                );
            }
            _ => {}
        }
        let listener = table.required("address", |value| {
            let address = addresses.read(value)?;
            let listener = SmtpListener { key: "smtp.listener", address, tls, rules };
            listener.check_exposure(value, are_named);
            Some(listener)
        });
        table.finish();
        listener
    }

    /// Returns true if clients may send their credentials unencrypted.
    pub fn allows_cleartext_login(&self) -> bool {
        self.tls != SmtpListenerTls::Implicit && !self.rules.require_tls
    }

    /// Notes an error if other machines can send credentials unencrypted, and the networks that may do so are not named.
    fn check_exposure(&self, value: &ConfigValue<'_>, are_named: bool) {
        let is_loopback = self.address.ip().to_canonical().is_loopback();
        if self.allows_cleartext_login() && !is_loopback && !are_named {
            value.refuse(format!(
                "{} would accept unencrypted passwords from every network: add networks = [\"192.168.7.0/24\"] with \
                 those that may connect, or set require_tls = true",
                self.address
            ));
        }
    }
}

/// The point where TLS begins on the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpListenerTls {
    /// At the command STARTTLS, which is offered if there is a certificate.
    StartTls,
    /// With the first byte.
    Implicit,
    /// Never. For devices that fail if STARTTLS is offered.
    Never,
}

impl SmtpListenerTls {
    /// All kinds.
    pub const ALL: [SmtpListenerTls; 3] =
        [SmtpListenerTls::StartTls, SmtpListenerTls::Implicit, SmtpListenerTls::Never];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            SmtpListenerTls::StartTls => "starttls",
            SmtpListenerTls::Implicit => "implicit",
            SmtpListenerTls::Never => "none",
        }
    }
}

/// The rules for the clients of a listener. Those of `[smtp]` are the defaults of each listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpListenerRules {
    /// True if AUTH is offered and accepted on encrypted connections only.
    pub require_tls: bool,
    /// True if connections from trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The treatment of line ends other than CR LF.
    pub bare_newline: BareNewline,
    /// The networks that may connect; empty for all.
    pub networks: Vec<IpNet>,
}

impl SmtpListenerRules {
    fn read(table: &ConfigTable<'_>, default: SmtpListenerRules) -> SmtpListenerRules {
        SmtpListenerRules {
            require_tls: table.read("require_tls", default.require_tls, |v| v.flag()),
            proxy_protocol: table.read("proxy_protocol", default.proxy_protocol, |v| v.flag()),
            bare_newline: table.read("bare_newline", default.bare_newline, |v| {
                v.word(&BareNewline::ALL, BareNewline::as_str)
            }),
            networks: table.read("networks", default.networks, |v| v.list(|v| v.parsed(address::network))),
        }
    }
}

impl Default for SmtpListenerRules {
    fn default() -> Self {
        SmtpListenerRules {
            require_tls: true,
            proxy_protocol: false,
            bare_newline: BareNewline::Refuse,
            networks: Vec::new(),
        }
    }
}

/// The treatment of line ends other than CR LF, in commands and in the content of DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// The command or message is refused.
    Refuse,
    /// Bare line feeds count as CR LF; in a message they become CR LF.
    Normalize,
}

impl BareNewline {
    /// All treatments.
    pub const ALL: [BareNewline; 2] = [BareNewline::Refuse, BareNewline::Normalize];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            BareNewline::Refuse => "refuse",
            BareNewline::Normalize => "normalize",
        }
    }
}
