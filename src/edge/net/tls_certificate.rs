//! The certificate of all TLS listeners, which can be replaced without a restart.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{InconsistentKeys, ServerConfig};

use super::certificate_validity::Validity;
use crate::config::{ConfigError, NamedFile, TlsSettings};
use crate::edge::net::key_kind::{KeyKind, certificate_version};
use crate::edge::net::pem_file::{self, PemFile};
use crate::state::shell_command::{path_word, to_type};

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
    read_files(&tls.certificate, &tls.private_key)
}

/// Does the same as [`read`] for two files.
///
/// # Errors
/// As [`read`].
pub fn read_files(
    certificate: &NamedFile,
    private_key: &NamedFile,
) -> Result<CertifiedKey, Vec<ConfigError>> {
    match (read_chain(certificate), read_key(private_key)) {
        (Ok(chain), Ok(key)) => matched(chain, key, certificate, private_key).map_err(|error| vec![error]),
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

/// Reads the certificate and its intermediate certificates.
///
/// # Errors
/// The file cannot be read, or contains none.
pub fn read_chain(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    PemFile::read(&file.path).and_then(|pem| pem.certificates()).map_err(|reason| wrong(file, &reason))
}

/// Reads the private key.
///
/// # Errors
/// The file cannot be read, or contains none that is supported.
pub fn read_key(file: &NamedFile) -> Result<Arc<dyn SigningKey>, ConfigError> {
    let key = PemFile::read(&file.path).and_then(|pem| pem.private_key());
    let key = key.map_err(|reason| wrong(file, &reason))?;
    ring::sign::any_supported_type(&key).map_err(|_| {
        let reason = match KeyKind::of(&key) {
            KeyKind::Unsupported(kind) => pem_file::unsupported_key(&kind, &file.path),
            KeyKind::ExplicitCurve => {
                let command =
                    |path: &str| format!("openssl ec -in {path} -param_enc named_curve -out {path}.new");
                format!("the key describes its curve instead of naming it{}", to_type(&file.path, command))
            }
            KeyKind::Unknown => {
                let help =
                    to_type(&file.path, |path| format!("openssl pkey -in {path} -noout -text_pub -check"));
                format!("the key is damaged or of a kind that is not supported{help}")
            }
        };
        wrong(file, &reason)
    })
}

/// Puts certificate and key together, if they belong together.
fn matched(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    certificate: &NamedFile,
    private_key: &NamedFile,
) -> Result<CertifiedKey, ConfigError> {
    let (shown, shown_key) = (certificate.path.display(), private_key.path.display());
    let words = path_word(&certificate.path).zip(path_word(&private_key.path));
    if let Some(version @ (1 | 2)) = certificate_version(&chain[0]) {
        let command = words.map(|(certificate, key)| {
            format!(
                "; one that is signed by itself is made by: openssl req -x509 -key {key} -out {certificate}.new \
                 -days 365 -subj /CN=NAME -addext subjectAltName=DNS:NAME"
            )
        });
        let reason = format!(
            "the certificate is of version {version} of X.509, and clients require 3: have it issued again with extensions{}",
            command.unwrap_or_default()
        );
        return Err(wrong(certificate, &reason));
    }
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let of_key = |other: &CertificateDer<'static>| {
                CertifiedKey::new(vec![other.clone()], certified.key.clone()).keys_match().is_ok()
            };
            match certified.cert.iter().position(of_key) {
                Some(place) => Err(wrong(
                    certificate,
                    &format!(
                        "the server's own certificate, which {shown_key} belongs to, is number {} in the file: \
                         it must be the first, and each further one the issuer of the one before it",
                        place + 1
                    ),
                )),
                None => {
                    let command = words.map(|(certificate, key)| {
                        format!(
                            "; to compare, type: openssl pkey -in {key} -pubout; openssl x509 -in {certificate} -noout -pubkey"
                        )
                    });
                    let command = command.unwrap_or_default();
                    Err(wrong(private_key, &format!("it is not the key of the certificate {shown}{command}")))
                }
            }
        }
        Err(_) => {
            let help = to_type(&certificate.path, |path| format!("openssl x509 -in {path} -noout -text"));
            Err(wrong(certificate, &format!("the first certificate is damaged{help}")))
        }
    }
}

fn wrong(file: &NamedFile, reason: &str) -> ConfigError {
    ConfigError::at(&file.place, format!("{}: {reason}", file.path.display()))
}
