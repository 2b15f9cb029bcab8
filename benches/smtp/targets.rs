//! What is compared: the sink, and what stands in front of it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::certificate::Certificate;
use super::load::credential;
use super::nginx;
use super::proc::{Children, free_address};

/// The cost of the hashes. All are checked before anything is measured, so it only makes the beginning quick.
const HASH_COST: u32 = 4;
/// More than there are connections.
const CREDENTIALS: usize = 64;
const ACCOUNT: &str = "acme";

/// A way to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Nothing in between; the CPU time is the sink's own.
    Direct,
    /// nginx's mail proxy: asks once a session.
    Nginx,
    /// Gatepost: every message is decided.
    Gatepost,
}

impl Kind {
    /// All, in the order of their turns.
    pub const ALL: [Kind; 3] = [Kind::Direct, Kind::Nginx, Kind::Gatepost];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "smtp-sink itself",
            Kind::Nginx => "nginx, mail proxy",
            Kind::Gatepost => "gatepost",
        }
    }
}

/// One that runs.
pub struct Target {
    /// Which one.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// The process that does the work.
    pub process: u32,
}

impl Target {
    /// Starts one in front of `sink`, and waits until it listens.
    ///
    /// # Errors
    /// Where it can't be started or prepared.
    pub fn start(
        kind: Kind,
        scratch: &Path,
        children: &Children,
        sink: SocketAddr,
        certificate: &Certificate,
        gatepost: &Path,
    ) -> Result<Target> {
        let address = free_address()?;
        let process = match kind {
            Kind::Direct => anyhow::bail!("the sink runs already"),
            Kind::Nginx => nginx::start(scratch, children, address, sink, certificate)?,
            Kind::Gatepost => start_gatepost(gatepost, scratch, children, address, sink, certificate)?,
        };
        Ok(Target { kind, address, process })
    }
}

/// Starts Postfix's `smtp-sink`. Gives its process id.
///
/// # Errors
/// Where it isn't installed.
pub fn start_sink(children: &Children) -> Result<(SocketAddr, u32)> {
    let address = free_address()?;
    let mut command = Command::new("/usr/sbin/smtp-sink");
    if is_root() {
        command.args(["-u", "nobody"]);
    }
    command.args(["-m", "2000", &address.to_string(), "1024"]);
    let process = children
        .serve("sink", &mut command, address)
        .context("is smtp-sink installed? (apt-get install postfix)")?;
    Ok((address, process))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn start_gatepost(
    program: &Path,
    scratch: &Path,
    children: &Children,
    address: SocketAddr,
    sink: SocketAddr,
    certificate: &Certificate,
) -> Result<u32> {
    let folder = scratch.join("gatepost");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("gatepost.toml");
    let configuration = format!(
        "[store]\nurl = \"sqlite://{store}\"\n\
         [server]\nthreads = 1\n\
         [log]\nlevel = \"warn\"\n\
         [tls]\ncertificate = \"{chain}\"\nprivate_key = \"{key}\"\n\
         [auth]\nbcrypt_cost = {HASH_COST}\nthrottle = false\n\
         [smtp]\nlisten = [\"{address}\"]\nrequire_tls = false\nupstreams = [\"smtp://{sink}\"]\n\
         max_connections_per_source = 10000\n",
        store = folder.join("gatepost.db").display(),
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    );
    std::fs::write(&file, configuration)?;
    let run = |arguments: &[&str], input: &str| {
        let mut command = Command::new(program);
        command.args(arguments).arg("--config").arg(&file);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        if let Some(mut standard) = child.stdin.take() {
            writeln!(standard, "{input}")?;
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(&["account", "add", ACCOUNT, "--rights", "email", "--password-stdin"], "only-for-load-1")?;
    for number in 0..CREDENTIALS {
        let (name, password) = credential(number);
        run(&["credential", "add", &name, "--account", ACCOUNT, "--password-stdin"], &password)?;
    }
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&file);
    children.serve("gatepost", &mut command, address)
}
