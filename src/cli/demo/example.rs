//! An account as it looks after some time: credentials of many programs, their last uses, and some activity.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::random_password::random_password;
use crate::domain::{Entry, Note, Permission, PermissionEdit, Permissions, PrincipalId, Username};
use crate::server::Gateway;
use crate::service::credentials::{Addition, Edit, Manager};
use crate::service::{Credentials, Origin};
use crate::state::store::{Authority, NewCredential, PrincipalUse, Store};

/// Programs with credentials: the name, the note, and the permissions.
const PROGRAMS: [(&str, &str, &str); 20] = [
    ("billing", "Invoices and reminders, from the accounting system", "email,api"),
    ("shop", "Order confirmations", "email"),
    ("newsletter", "Monthly newsletter; ask marketing before you change it", "email,api"),
    ("crm", "Synchronizes bounces and unsubscribes", "api"),
    ("support-desk", "Replies to tickets", "email"),
    ("warehouse", "Shipping notices", "email"),
    ("reports", "Weekly figures for the management", "api,web"),
    ("monitoring", "Alerts of the monitoring", "email"),
    ("backup", "Results of the nightly backup", "email"),
    ("printer", "Scans to mail", "email"),
    ("door-camera", "", "email"),
    ("wiki", "Notifications of changed pages", "email"),
    ("payroll", "Payslips; owned by HR", "email,api"),
    ("booking", "Confirmations and calendar files", "email,api"),
    ("survey", "", "api"),
    ("ci", "Build results", "email"),
    ("analytics", "Reads statistics every hour", "api"),
    ("dashboard", "Read-only screen in the office", "web"),
    ("partner", "For the agency; expires with the contract", "api"),
    ("archive", "Copies of all outgoing mail", "email,api"),
];

/// The credential that is added first.
const FIRST: &str = "api-of-the-shop";

/// The places in which each program runs.
const PLACES: [&str; 3] = ["prod", "staging", "test"];

/// The example account of a running demo.
pub(super) struct Example {
    manager: Manager,
    credentials: Credentials,
    store: Store,
}

impl Example {
    /// The example for an account.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn of(gateway: &Gateway, account: &str) -> Result<Example> {
        let credentials = gateway.credentials();
        let manager = credentials.operator(account, Origin::CommandLine).await?;
        Ok(Example { manager, credentials, store: gateway.store().clone() })
    }

    /// Adds the credentials, unless the account has been used already. One is added as any other; the rest have its hash, which saves
    /// seconds. Nobody knows the password, so that they can do nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(super) async fn fill(&self) -> Result<()> {
        if self.credentials.list(&self.manager, None, u32::MAX).await?.len() > Permission::ALL.len() {
            return Ok(());
        }
        let password = random_password()?;
        let addition = Addition { username: FIRST, password: password.as_bytes(), ..Addition::default() };
        self.credentials.add(&self.manager, addition).await?;
        let first = Username::parse(FIRST)?.canonical();
        let first = self.store.principal(&first).await?.context("it was just added")?;
        for (program, note, permissions) in PROGRAMS {
            for (nth, place) in PLACES.into_iter().enumerate() {
                let new = NewCredential {
                    name: Username::parse(&format!("{program}-{place}"))?,
                    hash: first.hash.clone(),
                    permissions: PermissionEdit::exactly(permissions.parse()?),
                    note: Note::parse(if nth < 2 { note } else { "" })?,
                };
                // No other process serves the demo's database.
                let _ = self.store.add_credential(first.account, Authority::Operator, &new).await?;
            }
        }
        self.note_uses().await
    }

    /// Writes the last uses of the credentials.
    async fn note_uses(&self) -> Result<()> {
        let there = self.credentials.list(&self.manager, None, u32::MAX).await?;
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let uses = there.iter().enumerate().filter_map(|(nth, credential)| {
            let (principal, entry) = (PrincipalId(credential.id.0), entry_of(credential.stored));
            Some(PrincipalUse {
                principal,
                address: address(nth),
                entry,
                used_at: now - age(credential.name.as_str(), nth)?,
            })
        });
        Ok(self.store.write_last_uses(&uses.collect::<Vec<_>>()).await?)
    }

    /// Does what people and programs do, so that the activity has something to show. `caller` is a login with `api` only.
    ///
    /// # Errors
    /// The API does not answer.
    pub(super) async fn be_busy(&self, api: SocketAddr, caller: &str) -> Result<()> {
        let wrong = [("shop-prod", 20), ("shop-prod", 20), ("backup-prod", 21)];
        for (name, host) in wrong {
            call(api, host, &format!("{name}:wrong-passw0rd"), "/api/stats.get.json").await?;
        }
        call(api, 22, caller, "/api/mail.send.json").await?;
        let narrowed = PermissionEdit::exactly(Permissions::only(Permission::Api));
        let edit = Edit { username: "partner-prod", permissions: narrowed, ..Edit::default() };
        // The account holder may have removed it.
        let _ = self.credentials.edit(&self.manager, edit).await;
        Ok(())
    }
}

/// The time since the last use, in seconds; `None` for a credential that was never used.
fn age(name: &str, nth: usize) -> Option<i64> {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    let spread = (nth as i64 * 7919) % 5000;
    match (name.rsplit('-').next(), nth % 4) {
        (Some("prod"), 3) => Some(DAY + spread * 20),
        (Some("prod"), _) => Some(60 + spread),
        (Some("staging"), _) => Some(HOUR + spread * 40),
        (Some("test"), 0) => Some(100 * DAY + spread * 500),
        (Some("test"), 1 | 2) => Some(6 * DAY + spread * 300),
        _ => None,
    }
}

/// An address of a documentation network.
fn address(nth: usize) -> IpAddr {
    let networks = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let [a, b, c] = networks[nth % networks.len()];
    Ipv4Addr::new(a, b, c, (10 + nth * 3 % 200) as u8).into()
}

fn entry_of(permissions: Permissions) -> Entry {
    if permissions.contains(Permission::Email) {
        Entry::Smtp
    } else if permissions.contains(Permission::Api) {
        Entry::Api
    } else {
        Entry::Web
    }
}

/// Calls the API with a login, from an address of loopback of its own, so that clients seem to be several.
async fn call(api: SocketAddr, host: u8, login: &str, path: &str) -> Result<()> {
    let socket = if api.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Other systems than Linux have only one.
    let _ = socket.bind(SocketAddr::from(([127, 0, 0, host], 0)));
    let mut stream = socket.connect(api).await?;
    let authorization = STANDARD.encode(login);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {api}\r\nAuthorization: Basic {authorization}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
