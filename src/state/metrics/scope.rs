//! The parts of a gateway that can count, by its configuration: their series exist from the start, and no others.

use crate::config::{Config, HttpEntry, StoreUrl};
use crate::domain::{Entry, Permission, Permissions};

/// The parts of a gateway that can count.
#[derive(Clone, Debug)]
pub struct MetricsScope {
    /// The configured entries.
    pub entries: Vec<Entry>,
    /// The permissions that a decision of an entry may be about; `None` for the management of credentials.
    pub decisions: Vec<(Entry, Option<Permission>)>,
    /// True if checks are throttled.
    pub throttles: bool,
    /// True if the gateway is one node of several on PostgreSQL.
    pub is_node: bool,
}

impl MetricsScope {
    /// The scope of a gateway in which everything is configured.
    pub fn everything() -> MetricsScope {
        let mut decisions =
            vec![(Entry::Smtp, Some(Permission::Email)), (Entry::Api, None), (Entry::Console, None)];
        for entry in [Entry::Api, Entry::Web] {
            decisions.extend(Permission::ALL.map(|permission| (entry, Some(permission))));
        }
        MetricsScope { entries: Entry::ALL.to_vec(), decisions, throttles: true, is_node: true }
    }

    /// The scope of a gateway with this configuration.
    pub fn of(config: &Config) -> MetricsScope {
        let mail = config.smtp.as_ref().map(|_| Entry::Smtp);
        let entries = config.http_entries().map(|settings| settings.entry).chain(mail).collect();
        let of_http = |settings: &HttpEntry| {
            let entry = settings.entry;
            // The console asks who somebody is. What a credential may do there depends on no permission.
            let is_console = entry == Entry::Console;
            let permissions = if is_console { Permissions::NONE } else { settings.permissions() };
            let manages = (is_console || entry == Entry::Api).then_some((entry, None));
            let needed: Vec<_> = permissions.iter().map(|permission| (entry, Some(permission))).collect();
            needed.into_iter().chain(manages)
        };
        let mail = mail.map(|entry| (entry, Some(Permission::Email)));
        let decisions = config.http_entries().flat_map(of_http).chain(mail).collect();
        let is_node = !matches!(config.store.url, StoreUrl::Sqlite(_));
        MetricsScope { entries, decisions, throttles: config.auth.throttle, is_node }
    }

    /// Returns true if the entry is configured.
    pub fn has(&self, entry: Entry) -> bool {
        self.entries.contains(&entry)
    }

    /// Returns true if changes can be made through an entry: of credentials, or of sessions.
    pub fn makes_changes(&self) -> bool {
        [Entry::Api, Entry::Web, Entry::Console].into_iter().any(|entry| self.has(entry))
    }
}
