//! The certificate of the targets with TLS, and the clients that trust it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// A certificate that everybody here trusts.
pub struct Certificate {
    /// PEM.
    pub chain: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Writes one for an elliptic curve, as is usual.
    ///
    /// # Errors
    /// Where the files can't be written.
    pub fn make(scratch: &Path) -> Result<Certificate> {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()])?;
        let certificate = Certificate { chain: scratch.join("cert.pem"), key: scratch.join("key.pem") };
        std::fs::write(&certificate.chain, made.cert.pem())?;
        std::fs::write(&certificate.key, made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// For clients that trust it; each handshake is a whole one.
    ///
    /// # Panics
    /// Where what was written can't be read.
    pub fn connector(&self) -> (TlsConnector, ServerName<'static>) {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(&self.chain).expect("it was written just now");
        roots.add(certificate).expect("it is a certificate");
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring has them")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("gate.test").expect("it is a name");
        (TlsConnector::from(Arc::new(config)), name)
    }
}
