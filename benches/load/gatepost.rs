//! Gatepost as it is measured: its configuration, an account, its credentials, its metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::nginx::Listen;
use super::proc::Children;
use super::shapes::credential;
use super::{CREDENTIALS, certificate};

/// The cost of the hashes. All are checked before anything is measured, so it only makes the beginning quick.
pub const HASH_COST: u32 = 4;

/// The account holder.
pub const ACCOUNT: &str = "acme";
/// The password of the account holder.
pub const PASSWORD: &str = "only-for-load-1";

/// Starts a gateway with a store of its own and all credentials in it. Gives its process id.
///
/// # Errors
/// Where it doesn't start, or an account or a credential can't be added.
pub fn start(
    program: &Path,
    scratch: &Path,
    children: &Children,
    listen: &Listen,
    ops: SocketAddr,
    backend: SocketAddr,
) -> Result<u32> {
    let folder = scratch.join("gatepost");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("gatepost.toml");
    let Listen { clear: address, tls, web } = *listen;
    let (certificate, key) = certificate::files(scratch);
    let configuration = format!(
        "[store]\nurl = \"sqlite://{store}\"\n\
         [server]\nthreads = 1\n\
         [auth]\nbcrypt_cost = {HASH_COST}\nthrottle = false\n\
         [tls]\ncertificate = \"{certificate}\"\nprivate_key = \"{key}\"\n\
         [api]\nlisten = [\"{address}\"]\ntls_listen = [\"{tls}\"]\nupstreams = [\"http://{backend}\"]\n\
         [web]\nlisten = [\"{web}\"]\nupstreams = [\"http://{backend}\"]\n\
         [ops]\nlisten = \"{ops}\"\n",
        store = folder.join("gatepost.db").display(),
        certificate = certificate.display(),
        key = key.display()
    );
    std::fs::write(&file, configuration)?;
    add_account(program, &file)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(&file);
    let process = children.serve("gatepost", &mut command, address)?;
    add_credentials(address)?;
    Ok(process)
}

/// Adds the account, and with it the database.
///
/// # Errors
/// Where the command fails.
pub fn add_account(program: &Path, file: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["account", "add", ACCOUNT, "--rights", "email,api,web", "--password-stdin", "--config"]);
    command.arg(file).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("can't start {}", program.display()))?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{PASSWORD}")?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "account add: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Adds them by the management API, a few at once over one connection.
fn add_credentials(address: SocketAddr) -> Result<()> {
    let mut connection = connect(address)?;
    for number in 0..CREDENTIALS {
        let (name, password) = credential(number);
        let body = format!(
            "api_user={ACCOUNT}&api_key={PASSWORD}&username={}&password={password}",
            name.replace('@', "%40")
        );
        write!(
            connection,
            "POST /api/credentials/add.json HTTP/1.1\r\nHost: {address}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let answer = read_answer(&mut connection)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "adding {name}: {answer}");
    }
    Ok(())
}

/// Lookups in the cache of decisions so far: the result, and how many.
///
/// # Errors
/// Where the metrics can't be read.
pub fn cache_lookups(ops: SocketAddr) -> Result<Vec<(String, f64)>> {
    let mut connection = connect(ops)?;
    write!(connection, "GET /metrics HTTP/1.1\r\nHost: {ops}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "/metrics: {}", answer.lines().next().unwrap_or_default());
    let parse = |line: &str| {
        let (result, count) =
            line.strip_prefix("gatepost_cache_lookups_total{result=\"")?.split_once("\"} ")?;
        Some((result.to_owned(), count.trim().parse().ok()?))
    };
    Ok(answer.lines().filter_map(parse).collect())
}

/// Connects to a gateway.
///
/// # Errors
/// Where it doesn't listen.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(connection)
}

/// Reads one answer that tells its length.
///
/// # Errors
/// Where the connection ends before it is complete.
pub fn read_answer(connection: &mut TcpStream) -> Result<String> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = connection.read(&mut piece)?;
        ensure!(count > 0, "the connection was closed: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.context("an answer without a length")? {
            return Ok(text);
        }
    }
}
