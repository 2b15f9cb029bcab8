use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let mut head = RequestHead::default();
    Ok(head.read(text.as_bytes())?.map(|length| (head, length)))
}

fn complete(text: &str) -> RequestHead {
    let (head, length) = read(text).unwrap().unwrap();
    assert_eq!(length, text.len());
    head
}

fn reason(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_head_is_what_was_sent() {
    let head =
        complete("POST /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nX-Kept:  1 2\t\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(
        (head.method().as_str(), head.target(), head.version()),
        ("POST", &b"/a?b=c"[..], Version::HTTP_11)
    );
    let fields: Vec<_> = head.fields().iter().map(|field| (field.name, field.value)).collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"Host", b"a.test:80"), (b"X-Kept", b"1 2"), (b"content-length", b"3")];
    assert_eq!(fields, expected);
    assert_eq!(head.body_length(), BodyLength::Known(3));
    assert_eq!(head.fields().get(FieldKind::ContentLength), Some(&b"3"[..]));
    assert_eq!(head.fields().named("x-kept").collect::<Vec<_>>(), [b"1 2"]);
    assert!(head.keeps_open() && !head.expects_continue() && !head.asks_for_websocket());
}

#[test]
fn the_memory_of_a_head_is_used_again() {
    let mut head = RequestHead::default();
    head.read(b"GET http://u@h/a HTTP/1.0\r\nCookie: a\r\nX: y\r\n\r\n").unwrap_err();
    head.read(b"GET http://h:1/a HTTP/1.0\r\nCookie: a\r\nX: y\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.authority(), Some(&b"h:1"[..]));
    head.read(b"PUT /b HTTP/1.1\r\nHost: h\r\n\r\nbody").unwrap().unwrap();
    assert_eq!((head.target(), head.authority(), head.fields().len()), (&b"/b"[..], None, 1));
    assert!(!head.fields().contains(FieldKind::Cookie));
}

#[test]
fn nothing_of_a_request_counts_for_the_next_one() {
    let mut head = RequestHead::default();
    head.read(b"HEAD http://h:1/a HTTP/1.0\r\nCookie: a\r\nContent-Length: 5\r\n\r\n").unwrap().unwrap();
    head.forget();
    assert_eq!((head.method(), head.version(), head.target()), (&Method::GET, Version::HTTP_11, &b""[..]));
    assert!(head.fields().is_empty() && !head.fields().contains(FieldKind::Cookie));
    assert_eq!((head.authority(), head.body_length()), (None, BodyLength::None));
    let large = format!("GET /a HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    head.read(large.as_bytes()).unwrap().unwrap();
    head.shrink(1 << 20);
    assert_eq!(head.target(), b"/a");
    head.shrink(8 * 1024);
    assert!(head.target().is_empty() && !head.fields.is_larger_than(0));
}

// Case A12: a higher minor version counts as 1.1.
#[test]
fn versions() {
    for (version, expected) in [
        ("HTTP/1.0", Version::HTTP_10),
        ("HTTP/1.1", Version::HTTP_11),
        ("HTTP/1.2", Version::HTTP_11),
        ("HTTP/1.9", Version::HTTP_11),
    ] {
        assert_eq!(complete(&format!("GET / {version}\r\nHost: a\r\n\r\n")).version(), expected);
    }
    for version in ["HTTP/2.0", "HTTP/9.9", "HTTP/0.9", "http/1.1", "HTTP/1.10", "HTTP/1.", "HTTP/01.1", ""] {
        assert!(reason(&format!("GET / {version}\r\nHost: a\r\n\r\n")).contains("version"), "{version}");
    }
}

// Case A16: a space in the target is refused, by that reason. Case A2: other bytes are taken as they are.
#[test]
fn targets() {
    for target in ["/e?filter={\"a\":1}", "/e?x=<y>", "/a|b\\c^`", "/\u{e9}", "*", "a:80", "/%zz"] {
        let head = complete(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(head.target(), target.as_bytes());
    }
    assert_eq!(complete("GET /a?b#c?d HTTP/1.1\r\nHost: a\r\n\r\n").target(), b"/a?b");
    for (line, expected) in [
        ("GET /a b HTTP/1.1", "space"),
        ("GET  /a HTTP/1.1", "space"),
        ("GET /a  HTTP/1.1", "space"),
        ("GET /a\t HTTP/1.1", "control"),
        ("GET /\u{1} HTTP/1.1", "control"),
        ("GET /\u{7f} HTTP/1.1", "control"),
        ("GET\t/a\tHTTP/1.1", "request line"),
        ("GET /a", "request line"),
        ("GET", "request line"),
        ("GET  HTTP/1.1", "request line"),
        ("G(T /a HTTP/1.1", "method"),
        (" /a HTTP/1.1", "method"),
        ("GET /a HTTP/1.1 ", "version"),
    ] {
        let reason = reason(&format!("{line}\r\nHost: a\r\n\r\n"));
        assert!(reason.contains(expected), "{line}: {reason}");
    }
}

#[test]
fn lines_end_in_cr_lf_and_have_a_name() {
    for fields in [
        "X-A: b\nX-B: c\r\n",
        "X-A: b\n\n",
        "X-A: b\r X-B: c\r\n",
        "X-A: b\r\n folded\r\n",
        " X-A: b\r\n",
        "X-A : b\r\n",
        "X-A\t: b\r\n",
        "nothing\r\n",
        ": b\r\n",
        "X-A: b\0\r\n",
        "X\0: b\r\n",
        "X-A: b\x7f\r\n",
        "X(A): b\r\n",
        "X-\u{e9}: b\r\n",
    ] {
        reason(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        reason(&format!("GET / HTTP/1.1\r\n{fields}Host: a\r\n\r\n"));
    }
    complete("GET / HTTP/1.1\r\nHost: a\r\nX-A:\r\nX-B: \u{e9}\r\n\r\n");
    // Behind such a line, the fields would begin with an empty one.
    for end in ["\r", "\r\r\n", "\r \r\n", "\rX: y\r\n"] {
        reason(&format!("POST / HTTP/1.0{end}Content-Length: 5\r\n\r\nhello"));
    }
}

#[test]
fn one_host() {
    for fields in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a@b\r\n", "Host: a/b\r\n"] {
        assert!(reason(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).contains("Host"), "{fields}");
    }
    for (target, good) in
        [("http://A/b", true), ("http://a:1/", false), ("http://b/", false), ("http://u@a/", false)]
    {
        assert_eq!(read(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).is_ok(), good, "{target}");
    }
    complete("GET / HTTP/1.0\r\n\r\n");
    complete("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
    complete("GET / HTTP/1.1\r\nHost:\r\n\r\n");
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for lines in [0, 1, EMPTY_LINES] {
        let text = "\r\n".repeat(lines) + request;
        assert_eq!(read(&text).unwrap().unwrap().1, text.len());
    }
    reason(&("\r\n".repeat(EMPTY_LINES + 1) + request));
    assert!(read("\r").unwrap().is_none() && read("\r\n\r").unwrap().is_none());
    reason(&format!("\n{request}"));
}

#[test]
fn limits() {
    let of = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    assert_eq!(complete(&of(REQUEST_HEADER_LIMIT)).fields().len(), 2);
    assert_eq!(read(&of(REQUEST_HEADER_LIMIT + 1)).unwrap_err(), HeadError::TooLarge);
    let endless = of(REQUEST_HEADER_LIMIT).replace("\r\n\r\n", "xxxx");
    assert_eq!(read(&endless).unwrap_err(), HeadError::TooLarge);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
    for count in [1, USUAL_FIELDS, USUAL_FIELDS + 1, FIELD_COUNT] {
        assert_eq!(complete(&fields(count)).fields().len(), count);
    }
    assert_eq!(read(&fields(FIELD_COUNT + 1)).unwrap_err(), HeadError::TooManyFields);
}

#[test]
fn what_is_no_request_is_refused_before_its_end() {
    assert!(read("\x16\x03\x01\x02").is_err());
    assert!(read("GET /").unwrap().is_none() && read("GE").unwrap().is_none());
}

// Case C6: one rule for both versions.
#[test]
fn a_connection_stays_open_by_its_version_and_field() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "close", false),
        ("1.1", "x, CLOSE", false),
        ("1.1", "x-private", true),
        ("1.0", "", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "close, keep-alive", false),
        ("1.0", "x-private", false),
    ] {
        let field =
            if connection.is_empty() { String::new() } else { format!("Connection: {connection}\r\n") };
        let head = complete(&format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n"));
        assert_eq!(head.keeps_open(), expected, "{version} {connection}");
    }
}

#[test]
fn a_websocket_is_asked_for_in_one_way() {
    let fields = "Host: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
    assert!(complete(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).asks_for_websocket());
    for other in [
        format!("POST / HTTP/1.1\r\n{fields}\r\n"),
        format!("GET / HTTP/1.0\r\n{fields}\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: h2c\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{}\r\n", fields.replace("WebSocket", "h2c")),
        format!("GET / HTTP/1.1\r\n{}\r\n", fields.replace(", Upgrade", "")),
    ] {
        assert!(!complete(&other).asks_for_websocket(), "{other}");
    }
}

proptest! {
    // What is read in one pass is read as the complete parser reads it.
    #[test]
    fn usual_heads_are_read_as_others_are(
        start in prop::sample::select(vec![
            "GET /a?b=c HTTP/1.1\r\n", "POST http://h/a HTTP/1.1\r\n", "G@T / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "GET  / HTTP/1.1\r\n",
            "GET /#a HTTP/1.1\r\n", "GET /\u{e9} HTTP/1.1\r\n", "GET /\t HTTP/1.1\r\n", " / HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n", "\r\nGET / HTTP/1.1\r\n",
        ]),
        lines in prop::collection::vec(
            (
                "[A-Za-z-]{0,17}|Host|Content-Length|X\u{e9}",
                ":|: |:  | : |:\t",
                "[ -~]{0,20}|[\t ]{0,2}[!-~\u{e9}\u{7f}]{0,12}[\t ]{0,2}|5",
                "\r\n|\r\n|\r\n|\n|\r|\r\n ",
            ),
            0..6,
        ),
        end in prop::sample::select(vec!["\r\n", "\r\nbody\n", "\n", ""]),
    ) {
        let lines: String = lines.into_iter().map(|(a, b, c, d)| format!("{a}{b}{c}{d}")).collect();
        let text = format!("{start}{lines}{end}");
        let (mut usual, mut any) = (RequestHead::default(), RequestHead::default());
        let length = any.read_any(text.as_bytes(), &mut 0);
        if let Some(read) = usual.read_usual(text.as_bytes()) {
            prop_assert_eq!(length, Ok(Some(read)));
            prop_assert_eq!((&usual.method, usual.version, usual.target()), (&any.method, any.version, any.target()));
            let fields = |head: &RequestHead| format!("{:?}", head.fields.iter().collect::<Vec<_>>());
            prop_assert_eq!(fields(&usual), fields(&any));
            prop_assert_eq!((usual.fields.text_len(), usual.authority()), (any.fields.text_len(), any.authority()));
        }
    }

    #[test]
    fn a_usual_head_is_read_in_one_pass(target in "/[a-z]{0,9}", value in "[!-~]{1,9}") {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
        prop_assert_eq!(RequestHead::default().read_usual(text.as_bytes()), Some(text.len()));
    }

    /// A head is read in the same way however its bytes arrive, and nothing behind it is taken for a part of it.
    #[test]
    fn a_head_that_grows_is_the_same_as_a_whole_one(
        text in "(\r\n){0,3}GET / HTTP/1.1\r\n(Host: a\r\n|B: [a-z]{0,9}\r\n|\n|\r){0,6}(\r\n)?x?",
        step in 1_usize..5,
    ) {
        let whole = RequestHead::default().read(text.as_bytes());
        let (mut head, mut scanned, mut end) = (RequestHead::default(), 0, 0);
        let grown = loop {
            end = (end + step).min(text.len());
            match head.read_more(&text.as_bytes()[..end], &mut scanned) {
                Ok(None) if end < text.len() => {}
                other => break other,
            }
        };
        prop_assert_eq!(grown, whole);
    }

    #[test]
    fn pieces_make_no_difference(
        target in "/[!-\"$-~]{0,20}",
        fields in proptest::collection::vec(("[a-z]{1,8}", "[!-~]{0,12}"), 0..30),
        behind in "[ -~\r\n]{0,40}",
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("x-{name}: {value}\r\n")).collect();
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        for end in 0..text.len() {
            prop_assert_eq!(head.read(&text.as_bytes()[..end]), Ok(None));
        }
        let whole = text.clone() + &behind;
        prop_assert_eq!(head.read(whole.as_bytes()), Ok(Some(text.len())));
        prop_assert_eq!(head.target(), target.as_bytes());
        let written: String = head.fields().iter().map(|field| {
            format!("{}: {}\r\n", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value))
        }).collect();
        prop_assert_eq!(written, format!("Host: a\r\n{fields}"));
    }

    /// Panics of a reader would show here, whatever the input is.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), behind in "(\r\n)?[ -~\r\n]*") {
        let _ = RequestHead::default().read(&bytes);
        let _ = RequestHead::default().read(&[b"GET / HTTP/1.1\r\n", behind.as_bytes(), &bytes].concat());
    }
}
