use proptest::prelude::*;

use super::*;

#[path = "../../../../fuzz/src/chunked_reference.rs"]
mod chunked_reference;

use chunked_reference::{Body, read};

fn validate(body: &[u8]) -> (Result<usize, ChunkedError>, bool) {
    let mut validator = ChunkedValidator::new();
    (validator.validate(body), validator.is_complete())
}

/// The error of a body, and how many of its bytes are read until then.
fn error(body: &[u8]) -> (ChunkedError, usize) {
    let mut validator = ChunkedValidator::new();
    let bytes = body.iter().enumerate();
    let mut found = bytes.filter_map(|(at, byte)| Some((validator.validate(&[*byte]).err()?, at + 1)));
    found.next().unwrap_or_else(|| panic!("no error in {}", body.escape_ascii()))
}

#[test]
fn every_variant_of_the_grammar_is_accepted() {
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(SIZE_LINE_LIMIT - 4));
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n000\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "5;a\r\nhello\r\n0;b\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a;b=c;d=\"e;f \\\" \\\\ \t\u{e9}\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\"\r\nhello\r\n0\r\n\r\n",
        "5 ; a = b ;\tc\t=\t\"d\" ;e\r\nhello\r\n0\r\n\r\n",
        "1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Empty:\r\nX-Blank: \t\r\nX-\u{21}: \u{e9}\r\n\r\n",
        &long,
    ] {
        let body = body.as_bytes();
        assert_eq!(validate(body), (Ok(body.len()), true), "{}", body.escape_ascii());
        let followed = [body, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(validate(&followed), (Ok(body.len()), true), "{}", body.escape_ascii());
    }
}

#[test]
fn every_deviation_is_an_error_at_its_byte() {
    use ChunkedError as E;
    let line = format!("5;a={}\r\n", "x".repeat(SIZE_LINE_LIMIT));
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_LIMIT / 6 + 1));
    for (body, expected, at) in [
        ("\r\n\r\n", E::Size, 1),
        ("\n", E::Size, 1),
        ("5\r\nhello\r\n\r\n\r\n", E::Size, 11),
        (";x=1\r\n\r\n", E::Size, 1),
        (" \r\n\r\n", E::Size, 1),
        (" 5\r\nhello\r\n", E::Size, 1),
        ("\t5\r\nhello\r\n", E::Size, 1),
        ("x\r\n", E::Size, 1),
        ("-5\r\n", E::Size, 1),
        ("+5\r\n", E::Size, 1),
        ("0x5\r\n", E::Size, 2),
        ("5_0\r\n", E::Size, 2),
        ("5h\r\n", E::Size, 2),
        ("\u{661}\r\n", E::Size, 1),
        ("00000000000000005\r\n", E::Size, 17),
        ("5 \r\nhello\r\n", E::Extension, 3),
        ("5\t\r\nhello\r\n", E::Extension, 3),
        ("5 5\r\nhello\r\n", E::Extension, 3),
        ("5\nhello\r\n", E::Size, 2),
        ("5\rhello\r\n", E::LineEnd, 3),
        ("5\r\rhello\r\n", E::LineEnd, 3),
        ("5\0\r\nhello\r\n", E::Size, 2),
        ("5;\r\nhello\r\n", E::Extension, 3),
        ("5;;a\r\nhello\r\n", E::Extension, 3),
        ("5;a=\r\nhello\r\n", E::Extension, 5),
        ("5;a=b=c\r\nhello\r\n", E::Extension, 6),
        ("5;=b\r\nhello\r\n", E::Extension, 3),
        ("5;a b\r\nhello\r\n", E::Extension, 5),
        ("5;a \r\nhello\r\n", E::Extension, 5),
        ("5;a=b \r\nhello\r\n", E::Extension, 7),
        ("5;a=b c\r\nhello\r\n", E::Extension, 7),
        ("5;a\nhello\r\n", E::Extension, 4),
        ("5;a=b\n\r\nhello\r\n", E::Extension, 6),
        ("5;a\0\r\nhello\r\n", E::Extension, 4),
        ("5;a=\"b\0\"\r\nhello\r\n", E::Extension, 7),
        ("5;a=\"b\r\nhello\r\n0\r\n\r\n", E::Extension, 7),
        ("5;a=\"b\n\"\r\n", E::Extension, 7),
        ("5;a=\"b\\\r\n\"\r\n", E::Extension, 8),
        ("5;a=\"b\"c\r\n", E::Extension, 8),
        ("5;a=\"b\"\n", E::Extension, 8),
        (&line, E::SizeLine, SIZE_LINE_LIMIT + 1),
        ("5\r\nhelloo\r\n", E::DataEnd, 9),
        ("5\r\nhell\r\n0\r\n\r\n", E::DataEnd, 9),
        ("5\r\nhello\n0\r\n\r\n", E::DataEnd, 9),
        ("5\r\nhello\r0\r\n\r\n", E::DataEnd, 10),
        ("0\n\r\n", E::Size, 2),
        ("0\r\n\n", E::Trailer, 4),
        ("0\r\n\rx", E::LineEnd, 5),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", E::Trailer, 7),
        ("0\r\nX-Sum 1\r\n\r\n", E::Trailer, 9),
        ("0\r\nX-Sum : 1\r\n\r\n", E::Trailer, 9),
        ("0\r\n: 1\r\n\r\n", E::Trailer, 4),
        ("0\r\nX-Sum: 1\r\n folded\r\n\r\n", E::Trailer, 14),
        ("0\r\nX-Sum: 1\n\r\n", E::Trailer, 12),
        ("0\r\nX-Sum: \0\r\n\r\n", E::Trailer, 11),
        ("0\r\nX-Sum: 1\rX\r\n\r\n", E::LineEnd, 13),
        (&trailers, E::TrailerSection, 3 + TRAILER_LIMIT + 1),
    ] {
        let shown = body.escape_debug().to_string();
        assert_eq!(error(body.as_bytes()), (expected, at), "{shown}");
        let mut validator = ChunkedValidator::new();
        assert_eq!(validator.validate(body.as_bytes()), Err(expected), "{shown}");
        // It stays invalid.
        assert_eq!(validator.validate(b"0\r\n\r\n"), Err(expected), "{shown}");
        assert!(validator.is_invalid() && !validator.is_complete());
    }
}

#[test]
fn the_largest_size_is_counted_and_not_overflowed() {
    let mut validator = ChunkedValidator::new();
    assert_eq!(validator.validate(b"ffffffffffffffff\r\n"), Ok(18));
    for _ in 0..1000 {
        assert_eq!(validator.validate(&[b'\n'; 1000]), Ok(1000));
    }
    assert!(!validator.is_complete() && !validator.is_invalid());
}

/// Pieces of which bodies are made, valid ones and others.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&str] = &[
        "0\r\n\r\n",
        "0\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "1;a=b\r\nx\r\n",
        "00",
        "a",
        ";",
        "=",
        "\"",
        "\\",
        " ",
        "\t",
        "\r",
        "\n",
        "\0",
        "a=b",
        "X-Sum: 1\r\n",
        ": ",
        "3\r\nab",
        "\u{e9}",
        "2\r\n\r\n\r\n",
        ";a=\"b\"",
    ];
    prop_oneof![
        proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        (proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|data| {
            let size = format!("{:x}\r\n", data.len());
            [size.as_bytes(), &data, b"\r\n"].concat()
        }),
        any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same(body in body(), sizes in proptest::collection::vec(1_usize..9, 1..5)) {
        let mut whole = ChunkedValidator::new();
        let expected = whole.validate(&body);
        let mut pieces = ChunkedValidator::new();
        let (mut read, mut sizes) = (0, sizes.iter().cycle());
        let found = loop {
            let end = body.len().min(read + sizes.next().unwrap());
            match pieces.validate(&body[read..end]) {
                Ok(count) => read += count,
                Err(error) => break Err(error),
            }
            if read < end || read == body.len() {
                break Ok(read);
            }
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(pieces.is_complete(), whole.is_complete());
        if expected.is_err() {
            // The error is at a byte: what is before it is the beginning of a body.
            let (_, at) = error(&body);
            prop_assert!(validate(&body[..at - 1]).0.is_ok() && validate(&body[..at]).0.is_err());
        }
    }

    #[test]
    fn a_simple_reader_agrees(body in body()) {
        let (found, complete) = validate(&body);
        match read(&body) {
            Body::Whole(length) => prop_assert_eq!((found, complete), (Ok(length), true)),
            Body::Beginning => prop_assert!(!complete),
            Body::Invalid => prop_assert!(found.is_err()),
        }
    }

    /// httparse reads the size line for pingora: it has to find the same size and the same end wherever the line is valid.
    #[test]
    fn the_parser_above_agrees_on_what_is_valid(line in "[0-9a-fA-F]{1,16}([ \t]{0,2};[ \t]{0,2}[a-z]{1,3}([ \t]?=[ \t]?([a-z]{1,3}|\"([a-z ;=]|\\\\[\"\\\\a])*\"))?){0,3}\r\n") {
        let size = line.bytes().take_while(u8::is_ascii_hexdigit).count();
        let size = u64::from_str_radix(&line[..size], 16).unwrap();
        prop_assert_eq!(validate(line.as_bytes()).0, Ok(line.len()), "{}", line);
        let parsed = httparse::parse_chunk_size(line.as_bytes());
        prop_assert_eq!(parsed, Ok(httparse::Status::Complete((line.len(), size))));
    }
}
