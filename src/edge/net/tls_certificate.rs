//! The certificate of all TLS listeners, which can be replaced without a restart.

use std::fmt::Display;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate_validity::Validity;
use crate::config::{ConfigError, NamedFile, TlsSettings};

/// Gives the current certificate to each handshake.
#[derive(Debug)]
pub struct TlsCertificate {
    current: ArcSwap<CertifiedKey>,
}

impl TlsCertificate {
    /// Begins with a certificate from [`read`].
    pub fn new(first: CertifiedKey) -> Arc<TlsCertificate> {
        Arc::new(TlsCertificate { current: ArcSwap::from_pointee(first) })
    }

    /// Uses another certificate for all further handshakes.
    pub fn replace(&self, next: CertifiedKey) {
        self.current.store(Arc::new(next));
    }

    /// The time in which the current certificate is valid, with those that certify it.
    pub fn validity(&self) -> Option<Validity> {
        Validity::of_chain(&self.current.load().cert)
    }

    /// The certificate that a handshake would get now.
    #[cfg(test)]
    pub fn shown(&self) -> CertificateDer<'static> {
        self.current.load().cert[0].clone()
    }

    /// The configuration of listeners with this certificate: TLS 1.2 and 1.3, and the `protocols` of ALPN, the preferred one
    /// first.
    ///
    /// # Errors
    /// The crypto library supports neither version.
    pub fn server_config(
        self: &Arc<TlsCertificate>,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for TlsCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Reads the certificate and its key. Both are PEM; the chain begins with the server's own certificate.
///
/// # Errors
/// Everything that makes them unusable for a handshake, in both files.
pub fn read(tls: &TlsSettings) -> Result<CertifiedKey, Vec<ConfigError>> {
    let wrong = |file: &NamedFile, reason: &dyn Display| {
        ConfigError::at(&file.place, format!("{}: {reason}", file.path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate.path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(&tls.certificate, &e))
        .and_then(|chain| match chain.is_empty() {
            true => Err(wrong(&tls.certificate, &"the file contains no certificate")),
            false => Ok(chain),
        });
    let key = PrivateKeyDer::from_pem_file(&tls.private_key.path).map_err(|e| wrong(&tls.private_key, &e));
    match (chain, key) {
        (Ok(chain), Ok(key)) => CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|e| vec![wrong(&tls.private_key, &e)]),
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}
