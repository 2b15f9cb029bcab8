//! The load: wrk, with the Basic headers of many credentials in turn.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proc::Children;

/// How the line begins in which the script tells what came out.
const MARK: &str = "answers:";

/// Builds all requests beforehand, so that sending one costs wrk as little as possible.
const SCRIPT: &str = r#"
local requests = {}
local turn = 0
init = function(args)
  for i, header in ipairs(headers) do
    requests[i] = wrk.format("GET", "/v3/items?page=2", { ["Authorization"] = header, ["Accept"] = "application/json" })
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("MARK %d %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"#;

/// Name and password of one of the credentials.
pub fn credential(number: usize) -> (String, String) {
    (format!("mailer-{number}@example.com"), format!("secret-{number}-of-many"))
}

/// What came of one run.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Requests that were answered.
    pub requests: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Connections that broke, and answers with a status of 400 and up.
    pub failed: u64,
    /// Milliseconds until half of the answers were there.
    pub p50: f64,
    /// Milliseconds until 99 of 100 answers were there.
    pub p99: f64,
}

/// A load that can be put on any address.
pub struct Load {
    script: PathBuf,
    connections: u32,
}

impl Load {
    /// Writes the script for so many credentials to `scratch`.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn new(scratch: &Path, connections: u32, credentials: usize) -> Result<Load> {
        let mut text = String::from("local headers = {\n");
        for number in 0..credentials {
            let (name, password) = credential(number);
            writeln!(text, "  \"Basic {}\",", STANDARD.encode(format!("{name}:{password}")))?;
        }
        text.push_str("}\n");
        text.push_str(&SCRIPT.replace("MARK", MARK));
        let script = scratch.join("load.lua");
        std::fs::write(&script, text)?;
        Ok(Load { script, connections })
    }

    /// Asks `address` for so many seconds, from one thread.
    ///
    /// # Errors
    /// Where wrk can't be run, or nothing was answered.
    pub fn run(&self, address: SocketAddr, seconds: u32, children: &Children) -> Result<Answers> {
        let mut command = Command::new("wrk");
        command.arg("-t1").arg(format!("-c{}", self.connections)).arg(format!("-d{seconds}s"));
        command.arg("-s").arg(&self.script).arg(format!("http://{address}/"));
        let output = children.output(&mut command).context("is wrk installed? (apt-get install wrk)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().find_map(|line| line.strip_prefix(MARK));
        let told = told.with_context(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let figures: Vec<u64> = told.split_ascii_whitespace().filter_map(|f| f.parse().ok()).collect();
        let [requests, micros, failed, p50, p99] = figures[..] else { bail!("wrk told {told:?}") };
        if requests == 0 {
            bail!("{address} answered nothing");
        }
        Ok(Answers {
            requests,
            seconds: micros as f64 / 1e6,
            failed,
            p50: p50 as f64 / 1e3,
            p99: p99 as f64 / 1e3,
        })
    }
}
