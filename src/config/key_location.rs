//! Where something stands in the file, for what turns out to be wrong only after that was read.

use std::path::PathBuf;

/// The place of a key. All places are equal: a setting that only moved within the file is the same setting.
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

/// A file that the configuration names, and where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file; a relative path is relative to the working directory.
    pub path: PathBuf,
    /// Where its name stands.
    pub place: KeyLocation,
}
