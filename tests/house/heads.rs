//! Heads of HTTP/1 messages made of pieces, valid ones and others, before the properties of their fuzz targets.

use proptest::prelude::*;

use crate::seeds::properties;

fn start() -> impl Strategy<Value = String> {
    let lines = &[
        "GET / HTTP/1.1",
        "POST /a?b=c HTTP/1.1",
        "PUT http://a/b HTTP/1.0",
        "get /{} HTTP/1.9",
        "GET  / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /",
        "HTTP/1.1 200 OK",
        "HTTP/1.0 404",
        "HTTP/1.2 204 No Content",
        "HTTP/1.1 099 No",
        "HTTP/1.1 200 O\0K",
        "",
    ];
    prop_oneof![4 => proptest::sample::select(lines).prop_map(str::to_owned), 1 => "[ -~]{0,30}"]
}

fn field() -> impl Strategy<Value = String> {
    let names = &[
        "Host",
        "host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "X",
        "X Y",
        "X\0",
        " X",
        "X ",
        "",
    ];
    let values = &[
        "a", "5", "05", "5, 5", "+5", "chunked", "Chunked", "identity", "close", "", " ", "\t5\t", "a\0",
        "a\rb",
    ];
    let well = (proptest::sample::select(names), proptest::sample::select(values));
    let blank = proptest::sample::select(&["", " ", "\t ", "\r\n "][..]);
    prop_oneof![
        6 => (well, blank).prop_map(|((name, value), blank)| format!("{name}:{blank}{value}")),
        1 => "[ -~]{0,20}",
        1 => "[!-~]{1,9}: [ -~\u{e9}]{0,20}",
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let end = proptest::sample::select(&["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n"][..]);
    let line = (prop_oneof![field()], end.clone()).prop_map(|(line, end)| line + end);
    let before = proptest::sample::select(&["", "", "", "\r\n", "\r\n\r\n", "\n"][..]);
    let lines = proptest::collection::vec(line, 0..5);
    (before, start(), end, lines, proptest::option::weighted(0.9, Just("\r\n")), ".{0,9}").prop_map(
        |(before, start, end, lines, last, behind)| {
            format!("{before}{start}{end}{}{}{behind}", lines.concat(), last.unwrap_or_default()).into_bytes()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_head_has_the_properties(head in head()) {
        properties::request_head(&head);
        properties::response_head(&head);
    }
}
