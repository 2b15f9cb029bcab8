//! `gatepost completions SHELL`: scripts for the completion of commands and options.

use clap::{CommandFactory, ValueEnum};
use clap_complete::aot;

use super::output::print_text;
use super::{Arguments, Failure};

/// A shell with a completion script.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Prints the completion script for `shell`.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(shell: Shell) -> Result<(), Failure> {
    let generator = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Fish => aot::Shell::Fish,
        Shell::Zsh => aot::Shell::Zsh,
    };
    // Into memory first, since the generator panics if it cannot write.
    let mut script = Vec::new();
    aot::generate(generator, &mut Arguments::command(), "gatepost", &mut script);
    Ok(print_text(&script)?)
}
