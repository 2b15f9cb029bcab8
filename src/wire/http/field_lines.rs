//! Header lines as most peers write them, read in one pass. Whatever is unusual is left to a complete parser, which alone decides
//! what is invalid.

use super::characters::TOKEN;
use super::field_kind::FieldKind;
use super::header_fields::{FIELD_COUNT, HeaderFields, Span};

/// Reads the lines of `head` from `start` to the empty line into `fields`. Returns the end of that line. `None` if the head is incomplete
/// or unusual in any way; a part of it may have been read then.
pub(super) fn read_lines(fields: &mut HeaderFields, head: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let line = head.get(at..)?;
        let colon = line.iter().position(|byte| !TOKEN.contains(*byte))?;
        if colon == 0 {
            return line.starts_with(b"\r\n").then_some(at + 2);
        }
        // One space, as nearly everybody writes it. A line without one has a value at once.
        let value = match line.get(colon..colon + 2)? {
            b": " => colon + 2,
            [b':', _] => colon + 1,
            _ => return None,
        };
        let end = value + line_end(&line[value..])?;
        let (first, last) = (line.get(value)?, line.get(end.checked_sub(1)?)?);
        if end == value || is_blank(*first) || is_blank(*last) || fields.len() == FIELD_COUNT {
            return None;
        }
        let kind = FieldKind::of(&line[..colon]);
        fields.add_as(kind, Span::new(at, at + colon), Span::new(at + value, at + end));
        at += end + 2;
    }
}

/// The length of a line without its CR LF. `None` if a control character, which a tab is too, comes before that.
pub(super) fn line_end(text: &[u8]) -> Option<usize> {
    let end = first_control(text)?;
    text[end..].starts_with(b"\r\n").then_some(end)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The position of the first control character: below the space, or DEL.
fn first_control(text: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let (eights, rest) = text.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        // The highest bit of a byte becomes 1 where the byte is below the space, and where it is DEL. Bytes after the first such one
        // may have it by a carry.
        let controls = eight.wrapping_sub(0x20 * EACH) & !eight;
        let deletes = (eight ^ (0x7f * EACH)).wrapping_sub(EACH) & !(eight ^ (0x7f * EACH));
        let found = (controls | deletes) & (0x80 * EACH);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(u8::is_ascii_control).map(|at| 8 * eights.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_control_character_is_found(text in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(first_control(&text), text.iter().position(u8::is_ascii_control));
            let long: Vec<u8> = text.iter().map(|byte| if byte.is_ascii_control() { b'x' } else { *byte }).collect();
            for byte in 0..=255 {
                let text = [&long[..], &[byte], &text[..]].concat();
                prop_assert_eq!(first_control(&text), text.iter().position(u8::is_ascii_control));
            }
        }
    }

    #[test]
    fn usual_lines_are_read_and_others_are_left() {
        let read_bytes = |text: &[u8]| read_lines(&mut HeaderFields::default(), text, 0);
        let read = |text: &str| read_bytes(text.as_bytes());
        for text in ["\r\n", "A: b\r\n\r\n", "A:b\r\nC-d: e, f\r\n\r\n", "A: \u{e9}\r\n\r\n"] {
            assert_eq!(read(text), Some(text.len()), "{text:?}");
            assert_eq!(read(&format!("{text}A: c\r\n\r\n")), Some(text.len()), "{text:?}");
            for end in 0..text.len() {
                assert_eq!(read_bytes(&text.as_bytes()[..end]), None, "{text:?} until {end}");
            }
        }
        for line in [
            "A : b",
            "A",
            ": b",
            " A: b",
            "A:",
            "A: ",
            "A:  b",
            "A: b ",
            "A: b\t",
            "A: b\tc",
            "A: b\r\n c",
            "A: b\nC: d",
            "A: b\rC: d",
            "A(: b",
            "\u{e9}: b",
            "A: \u{7f}",
            "A: \0",
        ] {
            assert_eq!(read(&format!("{line}\r\n\r\n")), None, "{line:?}");
        }
        let many = |count| format!("{}\r\n", "a: b\r\n".repeat(count));
        assert!(read(&many(FIELD_COUNT)).is_some() && read(&many(FIELD_COUNT + 1)).is_none());
    }
}
