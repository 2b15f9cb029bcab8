//! The certificate of all TLS listeners, exchanged without a restart.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// Why certificate and key can't be used; the text names the file.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The certificate file can't be read, or isn't PEM.
    #[error("tls.certificate: {0}: {1}")]
    Certificate(String, pem::Error),
    /// There is no certificate in the file.
    #[error("tls.certificate: {0}: no certificate in it")]
    Empty(String),
    /// The key file can't be read, or isn't PEM.
    #[error("tls.private_key: {0}: {1}")]
    Key(String, pem::Error),
    /// They are of no known kind, or don't belong together.
    #[error("tls.private_key: {0}: {1}")]
    Mismatch(String, rustls::Error),
}

/// Hands the certificate of the moment to each handshake.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Begins with what [`read`] gave.
    pub fn new(first: CertifiedKey) -> Arc<Certificate> {
        Arc::new(Certificate { current: ArcSwap::from_pointee(first) })
    }

    /// Shows another one from now on.
    pub fn replace(&self, next: CertifiedKey) {
        self.current.store(Arc::new(next));
    }

    /// What a handshake would show now.
    #[cfg(test)]
    pub fn shown(&self) -> CertificateDer<'static> {
        self.current.load().cert[0].clone()
    }

    /// The configuration for listeners that show this certificate: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    ///
    /// # Errors
    /// Where the crypto library supports neither version.
    pub fn server_config(self: &Arc<Certificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.config(&[b"h2", b"http/1.1"])
    }

    /// The same for listeners of mail, where no protocol is chosen in the handshake.
    ///
    /// # Errors
    /// As [`Certificate::server_config`].
    pub fn mail_config(self: &Arc<Certificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.config(&[])
    }

    fn config(self: &Arc<Certificate>, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Reads a certificate and its key (PEM; the chain with the server's own certificate first).
///
/// # Errors
/// Whatever makes them unusable for a handshake.
pub fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let shown = |path: &Path| path.display().to_string();
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| CertificateError::Certificate(shown(chain), e))?;
    if certificates.is_empty() {
        return Err(CertificateError::Empty(shown(chain)));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| CertificateError::Key(shown(key), e))?;
    CertifiedKey::from_der(certificates, key_der, &ring::default_provider())
        .map_err(|e| CertificateError::Mismatch(shown(key), e))
}
