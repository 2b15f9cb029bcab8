//! The certificate that nginx and Gatepost present.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::generate_simple_self_signed;

/// The files of the certificate and of its key.
pub fn files(scratch: &Path) -> (PathBuf, PathBuf) {
    (scratch.join("cert.pem"), scratch.join("key.pem"))
}

/// Writes a new certificate (ECDSA with P-256) and its key.
///
/// # Errors
/// Where the files can't be written.
pub fn write(scratch: &Path) -> Result<()> {
    let made = generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = files(scratch);
    std::fs::write(certificate, made.cert.pem())?;
    std::fs::write(key, made.signing_key.serialize_pem())?;
    Ok(())
}
