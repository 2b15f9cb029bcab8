//! Credentials in the query of a request target, and the query without them.

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter, memchr3};

use super::credential_halves::{CredentialHalves, CredentialValueBuffer};
use super::key::CredentialKey;
use crate::wire::credential::{CredentialError, PresentedCredential};
use crate::wire::percent::{self, PercentDecoder};

/// The number of times that a path is decoded.
const DECODINGS: usize = 3;

/// The result of [`take_credential`].
#[derive(Debug)]
pub struct QueryCredential {
    /// The credential.
    pub credential: PresentedCredential,
    /// The query without the credential: every other parameter unchanged and in order. If it is empty, the `?` is dropped as
    /// well.
    pub rest: Vec<u8>,
}

/// Takes `api_user` and `api_key` out of a raw query (without its `?`). Returns `None` if neither occurs; the query is then
/// forwarded unchanged. Names are compared after percent-decoding, in any spelling that a backend could accept (case,
/// `api.key`, `api_key[]`, `[api_key]`).
///
/// A query without them costs one pass over its bytes and no allocation.
///
/// # Errors
/// One half without the other, a repeated parameter with a different value, a value longer than
/// [`LONGEST_VALUE`](crate::wire::credential::LONGEST_VALUE), or a credential behind a `;` instead of a `&`.
pub fn take_credential(query: &[u8]) -> Result<Option<QueryCredential>, CredentialError> {
    if !mentions_credential(query) {
        return Ok(None);
    }
    let mut halves = CredentialHalves::default();
    let mut rest = Vec::with_capacity(query.len());
    let mut first = true;
    for piece in query.split(|b| *b == b'&') {
        if let Some((key, end)) =
            CredentialKey::at_start_of(piece).filter(|(_, end)| piece.get(*end) != Some(&b';'))
        {
            halves.put(key, value(piece.get(end + 1..).unwrap_or_default())?.finish())?;
            continue;
        }
        if hides_credential(piece) {
            return Err(CredentialError::Ambiguous);
        }
        if !std::mem::take(&mut first) {
            rest.push(b'&');
        }
        rest.extend_from_slice(piece);
    }
    Ok(halves.whole()?.map(|credential| QueryCredential { credential, rest }))
}

/// Removes everything that could be a credential, valid or not, from a raw query, for a route that requires none. Returns
/// `None` if there is nothing to remove.
pub fn without_credential(query: &[u8]) -> Option<Vec<u8>> {
    if !mentions_credential(query) {
        return None;
    }
    let is_other = |piece: &&[u8]| CredentialKey::at_start_of(piece).is_none() && !hides_credential(piece);
    let others: Vec<&[u8]> = query.split(|b| *b == b'&').filter(is_other).collect();
    Some(others.join(&b'&'))
}

/// Returns true if `api_user` or `api_key` has a value in a raw path, behind a `?`, `&` or `;`, also an encoded one. Backends that
/// rewrite a path into a query find it there.
pub fn path_has_credential(path: &[u8]) -> bool {
    if memchr3(b'&', b';', b'%', path).is_none() {
        return false;
    }
    let mut text = Cow::Borrowed(path);
    for _ in 0..=DECODINGS {
        let mut fields = text.split(|b| matches!(b, b'?' | b'&' | b';')).skip(1);
        let is_credential = |field: &[u8]| {
            CredentialKey::at_start_of(field).is_some_and(|(_, end)| field.get(end) == Some(&b'='))
        };
        if fields.any(is_credential) {
            return true;
        }
        if !text.contains(&b'%') {
            break;
        }
        let mut decoded = Vec::with_capacity(text.len());
        let mut decoder = PercentDecoder::of_names();
        text.iter().for_each(|byte| decoder.feed(*byte, |b| decoded.push(b)));
        decoder.finish(|b| decoded.push(b));
        text = Cow::Owned(decoded);
    }
    false
}

/// Returns true if a credential occurs. Exact for parameters behind `&`: the second pass finds none elsewhere.
fn mentions_credential(query: &[u8]) -> bool {
    let mut starts = std::iter::once(0).chain(memchr2_iter(b'&', b';', query).map(|at| at + 1));
    starts.any(|at| CredentialKey::at_start_of(&query[at..]).is_some())
}

/// Returns true if a backend that separates parameters by `;` would read a credential in this parameter.
fn hides_credential(piece: &[u8]) -> bool {
    memchr(b';', piece).is_some()
        && piece.split(|b| *b == b';').any(|part| CredentialKey::at_start_of(part).is_some())
}

fn value(encoded: &[u8]) -> Result<CredentialValueBuffer, CredentialError> {
    let mut buffer = CredentialValueBuffer::with_room_for(encoded.len());
    let mut outcome = Ok(());
    percent::decode(encoded, |byte| outcome = outcome.and_then(|()| buffer.extend(&[byte])));
    outcome.map(|()| buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::credential::LONGEST_VALUE;

    fn take(query: &str) -> Result<Option<(String, String, String)>, CredentialError> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ok(take_credential(query.as_bytes())?.map(|taken| {
            let presented = taken.credential.presented();
            (text(presented.username), text(presented.secret), text(&taken.rest))
        }))
    }

    #[test]
    fn credentials_are_taken_out() {
        let cases = [
            ("api_user=joe&api_key=s", ""),
            ("to=a%40b&api_user=joe&x&api_key=s&&y=1;2", "to=a%40b&x&&y=1;2"),
            ("api_key=s&b=2&%61pi%5Fuser=j%6fe&a=1", "b=2&a=1"),
            ("api_user=joe&api_user=joe&api_key=s&api_key=%73&a", "a"),
            ("API_USER=joe&api.key[]=s", ""),
            ("[api_user]=joe&api_key]=s&x[api_user]=1&api_users=2", "x[api_user]=1&api_users=2"),
            ("?api_user=joe&%u0061pi_key=s", ""),
            ("&api_user=joe&api_key=s", ""),
            ("a&api_user=joe&api_key=s&", "a&"),
            ("&&a&api_user=joe&&api_key=s", "&&a&"),
        ];
        for (query, rest) in cases {
            assert_eq!(take(query), Ok(Some(("joe".into(), "s".into(), rest.into()))), "{query}");
        }
        let plus = take("api_user=a+b%2Bc&api_key=%26%3D%25%").unwrap().unwrap();
        assert_eq!(plus, ("a b+c".into(), "&=%%".into(), String::new()));
        let empty = take("api_user&api_key=").unwrap().unwrap();
        assert_eq!(empty, (String::new(), String::new(), String::new()));
    }

    #[test]
    fn invalid_credentials_are_taken_out_as_well() {
        let cases = [
            ("a=1&api_key=x&b=2", Some("a=1&b=2")),
            ("api_user=a&api_user=b", Some("")),
            ("a=1;api_key=s&b", Some("b")),
            ("a;api_key;b", Some("")),
            ("a=1&api_key;b", Some("a=1")),
            ("a=1&apikey=2", None),
            ("", None),
        ];
        for (query, rest) in cases {
            let taken = without_credential(query.as_bytes());
            assert_eq!(taken.as_deref(), rest.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn credentials_in_a_path() {
        for path in [
            "/a&api_user=j&api_key=s",
            "/a%26api_key=s",
            "/a%3Fapi_user=j%26x",
            "/a%3fb%26%61pi_key%3ds",
            "/a%253Fapi_key%253Ds",
            "/a%u0026api_key=s",
            "/a;API.KEY[]=s/b",
            "/a;b&api_key=s",
        ] {
            assert!(path_has_credential(path.as_bytes()), "{path}");
        }
        for path in ["/a", "/api_key=s", "/a/api_user=j", "/a&api_keys=s", "/a;api_key/b", "/a%26b=api_key=s"]
        {
            assert!(!path_has_credential(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn queries_without_a_credential() {
        for query in
            ["", "a=1&b=2", "apix_user=1", "a=api_user=1", "x=api_key", "api_user_id=4&my_api_key=5", "a;b"]
        {
            assert_eq!(take(query), Ok(None), "{query}");
        }
    }

    #[test]
    fn refused() {
        use CredentialError::*;
        let long = format!("api_user=joe&api_key={}", "%41".repeat(LONGEST_VALUE + 1));
        let cases = [
            ("api_user=joe", NoSecret),
            ("api_key=s", NoUsername),
            ("api_user=joe&api_user=jim&api_key=s", Conflict),
            ("api_user=joe&api_key=s&api_key=S", Conflict),
            ("api_user=joe&api_key=s&API_KEY=t", Conflict),
            ("api_user=joe&api_key=s&[api_user=jim", Conflict),
            ("api_user=joe&api_key=s&api_key%5D=t", Conflict),
            ("a=1;api_key=s", Ambiguous),
            ("a=1;[api_key]=s", Ambiguous),
            ("a=1&amp;api_key=s", Ambiguous),
            ("a;api_key", Ambiguous),
            ("api_key;b", Ambiguous),
            ("api_key[;x=s", Ambiguous),
            ("amp;api_key=s", Ambiguous),
            ("api_user=joe&api_key=s&a=1;%61pi_user=jim", Ambiguous),
            (&long, TooLong),
        ];
        for (query, expected) in cases {
            assert_eq!(take(query), Err(expected), "{query}");
        }
        let longest = format!("api_user=joe&api_key={}", "%41".repeat(LONGEST_VALUE));
        assert!(take(&longest).is_ok());
    }

    /// Quadratic time at these lengths would exceed any timeout of a test run.
    #[test]
    fn the_time_is_linear_in_the_length() {
        for name in
            ["api_key[", "api_key%00", "%61pi_user", "api_key+", "api_key", "[", "%u0061", "+", "%", "a="]
        {
            for separator in [";", "&"] {
                let query = format!("a{}", format!("{separator}{name}").repeat(1 << 17));
                let _ = take_credential(query.as_bytes());
            }
        }
        let query = format!("a{}=s", ";api_key[".repeat(1 << 17));
        assert_eq!(take(&query), Err(CredentialError::Ambiguous));
    }
}
