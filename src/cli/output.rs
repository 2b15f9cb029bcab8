//! Standard output: listings (a table or one JSON array), single lines, and texts.

use std::io::{self, Write};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::{Credential, Permission, Permissions, Principal, PrincipalKind, Session};
use crate::server::complain;
use crate::state::cluster::{ClusterNodes, FleetNode, SocketNode};
use crate::state::store::Account;

/// The number of items in a page. Listings are read and written in pages, whatever their length.
pub const PAGE: u32 = 500;

/// A set of permissions as the API shows it: all three keys, 0 or 1.
#[derive(Serialize)]
struct Bits {
    email: u8,
    api: u8,
    web: u8,
}

#[derive(Serialize)]
struct AccountItem<'a> {
    id: i64,
    name: &'a str,
    rights: Bits,
    active: bool,
    credentials: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct CredentialItem<'a> {
    id: i64,
    name: &'a str,
    permissions: Bits,
    stored_permissions: Bits,
    account_active: bool,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct PrincipalItem<'a> {
    name: &'a str,
    kind: &'a str,
    account: &'a str,
    permissions: Bits,
    stored_permissions: Bits,
    account_rights: Bits,
    account_active: bool,
}

#[derive(Serialize)]
struct SessionItem<'a> {
    id: i64,
    entry: &'a str,
    created_at: String,
    used_at: String,
    ends_at: String,
    source: String,
    browser: &'a str,
}

#[derive(Serialize)]
struct SocketItem<'a> {
    id: &'a str,
    pid: Option<u32>,
    answers: bool,
}

#[derive(Serialize)]
struct NodeItem<'a> {
    id: String,
    version: &'a str,
    era: &'a str,
    beat_age_seconds: f64,
    applied: u64,
    lag: u64,
    settled: bool,
}

/// A listing in progress.
pub struct Listing<W> {
    out: W,
    json: bool,
    first: bool,
}

impl<W: Write> Listing<W> {
    /// Begins a listing; `titles` is the first line of the table.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn begin(mut out: W, json: bool, titles: &str) -> io::Result<Listing<W>> {
        if json {
            write!(out, "[")?
        } else {
            writeln!(out, "{titles}")?
        }
        Ok(Listing { out, json, first: true })
    }

    /// Begins a listing of accounts.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn of_accounts(out: W, json: bool) -> io::Result<Listing<W>> {
        let titles = format!("{:<32} {:<14} {:<9} {:>11}  ADDED", "NAME", "RIGHTS", "STATE", "CREDENTIALS");
        Listing::begin(out, json, &titles)
    }

    /// Begins a listing of credentials.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn of_credentials(out: W, json: bool) -> io::Result<Listing<W>> {
        let titles = format!(
            "{:>8}  {:<32} {:<14} {:<14} {:<9} {:<20} CHANGED",
            "ID", "NAME", "PERMISSIONS", "STORED", "ACCOUNT", "ADDED"
        );
        Listing::begin(out, json, &titles)
    }

    /// Begins a listing of sessions.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn of_sessions(out: W, json: bool) -> io::Result<Listing<W>> {
        let titles = format!(
            "{:>8}  {:<8} {:<20} {:<20} {:<20} {:<24} BROWSER",
            "ID", "ENTRY", "LOGIN", "LAST USE", "END", "SOURCE"
        );
        Listing::begin(out, json, &titles)
    }

    /// Writes a session.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn session(&mut self, session: &Session) -> io::Result<()> {
        let (id, entry, browser) = (session.id.0, session.entry.as_str(), session.browser.as_str());
        let [created_at, used_at, ends_at] = [session.created_at, session.used_at, session.ends_at].map(time);
        let source = session.source.to_string();
        if !self.json {
            return writeln!(
                self.out,
                "{id:>8}  {entry:<8} {created_at:<20} {used_at:<20} {ends_at:<20} {source:<24} {browser}"
            );
        }
        self.item(&SessionItem { id, entry, created_at, used_at, ends_at, source, browser })
    }

    /// Begins a listing of gateways.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn of_nodes(out: W, json: bool, nodes: &ClusterNodes) -> io::Result<Listing<W>> {
        let titles = match nodes {
            ClusterNodes::Sockets(_) => format!("{:<16} {:>8}  STATE", "ID", "PID"),
            ClusterNodes::Fleet(_) => {
                format!(
                    "{:<16} {:<10} {:>7} {:>12} {:>8} {:<8} ERA",
                    "ID", "VERSION", "BEAT", "APPLIED", "LAG", "SETTLED"
                )
            }
        };
        Listing::begin(out, json, &titles)
    }

    /// Writes a gateway on a SQLite file.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn socket(&mut self, node: &SocketNode) -> io::Result<()> {
        let (id, pid, answers) = (node.id.as_str(), node.pid, node.answers);
        if !self.json {
            let state = if answers { "answers" } else { "silent" };
            let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
            return writeln!(self.out, "{id:<16} {pid:>8}  {state}");
        }
        self.item(&SocketItem { id, pid, answers })
    }

    /// Writes a gateway on PostgreSQL.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn node(&mut self, node: &FleetNode) -> io::Result<()> {
        let FleetNode { id, version, era, beat_age, applied, lag, settled } = node;
        let (id, age) = (id.to_string(), beat_age.as_secs_f64());
        if !self.json {
            let settled = if *settled { "yes" } else { "no" };
            return writeln!(
                self.out,
                "{id:<16} {version:<10} {age:>6.1}s {applied:>12} {lag:>8} {settled:<8} {era}"
            );
        }
        self.item(&NodeItem {
            id,
            version,
            era,
            beat_age_seconds: (age * 1000.0).round() / 1000.0,
            applied: *applied,
            lag: *lag,
            settled: *settled,
        })
    }

    /// Writes an account.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn account(&mut self, account: &Account) -> io::Result<()> {
        let (created_at, updated_at) = (time(account.created_at), time(account.updated_at));
        if !self.json {
            let state = state(account.active);
            let (name, rights, count) = (account.name.as_str(), account.rights.as_str(), account.credentials);
            return writeln!(self.out, "{name:<32} {rights:<14} {state:<9} {count:>11}  {created_at}");
        }
        self.item(&AccountItem {
            id: account.id.0,
            name: account.name.as_str(),
            rights: bits(account.rights),
            active: account.active,
            credentials: account.credentials,
            created_at,
            updated_at,
        })
    }

    /// Writes a credential.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn credential(&mut self, credential: &Credential) -> io::Result<()> {
        let (created_at, updated_at) = (time(credential.created_at), time(credential.updated_at));
        if !self.json {
            let (id, name) = (credential.id.0, credential.name.as_str());
            let (permissions, stored) = (credential.effective.as_str(), credential.stored.as_str());
            let state = state(credential.active);
            return writeln!(
                self.out,
                "{id:>8}  {name:<32} {permissions:<14} {stored:<14} {state:<9} {created_at:<20} {updated_at}"
            );
        }
        self.item(&CredentialItem {
            id: credential.id.0,
            name: credential.name.as_str(),
            permissions: bits(credential.effective),
            stored_permissions: bits(credential.stored),
            account_active: credential.active,
            created_at,
            updated_at,
        })
    }

    /// Ends the listing.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "]")?;
        }
        self.out.flush()
    }

    fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        if !std::mem::take(&mut self.first) {
            writeln!(self.out, ",")?;
        }
        serde_json::to_writer(&mut self.out, item).map_err(io::Error::from)
    }
}

/// Writes one account holder or credential: a table of one row, or a JSON object.
///
/// # Errors
/// `out` cannot be written.
pub fn write_principal(mut out: impl Write, json: bool, principal: &Principal) -> io::Result<()> {
    let kind = match principal.kind {
        PrincipalKind::Holder => "account",
        PrincipalKind::Credential(_) => "credential",
    };
    let (name, account) = (principal.name.as_str(), principal.account_name.as_str());
    if json {
        let item = PrincipalItem {
            name,
            kind,
            account,
            permissions: bits(principal.effective()),
            stored_permissions: bits(principal.bits),
            account_rights: bits(principal.rights),
            account_active: principal.active,
        };
        serde_json::to_writer(&mut out, &item).map_err(io::Error::from)?;
        return writeln!(out);
    }
    let titles = ["NAME", "KIND", "ACCOUNT", "STATE", "PERMISSIONS", "STORED"];
    let (effective, state) = (principal.effective(), state(principal.active));
    for [name, kind, account, state, permissions, stored] in
        [titles, [name, kind, account, state, effective.as_str(), principal.bits.as_str()]]
    {
        writeln!(out, "{name:<32} {kind:<10} {account:<32} {state:<9} {permissions:<14} {stored}")?;
    }
    Ok(())
}

/// Prints one line. If it cannot be written, the command has succeeded all the same; the error goes to standard error.
pub fn say(line: &str) {
    if let Err(error) = unless_broken(writeln!(io::stdout().lock(), "{line}")) {
        complain(&format!("gatepost: standard output: {error}"));
    }
}

/// Prints a text. A reader that went away is not an error.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_text(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_broken(out.write_all(text).and_then(|()| out.flush()))
}

/// Turns the error of a reader that went away into success.
///
/// # Errors
/// All other errors.
pub fn unless_broken(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The word for the state of an account.
const fn state(active: bool) -> &'static str {
    if active { "active" } else { "suspended" }
}

fn bits(set: Permissions) -> Bits {
    let bit = |permission| u8::from(set.contains(permission));
    Bits { email: bit(Permission::Email), api: bit(Permission::Api), web: bit(Permission::Web) }
}

fn time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountId, CredentialId, Username};

    fn account() -> Account {
        Account {
            id: AccountId(1),
            name: Username::parse("Holder").unwrap(),
            rights: "email,web".parse().unwrap(),
            active: false,
            credentials: 3,
            created_at: 1_358_787_121,
            updated_at: 1_358_787_122,
        }
    }

    #[test]
    fn accounts_as_json() {
        let mut out = Vec::new();
        let mut listing = Listing::of_accounts(&mut out, true).unwrap();
        listing.account(&account()).unwrap();
        listing.account(&account()).unwrap();
        listing.end().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({
            "id": 1, "name": "Holder", "rights": {"email": 1, "api": 0, "web": 1}, "active": false,
            "credentials": 3, "created_at": "2013-01-21T16:52:01Z", "updated_at": "2013-01-21T16:52:02Z",
        });
        assert_eq!(value, serde_json::json!([expected, expected]));
    }

    #[test]
    fn nothing_as_json_is_an_empty_array() {
        let mut out = Vec::new();
        Listing::of_credentials(&mut out, true).unwrap().end().unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn tables_are_one_line_for_each() {
        let mut out = Vec::new();
        let mut listing = Listing::of_credentials(&mut out, false).unwrap();
        let credential = Credential {
            id: CredentialId(4),
            name: Username::parse("john").unwrap(),
            stored: "email,web".parse().unwrap(),
            effective: Permissions::NONE,
            active: false,
            created_at: 0,
            updated_at: 0,
        };
        listing.credential(&credential).unwrap();
        listing.end().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2);
        for word in ["john", "none", "email,web", "suspended"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
