//! `gatepost man`: manual pages, made from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use clap_mangen::Man;

use super::output::print_text;
use super::{CliError, WRONG_USAGE};
use crate::server::complain;

/// Selects the pages.
#[derive(Debug, Args)]
pub struct ManOptions {
    /// Print the page of this command, for example `credential add`. Default: the page of gatepost itself.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this directory, which is created if it does not exist.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// Prints a page, or writes all of them. The exit status is that of wrong usage if there is no such command.
///
/// # Errors
/// Standard output, the directory or one of the files cannot be written.
pub fn run(options: &ManOptions, definition: clap::Command) -> Result<ExitCode, CliError> {
    let gatepost = complete(definition);
    if let Some(directory) = &options.directory {
        fs::create_dir_all(directory).map_err(|error| CliError::NotWritten(directory.clone(), error))?;
        write_pages(&gatepost, directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = &options.command;
    match names.iter().try_fold(&gatepost, |command, name| command.find_subcommand(name)) {
        Some(command) => print_text(&rendered(&page(command))?)?,
        None => {
            complain(&format!("gatepost: no such command: '{}'; 'gatepost help' lists all", names.join(" ")));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The definition of the command line with everything that each command inherits, such as its whole name and the global options.
fn complete(definition: clap::Command) -> clap::Command {
    let mut gatepost = definition.disable_help_subcommand(true);
    gatepost.build();
    gatepost
}

fn page(command: &clap::Command) -> Man {
    let source = concat!("gatepost ", env!("CARGO_PKG_VERSION"));
    // Without a date. An empty one would be left out of the title line, and the source taken for it.
    Man::new(command.clone()).date(" ").source(source).manual("Gatepost")
}

fn rendered(page: &Man) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(text)
}

fn write_pages(command: &clap::Command, directory: &Path) -> Result<(), CliError> {
    let page = page(command);
    let path = directory.join(page.get_filename());
    let written = rendered(&page).and_then(|text| fs::write(&path, text));
    written.map_err(|error| CliError::NotWritten(path, error))?;
    command.get_subcommands().try_for_each(|command| write_pages(command, directory))
}
