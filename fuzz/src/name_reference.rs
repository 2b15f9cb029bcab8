//! The rule for names of credentials (docs/security.md), written once more over whole texts.

/// Returns true if the name of a field, as written, is `api_user` or `api_key` to some backend.
pub(super) fn is_credential(written: &[u8]) -> bool {
    let decoded = decoded(written);
    let mut name = &decoded[..];
    while let Some(rest) = name.strip_prefix(b"\xef\xbb\xbf").or_else(|| {
        name.split_first().filter(|(first, _)| b"[].? \t\n\x0c\r".contains(first)).map(|(_, rest)| rest)
    }) {
        name = rest;
    }
    let lower = name.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix(b"api") else { return false };
    let Some((b'_' | b'.' | b' ' | b'[', rest)) = rest.split_first() else { return false };
    let Some(rest) = rest.strip_prefix(b"user").or_else(|| rest.strip_prefix(b"key")) else { return false };
    let after = rest.trim_ascii_start();
    after.is_empty() || b"[].\0".contains(&after[0])
}

/// Decodes `%hh`, `%uhhhh` and `+`, once.
fn decoded(text: &[u8]) -> Vec<u8> {
    let number = |digits: Option<&[u8]>| {
        let digits =
            std::str::from_utf8(digits?).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(&first) = text.get(at) {
        let byte = number(text.get(at + 1..at + 3)).filter(|_| first == b'%');
        let wide = number(text.get(at + 2..at + 6)).filter(|_| text[at..].starts_with(b"%u"));
        if let Some(byte) = byte {
            bytes.push(byte as u8);
            at += 3;
        } else if let Some(wide) = wide {
            let character = char::from_u32(wide).unwrap_or(char::REPLACEMENT_CHARACTER);
            bytes.extend(character.to_string().bytes());
            at += 6;
        } else {
            bytes.push(if first == b'+' { b' ' } else { first });
            at += 1;
        }
    }
    bytes
}
