//! What is compared.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use super::nginx::Listen;
use super::proc::{Children, free_address};
use super::{gatepost, nginx};

/// A way to have requests proxied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// nginx that proxies and asks nobody.
    Plain,
    /// nginx with `auth_request`, whose answers are cached for each `Authorization`.
    Auth,
    /// pingora-proxy that does nothing but proxying.
    Bare,
    /// Gatepost: every request is decided.
    Gatepost,
    /// The same Gatepost, asked for the API by Basic, to compare requests of browsers with.
    Basic,
}

impl Kind {
    /// All, in the order of their turns.
    pub const ALL: [Kind; 5] = [Kind::Plain, Kind::Auth, Kind::Bare, Kind::Gatepost, Kind::Basic];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Plain => "nginx, proxy only",
            Kind::Auth => "nginx, auth_request, cached",
            Kind::Bare => "pingora-proxy, proxy only",
            Kind::Gatepost => "gatepost, authorization on",
            Kind::Basic => "gatepost, API by Basic",
        }
    }
}

/// One that runs.
pub struct Target {
    /// Which one.
    pub kind: Kind,
    /// Where it listens. The bare proxy has no TLS.
    pub listen: Listen,
    /// The process that does the work.
    pub process: u32,
    /// Where its metrics are, if it has any.
    pub metrics: Option<SocketAddr>,
}

impl Target {
    /// Starts one in front of `backend`, and waits until it listens.
    ///
    /// # Errors
    /// Where it can't be started or prepared.
    pub fn start(
        kind: Kind,
        scratch: &Path,
        children: &Children,
        backend: SocketAddr,
        gatepost: &Path,
    ) -> Result<Target> {
        let listen = Listen { clear: free_address()?, tls: free_address()?, web: free_address()? };
        let mut metrics = None;
        let process = match kind {
            Kind::Plain => nginx::start_plain(scratch, children, &listen, backend)?,
            Kind::Auth => nginx::start_auth(scratch, children, &listen, backend)?,
            Kind::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--bare", &listen.clear.to_string(), &backend.to_string()]);
                children.serve("bare", &mut command, listen.clear)?
            }
            Kind::Gatepost | Kind::Basic => {
                let ops = free_address()?;
                metrics = Some(ops);
                gatepost::start(gatepost, scratch, children, &listen, ops, backend)?
            }
        };
        Ok(Target { kind, listen, process, metrics })
    }

    /// Returns the same process as a target of another kind.
    pub fn also(&self, kind: Kind) -> Target {
        Target { kind, listen: self.listen, process: self.process, metrics: None }
    }
}
