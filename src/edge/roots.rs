//! The certificates that backends over TLS are verified against.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// Why there is nothing to verify against.
#[derive(Debug, Error)]
#[error("upstream_ca: {place}: {reason}")]
pub struct RootsError {
    place: String,
    reason: String,
}

/// A connector that verifies against the certificates in `file`, or against the system's.
///
/// # Errors
/// A file that can't be read or holds something else than root certificates; a system without any.
pub fn connector(file: Option<&Path>) -> Result<TransportConnector, RootsError> {
    let (place, roots) = match file {
        Some(path) => (path.display().to_string(), configured(path)?),
        None => ("the system's certificates".to_owned(), of_the_system()?),
    };
    let wrong = |reason: String| RootsError { place: place.clone(), reason };
    if roots.is_empty() {
        return Err(wrong("there is none".into()));
    }
    // pingora reads a file, and panics over what it can't use: it gets one with what was found good.
    let mut good = tempfile::NamedTempFile::new().map_err(|e| wrong(e.to_string()))?;
    good.write_all(pem(&roots).as_bytes()).map_err(|e| wrong(e.to_string()))?;
    let mut options = ConnectorOptions::new(1);
    options.ca_file = Some(good.path().display().to_string());
    Ok(TransportConnector::new(Some(options)))
}

/// Every one has to be good: somebody meant it.
fn configured(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let wrong = |reason: String| RootsError { place: path.display().to_string(), reason };
    let roots = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(e.to_string()))?;
    for root in &roots {
        RootCertStore::empty().add(root.clone()).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(roots)
}

/// Those that can be used; a system may have strange ones.
fn of_the_system() -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let found = rustls_native_certs::load_native_certs()
        .map_err(|e| RootsError { place: "the system's certificates".into(), reason: e.to_string() })?;
    Ok(found.into_iter().filter(|root| RootCertStore::empty().add(root.clone()).is_ok()).collect())
}

fn pem(roots: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for root in roots {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(root).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(vec!["backend.test".into()]).unwrap().cert.pem()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn good_files_are_used_and_written_again_as_they_were() {
        let two = certificate() + &certificate();
        let file = file(&two);
        assert!(connector(Some(file.path())).is_ok());
        let read = configured(file.path()).unwrap();
        assert_eq!(pem(&read).lines().collect::<Vec<_>>(), two.lines().collect::<Vec<_>>());
    }

    #[test]
    fn bad_files_are_errors_and_never_panics() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "not PEM", broken, &(certificate() + broken)] {
            assert!(connector(Some(file(text).path())).is_err(), "{text}");
        }
        assert!(connector(Some(Path::new("/nowhere/ca.pem"))).is_err());
    }
}
