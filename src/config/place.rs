//! Places in the file, for errors that are found only after it was read.

use std::path::PathBuf;

/// The place of a key. All places compare as equal: a setting that only moved within the file is unchanged.
#[derive(Clone, Debug, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The whole key, such as `tls.certificate`.
    pub key: String,
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

/// A file that the configuration names, and the place of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file; a relative path is relative to the working directory.
    pub path: PathBuf,
    /// The place of the key that names it.
    pub place: Place,
}
