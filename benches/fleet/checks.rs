//! Decisions that the cache answers: how many one, two and three nodes make, and what one costs on either database.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::Gateway;
use crate::gateways::{Holder, PASSWORD};
use crate::measure::Spread;
use crate::proc::{CpuTime, cpu_time};
use crate::report::{Report, heading, line};

/// Credentials that take turns.
const CREDENTIALS: usize = 1000;
const CONNECTIONS: usize = 32;
const SECONDS: u64 = 2;
/// Turns of each number of nodes.
const TURNS: usize = 3;
/// Turns of either database.
const PAIRS: usize = 20;
/// The most CPU time that a request may need on PostgreSQL, relative to SQLite. All of its time is counted exactly. The part in user
/// space is sampled a hundred times a second, which cannot tell two percent in these turns.
const MOST: f64 = 1.02;

/// The line of the script that tells what came out.
const MARK: &str = "answers:";
const SCRIPT: &str = r#"
local requests, turn = {}, 0
init = function(args)
  for i, login in ipairs(logins) do
    requests[i] = wrk.format("GET", "/v3/items?page=2", { ["Authorization"] = login })
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("answers: %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"#;

/// The load: wrk with all credentials in turn.
pub struct Load {
    script: PathBuf,
}

impl Load {
    /// Writes its script.
    pub fn new(scratch: &Path) -> Load {
        let mut text = "local logins = {\n".to_owned();
        for number in 0..CREDENTIALS {
            let login = STANDARD.encode(format!("load{number}:{PASSWORD}"));
            writeln!(text, "  \"Basic {login}\",").unwrap();
        }
        text += "}\n";
        text += SCRIPT;
        let script = scratch.join("load.lua");
        std::fs::write(&script, text).unwrap();
        Load { script }
    }

    /// Adds the credentials.
    pub fn prepare(&self, gateway: &Gateway) {
        let mut holder = Holder::at(gateway);
        for number in 0..CREDENTIALS {
            holder.add(&format!("load{number}"));
        }
    }

    /// Loads a gateway. Returns the requests that it answered, and how many that is in a second.
    pub fn run(&self, address: SocketAddr) -> (f64, f64) {
        Running::start(self, address).finish()
    }
}

/// wrk that runs.
struct Running(Child);

impl Running {
    fn start(load: &Load, address: SocketAddr) -> Running {
        let mut command = Command::new("wrk");
        command.arg("-t1").arg(format!("-c{CONNECTIONS}")).arg(format!("-d{SECONDS}s"));
        command.arg("-s").arg(&load.script).arg(format!("http://{address}/"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Running(command.spawn().expect("wrk is needed: apt-get install wrk"))
    }

    fn finish(self) -> (f64, f64) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().find_map(|line| line.strip_prefix(MARK)).expect("wrk tells nothing");
        let figures: Vec<f64> = told.split_ascii_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let [requests, micros, failed] = figures[..] else { panic!("wrk tells {told:?}") };
        assert!(requests > 0.0 && failed == 0.0, "{failed} of {requests} requests fail");
        (requests, requests / (micros / 1e6))
    }
}

/// Measures one, two and three nodes at once.
pub fn by_nodes(gateways: &[Gateway], load: &Load) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    heading(&format!(
        "cached decisions a second, by HTTP; {cores} cores for nodes, load, backend and database together"
    ));
    load.prepare(&gateways[0]);
    for gateway in gateways {
        load.run(gateway.api());
    }
    let mut rates = vec![Vec::new(); gateways.len()];
    for _ in 0..TURNS {
        for (count, rates) in rates.iter_mut().enumerate() {
            let running: Vec<Running> =
                gateways[..=count].iter().map(|gateway| Running::start(load, gateway.api())).collect();
            rates.push(running.into_iter().map(|running| running.finish().1).sum::<f64>());
        }
    }
    for (count, rates) in rates.into_iter().enumerate() {
        line(&format!("{} of the nodes", count + 1), &Spread::of(rates.into_iter()).show(0));
    }
}

/// Compares a gateway on PostgreSQL with one on SQLite, in turns.
pub fn by_database(postgres: &Gateway, sqlite: &Gateway, load: &Load, report: &mut Report) {
    heading("CPU time of a cached request: PostgreSQL and SQLite in turns, one worker each");
    load.run(sqlite.api());
    load.run(postgres.api());
    let mut turns: [Vec<CpuTime>; 2] = Default::default();
    for pair in 0..PAIRS {
        // Neither always runs in the wake of the other.
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            let gateway = [postgres, sqlite][index];
            let before = cpu_time(gateway.child.id()).unwrap();
            let (requests, _) = load.run(gateway.api());
            let spent = cpu_time(gateway.child.id()).unwrap() - before;
            let each = |seconds: f64| seconds * 1e6 / requests;
            turns[index].push(CpuTime { user: each(spent.user), kernel: each(spent.kernel) });
        }
    }
    for (name, turns) in ["PostgreSQL", "SQLite"].iter().zip(&turns) {
        let user = Spread::of(turns.iter().map(|turn| turn.user)).show(2);
        let whole = Spread::of(turns.iter().map(|turn| turn.user + turn.kernel)).show(2);
        line(name, &format!("user {user} µs, with the kernel {whole} µs"));
    }
    let ratio = |of: fn(&CpuTime) -> f64| {
        let pairs = turns[0].iter().zip(&turns[1]);
        Spread::of(pairs.map(|(postgres, sqlite)| of(postgres) / of(sqlite)))
    };
    let whole = ratio(|turn| turn.user + turn.kernel);
    line("PostgreSQL to SQLite, with the kernel, turn by turn", &whole.show(3));
    let user = ratio(|turn| turn.user);
    line("PostgreSQL to SQLite, in user space, turn by turn", &user.show(3));
    report.at_most("PostgreSQL to SQLite, median", whole.median, MOST, "");
}
