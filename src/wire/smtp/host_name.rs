//! The name that a client gives in EHLO or HELO. Many devices send no valid host name but `My Mac` or a name in UTF-8. Nothing
//! relies on the name, so such clients are let in.

/// The longest name in bytes (RFC 5321 section 4.5.3.1.2).
const LONGEST: usize = 255;

/// The bytes that a name keeps: those of host names, address literals and the underscore.
const KEPT: [bool; 256] = {
    let mut kept = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let it = byte as u8;
        kept[byte] = it.is_ascii_alphanumeric() || matches!(it, b'.' | b':' | b'_' | b'[' | b']' | b'-');
        byte += 1;
    }
    kept
};

/// Returns true for a name that is accepted: 1 to 255 bytes.
pub fn is_accepted(name: &[u8]) -> bool {
    (1..=LONGEST).contains(&name.len())
}

/// The byte as it is passed on, in `Received` and in XCLIENT: `?` if it could have a meaning there.
pub const fn printable(byte: u8) -> u8 {
    if KEPT[byte as usize] { byte } else { b'?' }
}

/// The name as it is passed on.
pub fn passed_on(name: &[u8]) -> Box<str> {
    name.iter().map(|byte| char::from(printable(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Case D3: names that are no host names
    #[test]
    fn nothing_in_a_name_has_a_meaning_elsewhere() {
        let cases = [
            ("client.example", "client.example"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("my_pc-1", "my_pc-1"),
            ("My Mac", "My?Mac"),
            ("Дм-ПК", "????-????"),
            ("(x)\"\\;<y>=+z", "?x?????y???z"),
        ];
        for (name, expected) in cases {
            assert_eq!(&*passed_on(name.as_bytes()), expected, "{name}");
        }
        assert!(is_accepted(&[b'x'; 255]) && !is_accepted(&[b'x'; 256]) && !is_accepted(b""));
    }
}
