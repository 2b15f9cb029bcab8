//! What can be wrong with a configuration file.

use std::fmt;

use thiserror::Error;

use super::KeyLocation;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line it stands on, from 1; 0 where it is the file as a whole.
    pub line: usize,
    /// The key, such as `api.listen`; empty where it is no key's fault.
    pub key: String,
    /// What is wrong, and what would be right. Never holds a secret.
    pub reason: String,
}

impl ConfigError {
    /// What is wrong with what stands there.
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

/// Everything that is wrong with one file, in the order of its lines; never empty.
///
/// Prints one line for each error: `config/gatepost.toml:12: api.listen: '127.0.0.1' is no address: …`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `file` is how the file is named; `errors` has at least one.
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
