//! The header block of one part of a multipart body (RFC 7578, section 4).

use memchr::memmem;

use super::attributes::{is_token, split};
use super::form::FormError;
use super::key::CredentialKey;
use super::percent;

/// What the header block of a part says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The field's name without the backslashes of quoting; `None` where the part has none.
    pub(crate) name: Option<Vec<u8>>,
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// Which half of a credential the part carries.
    pub(crate) credential: Option<CredentialKey>,
}

const LINE: FormError = FormError::Malformed("header line of a part");
const DISPOSITION: FormError = FormError::Malformed("Content-Disposition of a part");
const UNUSUAL: FormError = FormError::Malformed("unusual part for a credential");

impl Head {
    /// Reads a block of lines that each end in CRLF.
    ///
    /// Whatever two parsers could read as two different fields is refused: folded lines, lone CR or LF, control
    /// characters, a name given twice or in the extended form, and any credential that isn't a plain field.
    pub(crate) fn parse(block: &[u8]) -> Result<Head, FormError> {
        let mut disposition = None;
        let mut content_id = None;
        let mut encoding = None;
        let mut rest = block;
        while !rest.is_empty() {
            let end = memmem::find(rest, b"\r\n").ok_or(LINE)?;
            let (name, value) = split_line(&rest[..end])?;
            let slot = match &*name.to_ascii_lowercase() {
                b"content-disposition" => Some(&mut disposition),
                b"content-id" => Some(&mut content_id),
                b"content-transfer-encoding" => Some(&mut encoding),
                _ => None,
            };
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return Err(FormError::Malformed("header given twice in a part"));
            }
            rest = &rest[end + 2..];
        }
        let head = disposition.map_or(Ok(Head { name: None, is_file: false, credential: None }), read)?;
        let identity = ["7bit", "8bit", "binary"].map(str::as_bytes);
        let encoded = encoding.is_some_and(|e| !identity.iter().any(|i| e.eq_ignore_ascii_case(i)));
        if head.credential.is_some() && encoded {
            return Err(UNUSUAL);
        }
        // Rack names a part after its Content-ID.
        if content_id.is_some_and(mentions_key) {
            return Err(UNUSUAL);
        }
        Ok(head)
    }
}

fn split_line(line: &[u8]) -> Result<(&[u8], &[u8]), FormError> {
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(LINE);
    }
    let colon = memchr::memchr(b':', line).ok_or(LINE)?;
    let name = &line[..colon];
    // This refuses a folded line as well: it begins with white space.
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(LINE);
    }
    Ok((name, line[colon + 1..].trim_ascii()))
}

/// Reads a Content-Disposition.
fn read(value: &[u8]) -> Result<Head, FormError> {
    let (kind, attributes) = split(value);
    let mut name = None;
    let mut file_names = 0;
    let mut extended_file_names = 0;
    for attribute in attributes {
        let attribute = attribute.map_err(|_| DISPOSITION)?;
        if attribute.is("name") {
            let written = attribute.value.ok_or(DISPOSITION)?;
            if name.replace(written).is_some() {
                return Err(DISPOSITION);
            }
        } else if attribute.is_extended("name") {
            return Err(DISPOSITION);
        } else if attribute.is("filename") {
            file_names += 1;
        } else if attribute.is_extended("filename") {
            extended_file_names += 1;
        } else if !attribute.name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(b)) {
            // To PHP, an apostrophe is a quote.
            return Err(DISPOSITION);
        }
    }
    if file_names > 1 {
        return Err(DISPOSITION);
    }
    let is_file = file_names + extended_file_names > 0;
    let credential = name.map_or(Ok(None), credential)?;
    if credential.is_some() && (is_file || !kind.eq_ignore_ascii_case(b"form-data")) {
        return Err(UNUSUAL);
    }
    // To a parser that knows no backslash, a quoted text ends earlier, and what follows are attributes.
    if credential.is_none() && value.contains(&b'\\') && mentions_key(value) {
        return Err(DISPOSITION);
    }
    Ok(Head { name: name.map(unescaped), is_file, credential })
}

/// Which key a name is, in any of the ways in which parsers undo what clients do to quote it.
fn credential(written: &[u8]) -> Result<Option<CredentialKey>, FormError> {
    // MIME libraries decode RFC 2047 words also here; nobody needs one to name a field.
    if memmem::find(written, b"=?").is_some() || written.contains(&b'\t') {
        return Err(DISPOSITION);
    }
    let plain = unescaped(written);
    let mut found = None;
    for name in [written, &plain] {
        let mut decoded = Vec::with_capacity(name.len());
        percent::decode(name, |b| decoded.push(b));
        for name in [name, &decoded] {
            found = found.or(CredentialKey::of(name)).or(CredentialKey::of(without_apostrophes(name)));
        }
    }
    Ok(found)
}

fn mentions_key(value: &[u8]) -> bool {
    let mut folded = Vec::with_capacity(value.len());
    percent::decode(&unescaped(value), |b| {
        folded.push(if b".[ ".contains(&b) { b'_' } else { b.to_ascii_lowercase() });
    });
    [&b"api_user"[..], b"api_key"].iter().any(|key| memmem::find(&folded, key).is_some())
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    plain
}

/// PHP takes apostrophes for quotes.
fn without_apostrophes(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b"'").unwrap_or(name);
    name.strip_suffix(b"'").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Head, FormError> {
        Head::parse(lines.iter().flat_map(|l| [l, "\r\n"]).collect::<String>().as_bytes())
    }

    fn named(disposition: &str) -> Result<Head, FormError> {
        parse(&[&format!("Content-Disposition: form-data; {disposition}")])
    }

    #[test]
    fn names() {
        let cases = [
            (r#"name="to""#, "to", None),
            ("name=to", "to", None),
            ("NAME=api_user", "api_user", Some(CredentialKey::Username)),
            (r#"name="api_key""#, "api_key", Some(CredentialKey::Secret)),
            (r#"name="api%5Fkey""#, "api%5Fkey", Some(CredentialKey::Secret)),
            (r#"name="api\_key""#, "api_key", Some(CredentialKey::Secret)),
            (r#"name="api\%5Fkey""#, "api%5Fkey", Some(CredentialKey::Secret)),
            ("name='api_key'", "'api_key'", Some(CredentialKey::Secret)),
            (r#"name="'api_key'""#, "'api_key'", Some(CredentialKey::Secret)),
            (r#"name="api_key[]""#, "api_key[]", Some(CredentialKey::Secret)),
            (r#"name="files[a\"b]""#, r#"files[a"b]"#, None),
            ("name=\"\u{fc}\"", "\u{fc}", None),
        ];
        for (text, name, credential) in cases {
            let head = Head { name: Some(name.into()), is_file: false, credential };
            assert_eq!(named(text), Ok(head), "{text}");
        }
    }

    #[test]
    fn files_and_parts_without_names() {
        for text in [
            r#"name="f"; filename="a.pdf""#,
            r#"name="f"; filename="C:\dir\file""#,
            r#"name="f"; filename="""#,
            r#"name="f"; filename"#,
            r#"name="files[api_key.txt]"; filename="api_key.txt"; filename*=UTF-8''api_key.txt"#,
        ] {
            assert!(named(text).unwrap().is_file, "{text}");
        }
        let nameless = Head { name: None, is_file: false, credential: None };
        assert_eq!(parse(&[]), Ok(nameless));
        let other =
            parse(&["content-DISPOSITION:form-data;name=\"a\"", "Content-Type: text/plain;charset=x"]);
        assert_eq!(other.unwrap().name.unwrap(), b"a");
        assert!(parse(&["Content-ID: <1@x>", "Content-Disposition: inline"]).is_ok());
        assert!(
            parse(&["Content-Transfer-Encoding: 8BIT", "Content-Disposition: form-data; name=api_key"])
                .is_ok()
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            r#"name="a"; name="api_key""#,
            r#"name="a"; NAME="a""#,
            "name*=utf-8''api_key",
            "name*0=api_; name*1=key",
            r#"name="a"; name*=utf-8''b"#,
            "name",
            r#"name="api_key"#,
            r#"name ="api_key""#,
            r#"name= "api_key""#,
            "name=api_key x",
            r#"name="api_key"; filename="x""#,
            r#"name="api_key"; filename"#,
            r#"name="api_key"; filename*=utf-8''x"#,
            r#"name="a"; filename="x"; filename="y""#,
            r#"name="=?utf-8?B?YXBpX2tleQ==?=""#,
            r#"filename="a\"; name=api_key; x=""#,
            r#"name="a\"; name=api%5fkey; x=""#,
            r#"x="y" name="api_key""#,
            "'name'=api_key",
        ] {
            assert!(named(text).is_err(), "{text}: {:?}", named(text));
        }
        let plain = "Content-Disposition: form-data; name=api_key";
        for lines in [
            &["Content-Disposition: attachment; name=api_key"][..],
            &["Content-Disposition: form-data; name=a", plain],
            &[plain, "Content-Transfer-Encoding: base64"],
            &["Content-Transfer-Encoding: quoted-printable", plain],
            &["Content-ID: <api_key>"],
            &["Content-ID: api%5Fuser"],
            &["X: y", " Content-Disposition: form-data; name=api_key"],
            &["Content-Disposition: form-data;", "\tname=api_key"],
            &["Content-Disposition : form-data; name=api_key"],
            &["X: y\nContent-Disposition: form-data; name=api_key"],
            &["X: y\rContent-Disposition: form-data; name=api_key"],
            &["Content-Disposition: form-data; name=api_key\0"],
            &["no colon"],
            &[": x"],
        ] {
            assert!(parse(lines).is_err(), "{lines:?}");
        }
    }
}
