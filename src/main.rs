//! The program `gatepost`: parses the command line and runs the command.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use gatepost::cli::{
    Arguments, Command, REFUSED, account, check, cluster, completions, credential, demo, find, man, session,
};
use gatepost::config::{Config, ConfigError, ConfigErrors};
use gatepost::server::{self, ConfigSource, Gateway, LastLines, Signals, StartError, complain};
use tokio::runtime::Runtime;

/// The allocator, chosen for many small allocations per request (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let _last_lines = LastLines;
    match run() {
        Ok(code) => code,
        Err(error) if matches!(error.downcast_ref(), Some(StartError::Stopped)) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("gatepost: {error:#}"));
            ExitCode::from(REFUSED)
        }
    }
}

fn run() -> Result<ExitCode> {
    // Each worker has its own runtime. This one is for the ops listener, the store and signals.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything else: without a handler, a SIGHUP would end the process. Commands that end by themselves keep that.
    let signals = serves().then(|| {
        let _entered = runtime.enter();
        Signals::listen().map_err(StartError::Signals)
    });
    let done = execute(Arguments::parse(), &runtime, signals.transpose()?);
    // A blocking call, such as the lookup of a name, cannot be cancelled. Its result is no longer needed.
    runtime.shutdown_background();
    done
}

/// Returns true if the command line asks for a gateway. It is parsed later, which takes longer.
fn serves() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            arguments.next();
        } else if !argument.to_string_lossy().starts_with('-') {
            return argument == "serve" || argument == "demo";
        }
    }
    false
}

fn execute(arguments: Arguments, runtime: &Runtime, signals: Option<Signals>) -> Result<ExitCode> {
    let path = arguments.config;
    let listen = |signals: Option<Signals>| {
        let _entered = runtime.enter();
        signals.map_or_else(|| Signals::listen().map_err(StartError::Signals), Ok)
    };
    match arguments.command {
        Command::Demo(options) => runtime.block_on(demo::run(options, listen(signals)?)),
        Command::Serve => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            let signals = listen(signals)?;
            runtime.block_on(async {
                match Gateway::start(config, signals).await {
                    Ok(gateway) => gateway.run(ConfigSource::File(path)).await,
                    // Reported in the same way as errors in the file itself.
                    Err(StartError::Unfit(wrong)) => return Ok(refuse(&path, wrong)),
                    Err(error) => return Err(error.into()),
                }
                Ok(ExitCode::SUCCESS)
            })
        }
        Command::Check => Ok(runtime.block_on(check::run(&path))),
        Command::Account(command) => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            Ok(runtime.block_on(account::run(command, &config))?)
        }
        Command::Credential(command) => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            Ok(runtime.block_on(credential::run(command, &config))?)
        }
        Command::Session(command) => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            Ok(runtime.block_on(session::run(command, &config))?)
        }
        Command::Cluster(command) => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            Ok(runtime.block_on(cluster::run(command, &config))?)
        }
        Command::Find(options) => {
            let Some(config) = load(&path) else { return Ok(ExitCode::from(REFUSED)) };
            start_log(&config)?;
            Ok(runtime.block_on(find::run(options, &config))?)
        }
        Command::Completions { shell } => {
            completions::print(shell, Arguments::command())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(options) => Ok(man::run(&options, Arguments::command())?),
    }
}

fn start_log(config: &Config) -> Result<()> {
    server::start_log(&config.log).context("log")
}

/// Prints the errors of a configuration to standard error.
fn refuse(path: &Path, wrong: Vec<ConfigError>) -> ExitCode {
    complain(&ConfigErrors::new(&path.display().to_string(), wrong).to_string());
    ExitCode::from(REFUSED)
}

/// Loads the configuration; prints all errors to standard error if it is invalid.
fn load(path: &Path) -> Option<Config> {
    let text = server::read_config(path);
    let config = text.and_then(|text| Config::parse(&text, &path.display().to_string()));
    config.map_err(|errors| complain(&errors.to_string())).ok()
}
