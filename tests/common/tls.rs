//! Certificates of the tests' own authority, clients that believe it, and backends that show them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// A certificate for that name.
    pub fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The authority's own certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that believes this authority only, and offers these protocols.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Identity {
    /// Writes `cert.pem` and `key.pem`, each at once, as one that renews certificates does.
    pub fn write(&self, directory: &Path) {
        for (name, text) in [("cert.pem", &self.certificate), ("key.pem", &self.key)] {
            let new = directory.join(format!("{name}.new"));
            write_private(&new, text);
            std::fs::rename(&new, directory.join(name)).unwrap();
        }
    }

    /// A server that shows it.
    pub fn server(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    /// A backend with this certificate that answers every request with `secure`; its address.
    pub fn backend(&self) -> SocketAddr {
        self.backend_answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure".to_owned())
    }

    /// The same with what `answer` says to a request that has no body, or `body` for one.
    pub fn backend_answering(&self, answer: impl Fn(&str) -> String + Clone + Send + 'static) -> SocketAddr {
        self.backend_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// The same on a listener that is there already.
    pub fn backend_on(
        &self,
        listener: TcpListener,
        answer: impl Fn(&str) -> String + Clone + Send + 'static,
    ) -> SocketAddr {
        let config = self.server();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, answer) = (config.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    let mut read = Vec::new();
                    let mut piece = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut piece) {
                        read.extend_from_slice(&piece[..count]);
                        if read.ends_with(b"\r\n\r\n") || read.ends_with(b"body") {
                            let answer = answer(&String::from_utf8_lossy(&read));
                            read.clear();
                            if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        address
    }
}

/// A TLS connection to `address`, that has to be `name`'s.
pub fn connect(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(super::PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// The name that it is for.
pub const NAME: &str = "gate.test";

/// Writes a file that only its owner may use, since Gatepost warns of a private key that others may.
fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Puts `cert.pem` and `key.pem` into the directory, and gives the section that names them.
pub fn certificate(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    write_private(&directory.join("key.pem"), &made.signing_key.serialize_pem());
    let place = directory.display();
    format!("[tls]\ncertificate = \"{place}/cert.pem\"\nprivate_key = \"{place}/key.pem\"\n")
}
