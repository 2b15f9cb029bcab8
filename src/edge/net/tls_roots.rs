//! The root certificates that backends with TLS are verified against.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::config::{ConfigError, KeyLocation, NamedFile};
use crate::edge::net::pem_file::PemFile;
use crate::state::shell_command::to_type;

/// The reason that there are no root certificates. The text names the file.
#[derive(Debug, Error)]
#[error("{place}: {reason}")]
pub struct RootsError {
    place: String,
    reason: String,
}

impl RootsError {
    /// The error at its place in the configuration: where the file is named, or else where the backends are.
    pub fn at(&self, file: Option<&NamedFile>, backends: &KeyLocation) -> ConfigError {
        ConfigError::at(file.map_or(backends, |file| &file.place), self.to_string())
    }
}

/// A connector that verifies against the certificates in `file`, or against those of the system.
///
/// # Errors
/// The file cannot be read or contains anything but root certificates, or the system has none.
pub fn connector(file: Option<&Path>) -> Result<TransportConnector, RootsError> {
    let (place, roots) = found(file)?;
    let wrong = |reason: String| RootsError { place: place.clone(), reason };
    // pingora panics over a file that it cannot use, so it gets one with certificates that were checked (see `pingora_compat`).
    let mut good = tempfile::NamedTempFile::new().map_err(|e| wrong(e.to_string()))?;
    good.write_all(pem(&roots).as_bytes()).map_err(|e| wrong(e.to_string()))?;
    let mut options = ConnectorOptions::new(1);
    options.ca_file = Some(good.path().display().to_string());
    Ok(TransportConnector::new(Some(options)))
}

/// The configuration of a TLS client (1.2 and 1.3) that verifies against the certificates in `file`, or against those of the
/// system.
///
/// # Errors
/// The same as for [`connector`].
pub fn client_config(file: Option<&Path>) -> Result<Arc<ClientConfig>, RootsError> {
    let (place, roots) = found(file)?;
    let wrong = |e: rustls::Error| RootsError { place: place.clone(), reason: e.to_string() };
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(wrong)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(wrong)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Checks the certificates in a file.
///
/// # Errors
/// The same as for [`connector`].
pub fn check(file: &Path) -> Result<(), RootsError> {
    found(Some(file)).map(drop)
}

/// The place of the certificates, and at least one of them.
fn found(file: Option<&Path>) -> Result<(String, Vec<CertificateDer<'static>>), RootsError> {
    let (place, roots) = match file {
        Some(path) => (path.display().to_string(), configured(path)?),
        None => ("the certificates of the system".to_owned(), of_the_system()?),
    };
    if roots.is_empty() {
        return Err(RootsError { place, reason: "it contains no certificate".into() });
    }
    Ok((place, roots))
}

/// The certificates of a file. Every one must be valid, since the operator chose it.
fn configured(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let wrong = |reason: String| RootsError { place: path.display().to_string(), reason };
    let roots = PemFile::read(path).and_then(|pem| pem.certificates()).map_err(wrong)?;
    for (index, root) in roots.iter().enumerate() {
        RootCertStore::empty().add(root.clone()).map_err(|_| {
            let help = to_type(path, |path| format!("openssl storeutl -noout -text -certs {path}"));
            wrong(format!("certificate {} in it is damaged{help}", index + 1))
        })?;
    }
    Ok(roots)
}

/// The usable certificates of the system, which may have others as well.
fn of_the_system() -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let found = rustls_native_certs::load_native_certs()
        .map_err(|e| RootsError { place: "the certificates of the system".into(), reason: e.to_string() })?;
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
        assert!(client_config(Some(file.path())).is_ok());
        let read = configured(file.path()).unwrap();
        assert_eq!(pem(&read).lines().collect::<Vec<_>>(), two.lines().collect::<Vec<_>>());
    }

    #[test]
    fn bad_files_are_errors_and_never_panics() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "not PEM", broken, &(certificate() + broken)] {
            assert!(connector(Some(file(text).path())).is_err(), "{text}");
            assert!(client_config(Some(file(text).path())).is_err(), "{text}");
        }
        assert!(connector(Some(Path::new("/nowhere/ca.pem"))).is_err());
    }
}
