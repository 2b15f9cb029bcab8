//! The load over HTTP/2: h2load of nghttp2, with the Basic header of one credential.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::proc::Children;
use super::shapes::basic;
use super::wrk::{Answers, PATH};

/// Connections, and streams of each at once.
pub const CONNECTIONS: u32 = 16;
/// See above.
pub const STREAMS: u32 = 16;

/// Asks `address` for so many seconds, from one thread.
///
/// # Errors
/// Where h2load can't be run, or nothing was answered.
pub fn run(address: SocketAddr, seconds: u32, children: &Children) -> Result<Answers> {
    let mut command = Command::new("h2load");
    command.arg(format!("-c{CONNECTIONS}")).arg(format!("-m{STREAMS}")).arg(format!("-D{seconds}"));
    command.arg("-H").arg(format!("authorization: {}", basic(0))).arg("-H").arg("accept: application/json");
    command.arg(format!("https://{address}{PATH}"));
    let output =
        children.output(&mut command).context("is h2load installed? (apt-get install nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let unclear = || format!("h2load: {text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(text.contains("Application protocol: h2"), "no HTTP/2: {}", unclear());
    let good = count(&text, "status codes: ", " 2xx").with_context(unclear)?;
    let done = count(&text, "requests: ", " done").with_context(unclear)?;
    ensure!(good > 0, "{address} answered nothing: {}", unclear());
    // h2load tells no quantiles.
    let (p50, p99) = (f64::NAN, f64::NAN);
    Ok(Answers { requests: good, seconds: f64::from(seconds), failed: done.saturating_sub(good), p50, p99 })
}

/// The number before `unit` in the line that begins with `line`.
fn count(text: &str, line: &str, unit: &str) -> Option<u64> {
    let line = text.lines().find_map(|text| text.strip_prefix(line))?;
    line.split(", ").find_map(|part| part.strip_suffix(unit))?.parse().ok()
}
