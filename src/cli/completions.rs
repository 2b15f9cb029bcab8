//! `gatepost completions SHELL`: scripts for the completion of commands and options.

use clap::ValueEnum;
use clap_complete::aot;

use super::CommandError;
use super::output::print_text;

/// A shell with a completion script.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// Prints the completion script for `shell`, made from the definition of the command line.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(shell: Shell, mut definition: clap::Command) -> Result<(), CommandError> {
    let generator = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Fish => aot::Shell::Fish,
        Shell::Zsh => aot::Shell::Zsh,
    };
    // Into memory first, since the generator panics if it cannot write.
    let mut script = Vec::new();
    aot::generate(generator, &mut definition, "gatepost", &mut script);
    Ok(print_text(&script)?)
}
