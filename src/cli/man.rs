//! `gatepost man`: manual pages, generated from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use clap_mangen::Man;

use super::output::print_text;
use super::{CommandError, WRONG_USAGE};
use crate::server::complain;

/// The selection of pages.
#[derive(Debug, Args)]
pub struct ManOptions {
    /// Print the page of this command, for example credential add. Default: the page of gatepost itself.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this directory; create it if necessary.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// Prints a page, or writes all of them. An unknown command ends with the exit status of wrong usage.
///
/// # Errors
/// Standard output, the directory or one of the files cannot be written.
pub fn run(options: &ManOptions, definition: clap::Command) -> Result<ExitCode, CommandError> {
    let gatepost = complete(definition);
    if let Some(directory) = &options.directory {
        fs::create_dir_all(directory).map_err(|error| CommandError::NotWritten(directory.clone(), error))?;
        write_pages(&gatepost, directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = &options.command;
    match names.iter().try_fold(&gatepost, |command, name| command.find_subcommand(name)) {
        Some(command) => print_text(&rendered(&page(command))?)?,
        None => {
            complain(&format!("gatepost: unknown command '{}': see 'gatepost help'", names.join(" ")));
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the definition with everything that commands inherit, such as full names and global options.
fn complete(definition: clap::Command) -> clap::Command {
    let mut gatepost = definition.disable_help_subcommand(true);
    gatepost.build();
    gatepost
}

fn page(command: &clap::Command) -> Man {
    let source = concat!("gatepost ", env!("CARGO_PKG_VERSION"));
    // Without a date. An empty one would be omitted from the title line, and the source would take its place.
    Man::new(command.clone()).date(" ").source(source).manual("Gatepost")
}

fn rendered(page: &Man) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(text)
}

fn write_pages(command: &clap::Command, directory: &Path) -> Result<(), CommandError> {
    let page = page(command);
    let path = directory.join(page.get_filename());
    let written = rendered(&page).and_then(|text| fs::write(&path, text));
    written.map_err(|error| CommandError::NotWritten(path, error))?;
    command.get_subcommands().try_for_each(|command| write_pages(command, directory))
}
