//! The section `[console]`: the entry with the pages for account holders and their credentials. It has no backends.

use super::listeners::Listeners;
use super::reader::ConfigTable;
use super::{HttpEntry, OwnPages, address};

/// The section `[console]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleEntry {
    /// The listeners, timeouts and pages; without routes and groups.
    pub http: HttpEntry,
}

impl ConsoleEntry {
    pub(super) fn read(table: ConfigTable<'_>, has_tls: bool, listeners: &mut Listeners) -> ConsoleEntry {
        let host = table.optional("host", |v| v.parsed(host));
        let pages = OwnPages::read_of_console(&table);
        if let (Some(host), Some(origin)) = (&host, &pages.public_origin)
            && origin.host() != host
        {
            table.refuse("host", format!("differs from public_origin: expected '{}'", origin.host()));
        }
        let http = HttpEntry::read_console(&table, has_tls, listeners, OwnPages { host, ..pages });
        table.finish();
        ConsoleEntry { http }
    }
}

/// Parses a host name or an address as browsers write it in `Host`, without a port.
fn host(text: &str) -> Result<String, String> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(text.to_owned());
    }
    address::host(text).map(|host| host.to_ascii_lowercase())
}
