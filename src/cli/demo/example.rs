//! An account as it looks after some time: credentials of many programs, their last uses, and some activity.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::{ACCOUNT, generated_password};
use crate::domain::{Entry, Permission, PermissionEdit, Permissions, PrincipalId};
use crate::server::Gateway;
use crate::service::credentials::{Addition, Edit, Manager};
use crate::service::{Credentials, Origin};
use crate::state::store::{PrincipalUse, Store};

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

/// The places in which each program runs.
const PLACES: [&str; 3] = ["prod", "staging", "test"];

/// The example, which takes shape while the demo is running.
pub(super) struct Example {
    credentials: Credentials,
    store: Store,
    api: SocketAddr,
    /// The login of the credential with `api` only.
    caller: String,
}

impl Example {
    /// The example for the account of the demo.
    pub(super) fn new(gateway: &Gateway, api: SocketAddr, caller: String) -> Example {
        Example { credentials: gateway.credentials(), store: gateway.store().clone(), api, caller }
    }

    /// Adds the credentials at the first start, and does at every start what shows as activity. The demo works without it.
    pub(super) async fn play(self) {
        if let Err(error) = self.try_play().await {
            tracing::warn!(error = format!("{error:#}"), "the example of the demo is incomplete");
        }
    }

    async fn try_play(&self) -> Result<()> {
        let manager = self.credentials.operator(ACCOUNT, Origin::CommandLine).await?;
        let there = self.credentials.list(&manager, None, u32::MAX).await?;
        if there.len() <= Permission::ALL.len() {
            self.fill(&manager).await?;
        }
        self.be_busy(&manager).await
    }

    /// Adds the credentials. Nobody knows their passwords, so that they can do nothing.
    async fn fill(&self, manager: &Manager) -> Result<()> {
        for (program, note, permissions) in PROGRAMS {
            for place in PLACES {
                let (name, password) = (format!("{program}-{place}"), generated_password()?);
                let addition = Addition {
                    username: &name,
                    password: password.as_bytes(),
                    permissions: PermissionEdit::exactly(permissions.parse()?),
                    note: if place == "test" { "" } else { note },
                };
                self.credentials.add(manager, addition).await?;
            }
        }
        let there = self.credentials.list(manager, None, u32::MAX).await?;
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let uses = there.iter().enumerate().filter_map(|(nth, credential)| {
            let (principal, entry) = (PrincipalId(credential.id.0), entry_of(credential.stored));
            Some(PrincipalUse { principal, address: address(nth), entry, used_at: now - age(nth)? })
        });
        Ok(self.store.write_uses(&uses.collect::<Vec<_>>()).await?)
    }

    /// Does what people and programs do, so that the activity has something to show.
    async fn be_busy(&self, manager: &Manager) -> Result<()> {
        let wrong = ["shop-prod:wrong-passw0rd", "shop-prod:wrong-passw0rd", "backup-prod:old-passw0rd"];
        for (nth, login) in wrong.into_iter().enumerate() {
            call(self.api, loopback(nth), login, "/api/stats.get.json").await?;
        }
        call(self.api, loopback(7), &self.caller, "/api/mail.send.json").await?;
        let narrowed = PermissionEdit::exactly(Permissions::only(Permission::Api));
        let edit = Edit { username: "partner-prod", permissions: narrowed, ..Edit::default() };
        // The account holder may have removed it.
        let _ = self.credentials.edit(manager, edit).await;
        Ok(())
    }
}

/// The time since the last use, in seconds; `None` for a credential that was never used.
fn age(nth: usize) -> Option<i64> {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    let spread = (nth as i64 * 7919) % 5000;
    match nth % 12 {
        0 | 5 => Some(60 + spread),
        1 | 2 | 8 => Some(HOUR + spread * 6),
        3 | 9 | 10 => Some(DAY + spread * 60),
        4 | 7 => Some(6 * DAY + spread * 300),
        6 => Some(100 * DAY + spread * 600),
        _ => None,
    }
}

/// An address of a documentation network.
fn address(nth: usize) -> IpAddr {
    let networks = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];
    let [a, b, c] = networks[nth % networks.len()];
    Ipv4Addr::new(a, b, c, (10 + nth * 3 % 200) as u8).into()
}

/// An address of this machine, so that clients seem to be several.
fn loopback(nth: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 20 + nth as u8).into()
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

/// Calls the API with a login, from that address.
async fn call(api: SocketAddr, from: IpAddr, login: &str, path: &str) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Other systems than Linux have only one address of loopback.
    let _ = socket.bind(SocketAddr::new(from, 0));
    let mut stream = socket.connect(api).await?;
    let authorization = STANDARD.encode(login);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {api}\r\nAuthorization: Basic {authorization}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
