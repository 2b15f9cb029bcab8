use proptest::prelude::*;

use super::*;

#[path = "../../../../fuzz/src/chunked_reference.rs"]
mod chunked_reference;

use chunked_reference::{Body, read};

fn validate(body: &[u8]) -> (Result<usize, ChunkedError>, bool) {
    let mut decoder = ChunkedDecoder::new();
    (decoder.validate(body), decoder.is_complete())
}

/// The number of bytes of `input` that belong to the body, or the error; and the data until then.
fn decode(decoder: &mut ChunkedDecoder, input: &[u8]) -> (Result<usize, ChunkedError>, Vec<u8>) {
    let (mut read, mut data) = (0, Vec::new());
    loop {
        match decoder.next(&input[read..]) {
            Ok((consumed, item)) => {
                let ChunkedItem::Data(range) = item else { return (Ok(read + consumed), data) };
                data.extend_from_slice(&input[read..][range]);
                read += consumed;
            }
            Err(error) => return (Err(error), data),
        }
    }
}

/// The error of a body, and how many of its bytes are read until then.
fn error(body: &[u8]) -> (ChunkedError, usize) {
    let mut decoder = ChunkedDecoder::new();
    let bytes = body.iter().enumerate();
    let mut found = bytes.filter_map(|(at, byte)| Some((decoder.validate(&[*byte]).err()?, at + 1)));
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
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.validate(body.as_bytes()), Err(expected), "{shown}");
        // It stays invalid.
        assert_eq!(decoder.validate(b"0\r\n\r\n"), Err(expected), "{shown}");
        assert!(decoder.is_invalid() && !decoder.is_complete());
    }
}

#[test]
fn data_is_a_range_of_the_input_in_front_of_any_error() {
    use ChunkedItem::{Data, End, NeedMore};
    let mut decoder = ChunkedDecoder::new();
    for (input, expected) in [
        ("", Ok((0, NeedMore))),
        ("5;a=b\r\nhello\r\n", Ok((12, Data(7..12)))),
        ("\r\n3\r", Ok((4, NeedMore))),
        ("\n", Ok((1, NeedMore))),
        ("ab", Ok((2, Data(0..2)))),
        ("c\r\n", Ok((1, Data(0..1)))),
        ("\r\n0\r\nX: y\r\n\r\nGET", Ok((13, End))),
        ("GET", Ok((0, End))),
    ] {
        assert_eq!(decoder.next(input.as_bytes()), expected, "{input:?}");
    }
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.next(b"2\r\nabc"), Ok((5, Data(3..5))));
    assert_eq!(decoder.next(b"c"), Err(ChunkedError::DataEnd));
    assert_eq!(decoder.next(b""), Err(ChunkedError::DataEnd));
}

#[test]
fn the_largest_size_is_counted_and_not_overflowed() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.validate(b"ffffffffffffffff\r\n"), Ok(18));
    for _ in 0..1000 {
        assert_eq!(decoder.validate(&[b'\n'; 1000]), Ok(1000));
    }
    assert!(!decoder.is_complete() && !decoder.is_invalid());
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
        let mut whole = ChunkedDecoder::new();
        let (expected, data) = decode(&mut whole, &body);
        let mut pieces = ChunkedDecoder::new();
        let (mut read, mut sizes, mut decoded) = (0, sizes.iter().cycle(), Vec::new());
        let found = loop {
            let end = body.len().min(read + sizes.next().unwrap());
            let (found, piece) = decode(&mut pieces, &body[read..end]);
            decoded.extend(piece);
            match found {
                Ok(count) => read += count,
                Err(error) => break Err(error),
            }
            if read < end || read == body.len() {
                break Ok(read);
            }
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(decoded, data);
        prop_assert_eq!(pieces.is_complete(), whole.is_complete());
        prop_assert_eq!(ChunkedDecoder::new().validate(&body), expected);
        if expected.is_err() {
            // The error is at a byte: what is before it is the beginning of a body.
            let (_, at) = error(&body);
            prop_assert!(validate(&body[..at - 1]).0.is_ok() && validate(&body[..at]).0.is_err());
        }
    }

    #[test]
    fn a_simple_reader_agrees(body in body()) {
        let mut decoder = ChunkedDecoder::new();
        let (found, data) = decode(&mut decoder, &body);
        let (simple, simple_data) = read(&body);
        match simple {
            Body::Whole(length) => prop_assert_eq!((found, decoder.is_complete()), (Ok(length), true)),
            Body::Beginning => prop_assert!(!decoder.is_complete()),
            Body::Invalid => prop_assert!(found.is_err()),
        }
        prop_assert_eq!(data, simple_data);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..5000), 0..6),
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut body: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| [format!("{:X};a=\"b\"\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect();
        body.extend(b"0\r\nX-Sum: 1\r\n\r\n");
        let length = body.len();
        body.extend(&behind);
        let mut decoder = ChunkedDecoder::new();
        prop_assert_eq!(decode(&mut decoder, &body), (Ok(length), chunks.concat()));
        prop_assert_eq!(decoder.next(&behind), Ok((0, ChunkedItem::End)));
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
