//! The cost of a request, side by side: Gatepost with authorization on, nginx, nginx with `auth_request` and a cached
//! answer, and a bare pingora proxy, each with one worker, each in front of the same backend, in turns.
//!
//! `cargo bench --bench load` runs it; `-- --help` lists the options. It needs nginx, wrk and h2load. docs/performance.md explains
//! the figures.

mod bare;
mod certificate;
mod console;
mod gatepost;
mod h2load;
mod measure;
mod nginx;
mod proc;
mod report;
mod sessions;
mod shapes;
mod targets;
mod wrk;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use measure::Round;
use nginx::Listen;
use proc::Children;
use report::Rounds;
use shapes::{Shape, credential};
use targets::{Kind, Target};
use wrk::Load;

/// The same allocator as Gatepost's, so that the bare proxy in this binary is compared fairly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many credentials take turns.
const CREDENTIALS: usize = 1_000;
/// Seconds each target is asked before anything is measured.
const WARM_UP: u32 = 2;

/// Compare the cost of a request.
#[derive(Debug, Parser)]
struct Options {
    /// Give each target this many turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Let each turn take this many seconds.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Keep this many connections open.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Run only these targets, separated by commas: plain, auth, bare, gatepost, basic.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Send only requests of these shapes, separated by commas: get, post, upload, tls, h2, cookie.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<Shape>,
    /// Measure only pages of the console.
    #[arg(long)]
    console: bool,
    /// Run this gatepost instead of the one that was built.
    #[arg(long, value_name = "PATH")]
    gatepost: Option<PathBuf>,
    /// Keep everything running for this many seconds afterwards, for a profiler.
    #[arg(long, default_value_t = 0)]
    hold: u64,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Plays the bare proxy: where to listen, and the backend.
    #[arg(long, hide = true, num_args = 2)]
    bare: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(addresses) = &options.bare {
        return done(bare::serve(&addresses[0], &addresses[1]).map(|()| true));
    }
    if !options.bench {
        // `cargo test --all-targets` comes here: there is nothing to test.
        println!("cargo bench --bench load");
        return ExitCode::SUCCESS;
    }
    done(proc::in_scratch("gatepost-load-", |scratch, children| run(&options, scratch, children)))
}

/// Returns the exit code: failure after an error, and if a required figure is not reached.
fn done(reached: Result<bool>) -> ExitCode {
    match reached {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, scratch: &Path, children: &Children) -> Result<bool> {
    ensure!(options.rounds > 0 && options.seconds > 0, "at least one round of one second");
    let gatepost = options.gatepost.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_gatepost")));
    if options.console {
        return console::measure(gatepost, scratch, children);
    }
    certificate::write(scratch)?;
    let backend = nginx::start_backend(scratch, children)?;
    let shapes: Vec<Shape> = Shape::ALL
        .into_iter()
        .filter(|shape| options.shapes.is_empty() || options.shapes.contains(shape))
        .collect();
    let wanted = |kind: &Kind| {
        (options.only.is_empty() || options.only.contains(kind))
            && shapes.iter().any(|shape| shape.includes(*kind))
    };
    let mut targets: Vec<Target> = Vec::new();
    for kind in Kind::ALL.into_iter().filter(wanted) {
        eprintln!("starting {}", kind.name());
        let running = targets.iter().find(|target| target.kind == Kind::Gatepost && kind == Kind::Basic);
        let target = match running {
            Some(gatepost) => gatepost.also(kind),
            None => Target::start(kind, scratch, children, backend, gatepost)
                .with_context(|| format!("{} doesn't start", kind.name()))?,
        };
        targets.push(target);
    }
    let mut reached = true;
    for shape in shapes {
        let asked: Vec<&Target> = targets.iter().filter(|target| shape.includes(target.kind)).collect();
        let gate = asked.iter().find(|target| target.kind == Kind::Gatepost && shape == Shape::Cookie);
        let cookies = match gate {
            Some(gate) => {
                sessions::log_in(gate.listen.web, sessions::GATE, (0..CREDENTIALS).map(credential))?
            }
            None => Vec::new(),
        };
        let loads = asked.into_iter().map(|target| {
            let shape = shape.sent_to(target.kind);
            Ok((target, Load::new(shape, scratch, options.connections, CREDENTIALS, &cookies)?))
        });
        let (table, hits) = measure(options, &loads.collect::<Result<Vec<_>>>()?, children)?;
        reached &= report::print(shape, &table, hits);
    }
    if options.shapes.is_empty() && options.only.is_empty() {
        reached &= console::measure(gatepost, scratch, children)?;
    }
    report::print_conditions(options.connections, options.seconds);
    if options.hold > 0 {
        for target in &targets {
            let Listen { clear, tls, .. } = target.listen;
            println!("{}: process {}, {clear}, with TLS {tls}", target.kind.name(), target.process);
        }
        std::thread::sleep(std::time::Duration::from_secs(options.hold));
    }
    Ok(reached)
}

/// Puts the load on each target in turns. Gives the turns, and the share of Gatepost's cache lookups that were hits.
fn measure(
    options: &Options,
    targets: &[(&Target, Load)],
    children: &Children,
) -> Result<(Vec<Rounds>, Option<f64>)> {
    for (target, load) in targets {
        eprintln!("warming up {}: {}", target.kind.name(), load.shape().name());
        load.run(load.shape().address(&target.listen), WARM_UP, children)?;
    }
    let before = lookups(targets)?;
    let started = Instant::now();
    let progress = std::io::stderr().is_terminal();
    let mut table: Vec<Rounds> = targets.iter().map(|(target, _)| Rounds::new(target.kind)).collect();
    for round in 1..=options.rounds {
        for ((target, load), rounds) in targets.iter().zip(&mut table) {
            if progress {
                eprint!("\rround {round} of {}: {:<40}", options.rounds, target.kind.name());
            }
            let cpu = proc::cpu_time(target.process)?;
            let answers = load.run(load.shape().address(&target.listen), options.seconds, children)?;
            let spent = proc::cpu_time(target.process)? - cpu;
            if answers.failed > 0 {
                bail!("{}: {} of {} requests failed", target.kind.name(), answers.failed, answers.requests);
            }
            let count = answers.requests as f64;
            rounds.add(Round::new(count, answers.seconds, spent, answers.p50, answers.p99));
        }
    }
    if progress {
        eprint!("\r{:<70}\r", "");
    }
    eprintln!("measured in {} s", started.elapsed().as_secs());
    Ok((table, report::hit_ratio(&before, &lookups(targets)?)))
}

/// Gatepost's cache lookups so far, by their result.
fn lookups(targets: &[(&Target, Load)]) -> Result<Vec<(String, f64)>> {
    match targets.iter().find_map(|(target, _)| target.metrics) {
        Some(address) => gatepost::cache_lookups(address),
        None => Ok(Vec::new()),
    }
}
