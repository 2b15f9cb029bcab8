//! Several gateways on one PostgreSQL: what a revocation waits for, what a decision costs, and what a million credentials make of
//! it. The server is a real one, with `fsync` on, on this machine.
//!
//! `cargo bench --bench fleet` runs it; `-- --help` lists the options. It needs Debian's packages postgresql and wrk. It fails if a
//! required figure is missed. docs/performance.md says what the figures mean.

mod checks;
#[path = "../../tests/common/mod.rs"]
mod common;
mod gateways;
#[path = "../load/measure.rs"]
#[allow(dead_code)]
mod measure;
mod million;
#[path = "../load/proc.rs"]
#[allow(dead_code)]
mod proc;
mod report;
mod revocations;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use checks::Load;
use common::postgres::PostgresServer;
use gateways::{Starter, wait_until_settled};
use report::Report;

const NODES: usize = 3;

/// Measure several gateways on one PostgreSQL.
#[derive(Debug, Parser)]
struct Options {
    /// Run only these parts, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Add, edit and remove so many credentials with three nodes.
    #[arg(long, default_value_t = 1000)]
    rounds: usize,
    /// Run this gatepost instead of the one that was built.
    #[arg(long, value_name = "PATH")]
    gatepost: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Revocations with three nodes.
    Quiet,
    /// Revocations after a node was killed.
    Killed,
    /// Cached decisions a second.
    Rate,
    /// The cost of a cached decision on either database.
    Cost,
    /// A million credentials.
    Million,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        // `cargo test --all-targets` comes here: there is nothing to test.
        println!("cargo bench --bench fleet");
        return ExitCode::SUCCESS;
    }
    println!("machine  {}", measure::machine());
    println!("load     {} (averages of 1, 5 and 15 minutes first)", measure::read("/proc/loadavg"));
    let program = options.gatepost.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_gatepost")));
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let starter = Starter::new(program);
    let scratch = tempfile::tempdir().unwrap();
    let load = Load::new(scratch.path());
    // Statics are not dropped, and this one is: the server ends here.
    let server = PostgresServer::start(&[]);
    let mut report = Report::default();
    {
        let database = server.database();
        let mut gateways = vec![starter.on_postgres(&database)];
        gateways[0].account("email,api,web");
        gateways.extend((1..NODES).map(|_| starter.on_postgres(&database)));
        wait_until_settled(&database, NODES);
        if wanted(Part::Quiet) {
            revocations::quiet(&gateways, options.rounds, &mut report);
        }
        if wanted(Part::Killed) {
            revocations::after_kill(&mut gateways, &database, &starter, &mut report);
        }
        if wanted(Part::Rate) {
            checks::by_nodes(&gateways, &load);
        }
    }
    if wanted(Part::Cost) {
        let database = server.database();
        let [postgres, sqlite] = [starter.on_postgres(&database), starter.on_sqlite()];
        for gateway in [&postgres, &sqlite] {
            gateway.account("email,api,web");
            load.prepare(gateway);
        }
        checks::by_database(&postgres, &sqlite, &load, &mut report);
    }
    if wanted(Part::Million) {
        million::measure(&server.database(), &starter, &mut report);
    }
    if report.is_reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
