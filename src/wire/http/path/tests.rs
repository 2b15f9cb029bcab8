use super::*;

// Case A2: only what may not be in a target is encoded.
#[test]
fn normalized_paths() {
    let cases = [
        ("/", "/"),
        ("//", "//"),
        ("/a//b///", "/a//b///"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/%2e/%2E%2e/.%2e/a", "/a"),
        ("/a//../b", "/a/b"),
        ("/a//..", "/a/"),
        ("//../a", "/a"),
        ("/api/mail%2esend%2Ejson", "/api/mail%2esend%2Ejson"),
        ("/%61pi/%6D%61il.send.json", "/%61pi/%6D%61il.send.json"),
        ("/a%3ab%2b%40", "/a%3ab%2b%40"),
        ("/a:b+@!$&'()*,=", "/a:b+@!$&'()*,="),
        ("/%c3%bc", "/%c3%bc"),
        ("/\u{fc}{}|\"<>^`\\", "/%C3%BC%7B%7D%7C%22%3C%3E%5E%60%5C"),
        ("/a%20b", "/a%20b"),
        ("/100%25", "/100%25"),
        ("/100%", "/100%"),
        ("/a%zz%u002e%4", "/a%zz%u002e%4"),
        ("/a%2Fb%5c%00", "/a%2Fb%5c%00"),
        ("/a./b;c/...", "/a./b;c/..."),
        ("/..;/a", "/..;/a"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/.well-known/...x/x..y", "/.well-known/...x/x..y"),
        ("/a%3fb%23", "/a%3fb%23"),
    ];
    for (raw, normalized) in cases {
        assert_eq!(normalize(raw.as_bytes()).as_deref(), Ok(normalized), "{raw}");
    }
    assert_eq!(normalize(b"/\xff").as_deref(), Ok("/%FF"));
}

#[test]
fn normalized_paths_are_borrowed() {
    for path in ["/", "/api/mail.send.json", "/v3/a-b_c~d/", "/a:b@c", "//a%2fb;c"] {
        assert!(matches!(normalize(path.as_bytes()), Ok(Cow::Borrowed(same)) if same == path), "{path}");
    }
}

#[test]
fn refused() {
    use PathError::*;
    let cases: [(&[u8], PathError); 11] = [
        (b"", NotAPath),
        (b"*", NotAPath),
        (b"a/b", NotAPath),
        (b"http://h/a", NotAPath),
        (b"/a\0", Character),
        (b"/a\tb", Character),
        (b"/a\x7f", Character),
        (b"/a\r\n", Character),
        (b"/a b", Character),
        (b"/a?b", Character),
        (b"/a#b", Character),
    ];
    for (raw, expected) in cases {
        assert_eq!(normalize(raw), Err(expected), "{}", raw.escape_ascii());
    }
}

// Case A2: queries as well.
#[test]
fn queries() {
    let cases: [(&[u8], &[u8]); 5] = [
        (b"filter={\"a\":1}", b"filter=%7B%22a%22:1%7D"),
        (b"x=<y>", b"x=%3Cy%3E"),
        (b"a=\xc3\xbc|\\^`", b"a=%C3%BC%7C%5C%5E%60"),
        (b"a[]=1&b=//../%zz;?/'", b"a[]=1&b=//../%zz;?/'"),
        (b"", b""),
    ];
    for (raw, expected) in cases {
        assert_eq!(encode_query(raw).as_deref(), Ok(expected), "{}", raw.escape_ascii());
    }
    for raw in [&b"a b"[..], b"a\t", b"a#", b"\x7f"] {
        assert_eq!(encode_query(raw), Err(PathError::Character), "{}", raw.escape_ascii());
    }
}

#[test]
fn ordinary_paths() {
    for path in [
        "/",
        "/api/mail.send.json",
        "/v1.0/users/jane.doe/photos",
        "/a/b:c",
        "/v1/things:send",
        "/@scope/name",
        "/a-b_c~d/!$'()*+,=",
        "/index.php",
        "/a/x..y",
        "/x/jan@example.pl/y",
    ] {
        assert!(is_ordinary(path.as_bytes()), "{path}");
    }
    for path in [
        "",
        "*",
        "//",
        "/a//b",
        "/.",
        "/a/..",
        "/.well-known",
        "/a.",
        "/a./b",
        "/a%20b",
        "/a;b",
        "/a&b",
        "/a\\b",
        "/http:/a",
        "/a|b",
        "/ü",
        "/index.php/a",
        "/a/X.CGI/",
        "/a\tb",
    ] {
        assert!(!is_ordinary(path.as_bytes()), "{path}");
    }
}

#[test]
fn unreserved_escapes() {
    for (path, expected) in [
        ("/a/b", "/a/b"),
        ("/%61pi%2ex%7E%2d%5f", "/api.x~-_"),
        ("/a%2Fb%25%3b%zz%6", "/a%2Fb%25%3b%zz%6"),
        ("/%2561", "/%2561"),
    ] {
        assert_eq!(unreserved(path), expected);
    }
}

#[test]
fn targets() {
    let cases: [(&str, &str, Option<&str>); 7] = [
        ("/a?b?c", "/a", Some("b?c")),
        ("/a", "/a", None),
        ("/?", "/", Some("")),
        ("http://h:1/a?b", "/a", Some("b")),
        ("HTTPS://h/a//b", "/a//b", None),
        ("http://h?b/c", "/", Some("b/c")),
        ("//h/a", "//h/a", None),
    ];
    for (target, path, query) in cases {
        let expected = RequestTarget { path: path.as_bytes(), query: query.map(str::as_bytes) };
        assert_eq!(RequestTarget::split(target.as_bytes()), Ok(expected), "{target}");
    }
    for target in ["", "*", "host:443", "ftp://h/a", "http:///a", "http://", "a"] {
        assert_eq!(RequestTarget::split(target.as_bytes()), Err(PathError::NotAPath), "{target}");
    }
    assert_eq!(RequestTarget::split(b"/a#b"), Err(PathError::Character));
}
