//! The load over HTTP/1.1: wrk, with many credentials in turn.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::h2load;
use super::proc::Children;
use super::shapes::{self, BOUNDARY, Shape};
use anyhow::{Context, Result, bail};

/// The target of a GET.
pub const PATH: &str = "/v3/items?page=2";

/// How the line begins in which the script tells what came out.
const MARK: &str = "answers:";

/// Builds all requests beforehand, so that sending one costs wrk as little as possible.
const SCRIPT: &str = r#"
local requests = {}
local turn = 0
init = function(args)
  for i, each in ipairs(each) do
    FORMAT
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
    shape: Shape,
    script: PathBuf,
    connections: u32,
}

impl Load {
    /// Writes the script for so many credentials to `scratch`. Over HTTP/2 there is none. `cookies` are those of their sessions.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn new(
        shape: Shape,
        scratch: &Path,
        connections: u32,
        credentials: usize,
        cookies: &[String],
    ) -> Result<Load> {
        let post = |path: &str, kind: &str, body: &str| {
            format!("wrk.format(\"POST\", \"{path}\", {{ [\"Content-Type\"] = \"{kind}\" }}, {body})")
        };
        let mut text = String::new();
        let get = |field: &str| {
            let fields = format!("{{ [\"{field}\"] = each, [\"Accept\"] = \"application/json\" }}");
            format!("wrk.format(\"GET\", \"{PATH}\", {fields})")
        };
        let of_session = |number: usize| cookies[number].clone();
        let (each, format): (&dyn Fn(usize) -> String, _) = match shape {
            Shape::Get | Shape::Tls | Shape::H2 => (&shapes::basic, get("Authorization")),
            Shape::Cookie => (&of_session, get("Cookie")),
            Shape::Post => {
                (&shapes::form, post("/api/mail.send.json", "application/x-www-form-urlencoded", "each"))
            }
            Shape::Upload => {
                writeln!(text, "local start = {}", quoted(&shapes::upload_start()))?;
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                (&shapes::upload_end, post("/api/mail.send.json", &kind, "start .. each"))
            }
        };
        text.push_str("local each = {\n");
        for number in 0..shape.credentials(credentials) {
            writeln!(text, "  {},", quoted(&each(number)))?;
        }
        text.push_str("}\n");
        text.push_str(&SCRIPT.replace("MARK", MARK).replace("FORMAT", &format!("requests[i] = {format}")));
        let script = scratch.join(format!("load-{shape:?}.lua"));
        std::fs::write(&script, text)?;
        Ok(Load { shape, script, connections })
    }

    /// The shape of its requests.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Asks `address` for so many seconds, from one thread.
    ///
    /// # Errors
    /// Where wrk can't be run, or nothing was answered.
    pub fn run(&self, address: SocketAddr, seconds: u32, children: &Children) -> Result<Answers> {
        if self.shape == Shape::H2 {
            return h2load::run(address, seconds, children);
        }
        let mut command = Command::new("wrk");
        command.arg("-t1").arg(format!("-c{}", self.connections)).arg(format!("-d{seconds}s"));
        command.arg("-s").arg(&self.script).arg(format!("{}://{address}/", self.shape.scheme()));
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

/// A string of Lua.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
