//! PEM files (RFC 7468) with certificates and keys, and the words for those that cannot be used: what is in the file instead,
//! and the command that converts it.

use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::state::file_access::{self, FileUse};
use crate::state::shell_command::{path_word, to_type};

/// The longest file that is read. The certificates of all authorities together have a quarter of it.
const LONGEST: u64 = 1 << 20;

/// A file that may be PEM.
pub struct PemFile<'p> {
    path: &'p Path,
    text: Zeroizing<Vec<u8>>,
}

impl PemFile<'_> {
    /// Reads a file. A byte order mark is left out.
    ///
    /// # Errors
    /// The text for the operator: it cannot be read, is empty, or is text of another encoding.
    pub fn read(path: &Path) -> Result<PemFile<'_>, String> {
        let explain = |error| file_access::explain(path, FileUse::Read, &error);
        let mut text = Zeroizing::new(Vec::new());
        let file = file_access::open_regular(path).map_err(explain)?;
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(explain)?;
        if text.len() as u64 > LONGEST {
            return Err("it is longer than 1 MiB, too long for certificates or a key".to_owned());
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err("the file is empty".to_owned());
        }
        if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
            let help = to_type(path, |path| format!("iconv -f UTF-16 -t UTF-8 {path} > {path}.new"));
            return Err(format!("it is UTF-16 text{help}"));
        }
        if text.starts_with(&[0xef, 0xbb, 0xbf]) {
            text.drain(..3);
        }
        Ok(PemFile { path, text })
    }

    /// The certificates, in their order; at least one.
    ///
    /// # Errors
    /// The text for the operator.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>();
        let certificates = read.map_err(|error| damaged(&error))?;
        if certificates.is_empty() { Err(self.without_certificate()) } else { Ok(certificates) }
    }

    /// The first private key.
    ///
    /// # Errors
    /// The text for the operator.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        if let Some(reason) = self.locked_key() {
            return Err(reason);
        }
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(Error::NoItemsFound) => Err(self.without_key()),
            Err(error) => Err(damaged(&error)),
        }
    }

    /// A key that would have to be unlocked first.
    fn locked_key(&self) -> Option<String> {
        let is_encrypted = self.labels().any(|label| label == "ENCRYPTED PRIVATE KEY")
            || self.lines().any(|line| line.starts_with("Proc-Type: 4,ENCRYPTED"));
        is_encrypted.then(|| {
            let help = to_type(self.path, |path| format!("openssl pkey -in {path} -out {path}.new"));
            format!("the key is encrypted, and Gatepost cannot ask for a passphrase{help}")
        })
    }

    fn without_certificate(&self) -> String {
        if let Some(reason) = self.not_pem("x509") {
            return reason;
        }
        match self.labels().next() {
            Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
                "it contains a certificate request: name the file with the certificate that the authority made from it"
                    .to_owned()
            }
            Some("TRUSTED CERTIFICATE" | "X509 CERTIFICATE") => {
                let help = to_type(self.path, |path| format!("openssl x509 -in {path} -out {path}.new"));
                format!("it is in a format of OpenSSL's own{help}")
            }
            Some("PKCS7" | "CMS") => {
                let command = |path: &str| format!("openssl pkcs7 -print_certs -in {path} -out {path}.new");
                format!("it is in PKCS #7 format{}", to_type(self.path, command))
            }
            Some(label) if label.ends_with("PRIVATE KEY") => {
                "it contains a private key and no certificate: are certificate and key swapped?".to_owned()
            }
            Some(label) => format!("it contains no certificate, but: {label}"),
            None => "it contains no certificate: expected a line -----BEGIN CERTIFICATE-----".to_owned(),
        }
    }

    fn without_key(&self) -> String {
        if let Some(reason) = self.not_pem("pkey") {
            return reason;
        }
        match self.labels().find(|label| *label != "EC PARAMETERS" && *label != "DSA PARAMETERS") {
            Some("OPENSSH PRIVATE KEY") => {
                let command = |path: &str| {
                    format!("cp -p {path} {path}.new && ssh-keygen -p -m PKCS8 -N '' -f {path}.new")
                };
                format!("it is a key of OpenSSH{}", to_type(self.path, command))
            }
            Some("DSA PRIVATE KEY") => unsupported_key("a DSA key", self.path),
            Some(label) if label.contains("PUBLIC KEY") => {
                "it contains a public key: name the file with the private key".to_owned()
            }
            Some("CERTIFICATE") => {
                "it contains a certificate and no private key: name the file with the key".to_owned()
            }
            Some(label) => format!("it contains no private key, but: {label}"),
            None => "it contains no private key: expected a line -----BEGIN PRIVATE KEY-----".to_owned(),
        }
    }

    /// The words for a binary file, or for one whose lines are indented. `command` is the one of openssl.
    fn not_pem(&self, command: &str) -> Option<String> {
        if self.text.first() == Some(&0x30) && self.labels().next().is_none() {
            // PKCS #12 begins with a version, 3 (RFC 7292, section 4).
            let header = if self.text.get(1).is_some_and(|length| *length == 0x82) { 4 } else { 2 };
            return Some(match self.text.get(header..header + 3) {
                Some([2, 1, 3]) => {
                    let command = |path: &str| format!("openssl pkcs12 -in {path} -nodes -out {path}.new");
                    format!("it is in PKCS #12 format{}", to_type(self.path, command))
                }
                _ => {
                    let command =
                        |path: &str| format!("openssl {command} -inform DER -in {path} -out {path}.new");
                    format!("it is in DER format, expected PEM{}", to_type(self.path, command))
                }
            });
        }
        let mut lines = self.lines();
        let is_indented =
            lines.any(|line| line.starts_with([' ', '\t']) && line.trim_start().starts_with("-----BEGIN "));
        is_indented.then(|| {
            let command = |path: &str| format!("sed 's/^[[:blank:]]*//' {path} > {path}.new");
            format!("its lines are indented{}", to_type(self.path, command))
        })
    }

    /// The kinds of content, as the lines `-----BEGIN …-----` name them.
    fn labels(&self) -> impl Iterator<Item = &str> {
        self.lines().filter_map(|line| line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
    }
}

/// The words for a key of a kind that TLS or its library does not have.
pub fn unsupported_key(kind: &str, path: &Path) -> String {
    let command = |path: String| {
        format!(
            ", and type for that: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {path}.new"
        )
    };
    format!(
        "it is {kind}, which is not supported (but RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519); \
         have a certificate issued for a new key{}",
        path_word(path).map(command).unwrap_or_default()
    )
}

fn damaged(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            format!(
                "it is cut off: the line -----END {}----- is missing",
                String::from_utf8_lossy(end_marker).trim_end()
            )
        }
        // The rest of the line may be the key.
        Error::IllegalSectionStart { .. } => {
            "a line -----BEGIN …----- has no end or something behind it".to_owned()
        }
        Error::Base64Decode(_) => "it is damaged: invalid base64 between the lines BEGIN and END".to_owned(),
        other => other.to_string(),
    }
}
