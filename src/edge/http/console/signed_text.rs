//! Text that the console hands to itself through an address or a form: signed for one session, so that nobody else can write it, and
//! any node can read it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use subtle::ConstantTimeEq;

/// The longest text, in bytes.
pub const LONGEST: usize = 4096;

/// The bytes of a signature.
const SIGNATURE: usize = 16;

/// The purpose of a text. One that is signed for another purpose is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedPurpose {
    /// The result of a change, for the page after it.
    Notice,
    /// The values of a form that was sent after its session had ended.
    ResumedForm,
    /// The same values on their way through the login page.
    FormOfLogin,
}

impl SignedPurpose {
    const fn as_byte(self) -> u8 {
        match self {
            SignedPurpose::Notice => 1,
            SignedPurpose::ResumedForm => 2,
            SignedPurpose::FormOfLogin => 3,
        }
    }
}

/// Signs a text for the session with this form token. The result is safe in a query.
pub fn sign(form_token: &str, purpose: SignedPurpose, text: &[u8]) -> String {
    let signature = signature(form_token, purpose, text);
    format!("{}.{}", BASE64.encode(text), BASE64.encode(signature))
}

/// Returns the text if it was signed for this purpose and for the session with this form token.
pub fn open(form_token: &str, purpose: SignedPurpose, signed: &str) -> Option<Vec<u8>> {
    if signed.len() > LONGEST * 4 / 3 + 64 {
        return None;
    }
    let (text, signed) = signed.split_once('.')?;
    let (text, signed) = (BASE64.decode(text).ok()?, BASE64.decode(signed).ok()?);
    let is_ours: bool = signature(form_token, purpose, &text).ct_eq(&signed[..]).into();
    is_ours.then_some(text)
}

fn signature(form_token: &str, purpose: SignedPurpose, text: &[u8]) -> [u8; SIGNATURE] {
    let key = blake3::derive_key("gatepost 2026-11 text of the console", form_token.as_bytes());
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&[purpose.as_byte()]).update(text);
    let mut signature = [0; SIGNATURE];
    hasher.finalize_xof().fill(&mut signature);
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_session_and_purpose_read_it() {
        let signed = sign("a", SignedPurpose::Notice, "Removed jürgen.".as_bytes());
        assert!(signed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{signed}");
        assert_eq!(open("a", SignedPurpose::Notice, &signed).unwrap(), "Removed jürgen.".as_bytes());
        assert_eq!(open("b", SignedPurpose::Notice, &signed), None);
        assert_eq!(open("a", SignedPurpose::ResumedForm, &signed), None);
    }

    #[test]
    fn a_changed_text_is_not_valid() {
        let signed = sign("a", SignedPurpose::Notice, b"x");
        let (text, signature) = signed.split_once('.').unwrap();
        for forged in [
            "",
            ".",
            "x",
            text,
            &format!("{text}."),
            &format!("{text}.{}", &signature[..20]),
            &format!("{}.{signature}", BASE64.encode("y")),
            &format!(".{signature}"),
            &format!("{signed}."),
            &format!("{signed}AA"),
            &"A".repeat(100_000),
        ] {
            assert_eq!(open("a", SignedPurpose::Notice, forged), None, "{forged:.80}");
        }
    }
}
