//! Places in the file, for errors that are found only after it was read.

use std::path::PathBuf;

/// The place of a key. All places compare as equal: a setting that only moved within the file is unchanged.
#[derive(Clone, Debug, Eq)]
pub struct KeyLocation {
    /// The line, from 1.
    pub line: usize,
    /// The whole key, such as `tls.certificate`.
    pub key: String,
}

impl PartialEq for KeyLocation {
    fn eq(&self, _: &KeyLocation) -> bool {
        true
    }
}

/// A file that the configuration names, and the place of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file; a relative path is relative to the working directory.
    pub path: PathBuf,
    /// The place of the key that names it.
    pub place: KeyLocation,
}
