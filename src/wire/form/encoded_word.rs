//! Encoded words (RFC 2047), which .NET sends for a field's name that is not ASCII.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::charset::is_superset_of_ascii;
use crate::wire::percent::hex;

/// Decodes a text that is one encoded word: `=?charset?B?base64?=` or `=?charset?Q?quoted=20printable?=`. `None` for any other text,
/// and for one that libraries could decode differently.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"=?")?.strip_suffix(b"?=")?;
    let mut parts = inner.split(|b| *b == b'?');
    let (charset, encoding, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    if parts.next().is_some() || !charset.iter().all(is_plain) || !is_superset_of_ascii(charset) {
        return None;
    }
    match encoding {
        b"B" | b"b" => STANDARD.decode(encoded).ok(),
        b"Q" | b"q" => quoted(encoded),
        _ => None,
    }
}

fn quoted(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => hex(*bytes.next()?)? << 4 | hex(*bytes.next()?)?,
            b'!'..=b'~' => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (word, text) in [
            ("=?utf-8?B?ZmlsZXNbcsOpc3Vtw6kucGRmXQ==?=", "files[résumé.pdf]"),
            ("=?UTF-8?q?=C3=BC_=3D?=", "ü ="),
            ("=?us-ascii?Q??=", ""),
        ] {
            assert_eq!(decode(word.as_bytes()).as_deref(), Some(text.as_bytes()), "{word}");
        }
        for word in [
            "",
            "a",
            "=?",
            "=?=",
            "=?utf-8?B?YQ==?= =?utf-8?B?YQ==?=",
            "x=?utf-8?B?YQ==?=",
            "=?utf-8?B?YQ==?=x",
            "=?utf-8?B?YQ?=",
            "=?utf-8?B?YQ==YQ==?=",
            "=?utf-8?B?Y Q==?=",
            "=?utf-8?X?YQ==?=",
            "=?utf-8*en?B?YQ==?=",
            "=?utf-7?Q?a?=",
            "=?ibm037?Q?=81?=",
            "=?utf-8?Q?a=4?=",
            "=?utf-8?Q?a b?=",
        ] {
            assert_eq!(decode(word.as_bytes()), None, "{word}");
        }
    }
}
