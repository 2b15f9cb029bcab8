//! The state of the certificate's files, by which a renewal is noticed.

use std::io::{self, Read};
use std::path::Path;

use crate::config::TlsSettings;
use crate::state::file_access::open_regular;

/// The longest beginning of a file that is compared.
const LONGEST: u64 = 1 << 20;

/// The content of certificate and key, or the reason that one of them cannot be read. Whatever replaces a file (a rename, a
/// link that leads elsewhere, a write in place within the same moment) changes its content, and whatever makes it readable
/// (another mode, owner, access list, or directory) changes the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateStamp([Result<blake3::Hash, io::ErrorKind>; 2]);

impl CertificateStamp {
    /// The present state.
    pub fn of(tls: &TlsSettings) -> CertificateStamp {
        CertificateStamp([&tls.certificate, &tls.private_key].map(|file| content(&file.path)))
    }
}

fn content(path: &Path) -> Result<blake3::Hash, io::ErrorKind> {
    let mut hasher = blake3::Hasher::new();
    let mut rest = open_regular(path).map_err(|error| error.kind())?.take(LONGEST);
    let mut piece = zeroize::Zeroizing::new([0; 4096]);
    loop {
        match rest.read(&mut *piece) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(length) => hasher.update(&piece[..length]),
            Err(error) => return Err(error.kind()),
        };
    }
}
