//! Cursors of pages as clients have them: opaque, versioned, and checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::domain::{PageCursor, PageDirection};

/// The version of the form. A cursor of another version is refused, and its client begins anew.
const VERSION: u8 = 1;

/// The bytes of the checksum, by which a cursor that was cut or changed is told from one of ours.
const CHECKSUM: usize = 4;

/// The longest cursor, in characters.
pub const LONGEST_CURSOR: usize = 128;

/// A cursor that Gatepost did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid cursor: take next_cursor as it is, or begin with the first page, without a cursor")]
pub struct CursorError;

/// Writes a cursor in the characters of base64url.
pub fn encode_cursor(cursor: &PageCursor) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(cursor.to_string().as_bytes());
    bytes.extend_from_slice(&checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of a page that follows another one.
///
/// # Errors
/// [`CursorError`].
pub fn decode_cursor(text: &str) -> Result<PageCursor, CursorError> {
    if text.len() > LONGEST_CURSOR {
        return Err(CursorError);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(CursorError)?;
    let Some((&VERSION, inner)) = content.split_first() else { return Err(CursorError) };
    if *sum != checksum(content) {
        return Err(CursorError);
    }
    let inner = std::str::from_utf8(inner).map_err(|_| CursorError)?;
    let cursor: PageCursor = inner.parse().map_err(|_| CursorError)?;
    // Another spelling would be another cursor for the same page.
    let is_ours = cursor.direction == PageDirection::Forwards && cursor.to_string() == inner;
    if is_ours { Ok(cursor) } else { Err(CursorError) }
}

/// The first bytes of the digest. It keeps nobody from making cursors, which open nothing that their client may not read.
fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    let digest = blake3::hash(content);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest.as_bytes()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(name: &str) -> PageCursor {
        format!("gt:{name}").parse().unwrap()
    }

    #[test]
    fn a_cursor_does_not_show_its_name_and_fits() {
        let text = encode_cursor(&cursor("John.Smith"));
        assert!(!text.contains("john"));
        assert_eq!(decode_cursor(&text).unwrap().to_string(), "gt:john.smith");
        let longest = encode_cursor(&cursor(&"x".repeat(64)));
        assert!(longest.len() <= LONGEST_CURSOR, "{}", longest.len());
    }

    #[test]
    fn cursors_of_others_are_refused() {
        let text = encode_cursor(&cursor("john"));
        let of_bytes = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.extend_from_slice(&checksum(&bytes));
            URL_SAFE_NO_PAD.encode(bytes)
        };
        assert!(decode_cursor(&of_bytes(b"\x01gt:john")).is_ok());
        let wrong = [
            String::new(),
            "john".into(),
            format!("{text}="),
            format!("{text}A"),
            text[1..].into(),
            text[..text.len() - 1].into(),
            "A".repeat(LONGEST_CURSOR + 4),
            of_bytes(b"\x02gt:john"),
            of_bytes(b"\x01gt:John"),
            of_bytes(b"\x01lt:john"),
            of_bytes(b"\x01john"),
            of_bytes(b"\x01gt:a b"),
            of_bytes(b"\x01\xff"),
            of_bytes(b"\x01"),
            of_bytes(b""),
        ];
        for text in wrong {
            assert_eq!(decode_cursor(&text), Err(CursorError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cursors_come_back(name in "[a-z0-9._+@-]{2,63}[a-z]") {
            prop_assert_eq!(decode_cursor(&encode_cursor(&cursor(&name))), Ok(cursor(&name)));
        }

        #[test]
        fn no_text_panics_and_none_has_two_forms(text in "[A-Za-z0-9_=-]{0,140}") {
            if let Ok(read) = decode_cursor(&text) {
                prop_assert_eq!(encode_cursor(&read), text);
            }
        }

        #[test]
        fn a_changed_character_is_found(name in "[a-z]{3,64}", at: proptest::sample::Index, by in 1..64usize) {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut text = encode_cursor(&cursor(&name)).into_bytes();
            let at = at.index(text.len());
            let now = ALPHABET.iter().position(|letter| *letter == text[at]).unwrap();
            text[at] = ALPHABET[(now + by) % 64];
            // One in four billion has the right checksum.
            prop_assert!(decode_cursor(std::str::from_utf8(&text).unwrap()).is_err());
        }
    }
}
