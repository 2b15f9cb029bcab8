//! `gatepost check`: all errors and warnings of a configuration and of the files that it names.

use std::path::Path;
use std::process::ExitCode;

use super::REFUSED;
use super::output::say;
use crate::config::ConfigErrors;
use crate::server::{self, CheckReport, complain};
use crate::state::file_access::viewer;

/// Runs the command. Errors go to standard error, warnings and the result to standard output.
pub async fn run(file: &Path) -> ExitCode {
    let text = match server::read_config(file) {
        Ok(text) => text,
        Err(errors) => {
            complain(&errors.to_string());
            return ExitCode::from(REFUSED);
        }
    };
    let CheckReport { errors, warnings } = server::check(&text, file).await;
    let (name, viewer) = (file.display().to_string(), viewer());
    for warning in warnings {
        say(&format!("{name}: warning: {warning}"));
    }
    if errors.is_empty() {
        say(&format!("{name}: no errors (checked as {viewer})"));
        return ExitCode::SUCCESS;
    }
    complain(&ConfigErrors::new(&name, errors).to_string());
    say(&format!("{name}: errors found (checked as {viewer})"));
    ExitCode::from(REFUSED)
}
