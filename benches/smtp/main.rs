//! What a submitted message costs, side by side: Gatepost, which decides on each message, and nginx's mail proxy, which
//! asks once a session, each with one worker, each in front of the same `smtp-sink`, in turns.
//!
//! `cargo bench --bench smtp` runs it; `-- --help` tells the options. It needs Debian's packages postfix (for
//! `smtp-sink`) and libnginx-mod-mail. docs/performance.md says what the figures mean.

mod certificate;
mod load;
#[path = "../load/measure.rs"]
#[allow(dead_code)]
mod measure;
mod nginx;
#[path = "../load/proc.rs"]
#[allow(dead_code)]
mod proc;
mod report;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use certificate::Certificate;
use load::{Load, Shape};
use measure::Round;
use proc::Children;
use report::Table;
use targets::{Kind, Target};

/// Seconds each target is loaded before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Compare the cost of a submitted message.
#[derive(Debug, Parser)]
struct Options {
    /// Give each target this many turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Let each turn take this many seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Keep this many sessions open at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Send MAIL, RCPT and DATA in one write.
    #[arg(long)]
    pipelining: bool,
    /// Run only these targets, separated by commas: direct, nginx, gatepost.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Run only these shapes, separated by commas: one, hundred, large.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<Shape>,
    /// Leave out the part with TLS.
    #[arg(long)]
    clear: bool,
    /// Run this gatepost instead of the one that was built.
    #[arg(long, value_name = "PATH")]
    gatepost: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        // `cargo test --all-targets` comes here: there is nothing to test.
        println!("cargo bench --bench smtp");
        return ExitCode::SUCCESS;
    }
    match proc::in_scratch("gatepost-smtp-", |scratch, children| run(&options, scratch, children)) {
        Ok(true) => ExitCode::SUCCESS,
        // The report names the figures that are not reached.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("smtp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, scratch: &Path, children: &Children) -> Result<bool> {
    ensure!(options.rounds > 0 && options.seconds > 0, "at least one round of one second");
    let gatepost = options.gatepost.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_gatepost")));
    let (sink, sink_process) = targets::start_sink(children)?;
    let certificate = Certificate::make(scratch)?;
    let wanted = |kind: &Kind| options.only.is_empty() || options.only.contains(kind);
    let mut targets = Vec::new();
    for kind in Kind::ALL.into_iter().filter(wanted) {
        let target = match kind {
            Kind::Direct => Target { kind, address: sink, process: sink_process },
            _ => Target::start(kind, scratch, children, sink, &certificate, gatepost)
                .with_context(|| format!("{} doesn't start", kind.name()))?,
        };
        targets.push(target);
    }
    report::print_conditions(options.connections, options.seconds, options.rounds, options.pipelining);
    let mut reached = true;
    for tls in if options.clear { &[false][..] } else { &[false, true] } {
        let shapes = Shape::ALL.into_iter();
        for shape in shapes.filter(|shape| options.shapes.is_empty() || options.shapes.contains(shape)) {
            let table = measure(options, &targets, shape, *tls, &certificate)?;
            reached &= table.print();
        }
    }
    Ok(reached)
}

fn measure(
    options: &Options,
    targets: &[Target],
    shape: Shape,
    tls: bool,
    certificate: &Certificate,
) -> Result<Table> {
    let load = |target: &Target| Load {
        connections: options.connections,
        shape,
        pipelining: options.pipelining,
        welcome: if target.kind == Kind::Direct { 250 } else { 235 },
        tls: tls.then(|| certificate.connector()),
    };
    let targets: Vec<&Target> = targets.iter().filter(|target| !tls || target.kind != Kind::Direct).collect();
    for target in &targets {
        load(target).run(target.address, WARM_UP).with_context(|| target.kind.name())?;
    }
    let mut table = Table::new(shape, tls, targets.iter().map(|target| target.kind));
    for _ in 0..options.rounds {
        for (index, target) in targets.iter().enumerate() {
            let cpu = proc::cpu_time(target.process)?;
            let begun = Instant::now();
            let mut sent = load(target)
                .run(target.address, Duration::from_secs(options.seconds))
                .with_context(|| target.kind.name())?;
            let took = begun.elapsed();
            ensure!(!sent.times.is_empty(), "{} took nothing", target.kind.name());
            let spent = proc::cpu_time(target.process)? - cpu;
            let (p50, p99) = (sent.quantile(0.5) * 1e3, sent.quantile(0.99) * 1e3);
            table.add(index, Round::new(sent.times.len() as f64, took.as_secs_f64(), spent, p50, p99));
        }
    }
    Ok(table)
}
