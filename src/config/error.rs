//! Errors of a configuration file.

use std::fmt;

use thiserror::Error;

use super::KeyLocation;

/// An error of the configuration, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The key, such as `api.listen`; empty if the error concerns no key.
    pub key: String,
    /// The fault and, where possible, what would be right. Never contains a secret.
    pub reason: String,
}

impl ConfigError {
    /// Creates an error at a place.
    pub fn at(place: &KeyLocation, reason: impl Into<String>) -> ConfigError {
        ConfigError { line: place.line, key: place.key.clone(), reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}: ", self.line)?;
        } else {
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// All errors of one file, in the order of its lines; never empty.
///
/// Prints one line for each error: `config/gatepost.toml:12: api.listen: invalid address '127.0.0.1': missing port`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// Creates the list; `file` is the name to print, and `errors` is not empty.
    pub fn new(file: &str, mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by_key(|e| e.line);
        ConfigErrors { file: file.to_owned(), errors }
    }

    /// The errors, by line.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{error}", self.file)?;
        }
        Ok(())
    }
}
