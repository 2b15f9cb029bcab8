//! The kind of a private key or certificate that the TLS library refuses, found by its DER (X.690): object identifiers, and
//! the version of a certificate.

use rustls::pki_types::PrivateKeyDer;

/// Curves and algorithms that are not supported: the DER of their object identifiers, and their names.
const UNSUPPORTED: [(&[u8], &str); 13] = [
    (&[6, 5, 0x2b, 0x81, 4, 0, 0x23], "a key for the curve P-521"),
    (&[6, 5, 0x2b, 0x81, 4, 0, 0x0a], "a key for the curve secp256k1"),
    (&[6, 5, 0x2b, 0x81, 4, 0, 0x21], "a key for the curve P-224"),
    (&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1], "a key for the curve P-192"),
    (&[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1], "a key for a Brainpool curve"),
    (&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "a DSA key"),
    (&[6, 3, 0x2b, 0x65, 0x71], "an Ed448 key"),
    (&[6, 3, 0x2b, 0x65, 0x6e], "an X25519 key"),
    (&[6, 3, 0x2b, 0x65, 0x6f], "an X448 key"),
    (&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a], "a key for RSASSA-PSS alone"),
    (&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 0x11], "an ML-DSA key"),
    (&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 0x12], "an ML-DSA key"),
    (&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 0x13], "an ML-DSA key"),
];

/// A prime field, which a key names if it describes its curve instead of naming it.
const PRIME_FIELD: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 1, 1];

const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const SEQUENCE: u8 = 0x30;
/// The tag of the version in a certificate of version 2 or 3.
const VERSION: u8 = 0xa0;

/// The kind of a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A kind that is not supported, in words.
    Unsupported(String),
    /// A curve is described by its parameters.
    ExplicitCurve,
    /// None of these. The key may be damaged.
    Unknown,
}

impl KeyKind {
    /// Finds out the kind of a key that was refused.
    pub fn of(key: &PrivateKeyDer<'_>) -> KeyKind {
        let der = key.secret_der();
        let has = |identifier: &[u8]| der.windows(identifier.len()).any(|window| window == identifier);
        if has(PRIME_FIELD) {
            return KeyKind::ExplicitCurve;
        }
        if let Some((_, name)) = UNSUPPORTED.iter().find(|(identifier, _)| has(identifier)) {
            return KeyKind::Unsupported((*name).to_owned());
        }
        match rsa_bits(key) {
            Some(bits) if !(2048..=4096).contains(&bits) => {
                KeyKind::Unsupported(format!("an RSA key of {bits} bits"))
            }
            _ => KeyKind::Unknown,
        }
    }
}

/// The version of a certificate, from 1 (RFC 5280, section 4.1.2.1).
pub fn certificate_version(certificate: &[u8]) -> Option<u8> {
    let (signed, _) = element(SEQUENCE, element(SEQUENCE, certificate)?.0)?;
    match element(VERSION, signed) {
        Some((version, _)) => element(INTEGER, version)?.0.first().map(|number| number + 1),
        None => Some(1),
    }
}

/// The length of the modulus of an RSA key (RFC 8017, appendix A.1.2).
fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    let (mut fields, _) = element(SEQUENCE, key.secret_der())?;
    if let PrivateKeyDer::Pkcs8(_) = key {
        let (_, rest) = element(INTEGER, fields)?;
        let (_, rest) = element(SEQUENCE, rest)?;
        let (inner, _) = element(OCTET_STRING, rest)?;
        fields = element(SEQUENCE, inner)?.0;
    }
    let (_, rest) = element(INTEGER, fields)?;
    let (modulus, _) = element(INTEGER, rest)?;
    let significant = modulus.iter().position(|byte| *byte != 0)?;
    let first = modulus[significant];
    Some((modulus.len() - significant) * 8 - first.leading_zeros() as usize)
}

/// The content of the element at the beginning, if it has that tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    #[test]
    fn the_version_of_a_certificate_is_read() {
        let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
        assert_eq!(certificate_version(made.cert.der()), Some(3));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(der in proptest::collection::vec(any::<u8>(), 0..200), nested in any::<bool>()) {
            let mut bytes = der;
            if nested {
                bytes.splice(..0, [SEQUENCE, 0x7f, INTEGER, 1, 0, SEQUENCE, 0, OCTET_STRING, 0x60]);
            }
            let _ = certificate_version(&bytes);
            let _ = KeyKind::of(&PrivatePkcs8KeyDer::from(bytes).into());
        }
    }
}
