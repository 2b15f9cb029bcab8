use super::*;

fn id() -> RequestId {
    RequestId::default()
}

/// The header as a client of that version gets it, in both ways of writing it.
fn header(status: u16, fields: &[(&'static str, &str)], with: &Incoming<'_>) -> String {
    let mut response = ResponseHead::default();
    let text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let reason = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
    response.read(format!("HTTP/1.1 {status} {reason}\r\n{text}\r\n").as_bytes()).unwrap().unwrap();
    let mut bytes = Vec::new();
    incoming_bytes(&response, with, &mut bytes).unwrap();
    let bytes = String::from_utf8(bytes).unwrap();
    let map = incoming_http2(&response, with).unwrap();
    let mut lines: Vec<_> = bytes.lines().skip(1).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), map.headers().len(), "{bytes}");
    lines.retain(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        !map.headers().get_all(name).iter().any(|other| other.as_bytes() == value.as_bytes())
    });
    assert!(lines.is_empty(), "{lines:?} in one and not in the other");
    bytes
}

#[test]
fn both_ways_write_the_same_fields() {
    let with = Incoming {
        version: Version::HTTP_11,
        keepalive: true,
        length: BodyLength::Known(5),
        request_id: &id(),
        rules: GateRules::default(),
    };
    let fields = [
        ("Date", "today"),
        ("Connection", "Keep-Alive"),
        ("Keep-Alive", "5"),
        ("X-Request-ID", "3"),
        ("Content-Length", "5, 5"),
        ("ETag", "a"),
        ("TE", "trailers"),
        ("Trailer", "A"),
        ("Upgrade", "h2c"),
        ("Date", "tomorrow"),
    ];
    let expected = "HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 5\r\nETag: a\r\nx-request-id: 0000000000000000\r\n\r\n";
    assert_eq!(header(200, &fields, &with), expected);
}

#[test]
fn a_response_without_a_body_says_no_invalid_length() {
    let with = Incoming {
        version: Version::HTTP_11,
        keepalive: true,
        length: BodyLength::None,
        request_id: &id(),
        rules: GateRules::default(),
    };
    for (length, kept) in [("5", true), ("5, 5", true), ("5, 6", false), ("abc", false), ("-1", false)] {
        for status in [200, 304] {
            let text = header(status, &[("Content-Length", length)], &with);
            assert_eq!(text.contains("Content-Length: 5\r\n"), kept, "{length} {text}");
            assert_eq!(text.contains("Content-Length"), kept, "{length} {text}");
        }
    }
}

#[test]
fn a_response_without_a_length_is_chunked_where_that_is_understood() {
    for (version, expected) in [
        (Version::HTTP_11, "Transfer-Encoding: chunked\r\nDate: now\r\n"),
        (Version::HTTP_10, "Date: now\r\nConnection: close\r\n"),
        (Version::HTTP_2, "Date: now\r\n"),
    ] {
        for length in [BodyLength::Chunked, BodyLength::UntilClose] {
            let keepalive = version != Version::HTTP_10;
            let with =
                Incoming { version, keepalive, length, request_id: &id(), rules: GateRules::default() };
            let fields = [
                ("Transfer-Encoding", "chunked"),
                ("Connection", "X-Private, content-type"),
                ("X-Private", "1"),
                ("Content-Type", "text/plain"),
            ];
            let answer = header(200, &fields, &with);
            let date = answer.split("Date: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let answer = answer.replace(date, "now");
            let start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
            assert_eq!(
                answer,
                format!("{start}{expected}x-request-id: 0000000000000000\r\n\r\n"),
                "{version:?}"
            );
        }
    }
}

#[test]
fn what_has_no_body_has_no_framing_but_a_representations_length() {
    for (status, fields, expected) in [
        (
            204,
            &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")][..],
            "Date: a\r\nx-request-id: 0000000000000000\r\n",
        ),
        (
            304,
            &[("Content-Length", "5,5")],
            "Content-Length: 5\r\nDate: a\r\nx-request-id: 0000000000000000\r\n",
        ),
        (304, &[("Transfer-Encoding", "chunked")], "Date: a\r\nx-request-id: 0000000000000000\r\n"),
        (
            200,
            &[("Content-Length", "5")],
            "Content-Length: 5\r\nDate: a\r\nx-request-id: 0000000000000000\r\n",
        ),
    ] {
        let with = Incoming {
            version: Version::HTTP_11,
            keepalive: true,
            length: BodyLength::None,
            request_id: &id(),
            rules: GateRules::default(),
        };
        let answer = header(status, &[fields, &[("Date", "a")]].concat(), &with);
        assert_eq!(answer.split_once("\r\n").unwrap().1, format!("{expected}\r\n"), "{status} {fields:?}");
    }
}

#[test]
fn informational_responses_keep_what_they_say_and_nothing_about_the_connection() {
    let with = Incoming {
        version: Version::HTTP_11,
        keepalive: false,
        length: BodyLength::None,
        request_id: &id(),
        rules: GateRules::default(),
    };
    let fields = [
        ("Link", "</a.css>"),
        ("Content-Length", "5"),
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("X-Request-Id", "3"),
    ];
    assert_eq!(header(103, &fields, &with), "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Keep-Alive", "timeout=5")];
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nx-request-id: 0000000000000000\r\n\r\n";
    assert_eq!(header(101, &fields, &with), expected);
}

fn by_session(fields: &[(&'static str, &str)], rules: GateRules) -> String {
    let length = BodyLength::Known(0);
    let with = Incoming { version: Version::HTTP_11, keepalive: true, length, request_id: &id(), rules };
    header(200, &[fields, &[("Date", "a")]].concat(), &with)
}

#[test]
fn a_response_by_session_is_private_unless_the_backend_says_who_may_store_it() {
    let rules = GateRules { is_by_session: true, confines_workers: false };
    for (said, is_added) in [
        (&[][..], true),
        (&["max-age=60"], true),
        (&["no-cache"], true),
        (&["max-age=60, immutable", "stale-if-error=5"], true),
        (&["x-public=1"], true),
        (&["private"], false),
        (&["PUBLIC, max-age=60"], false),
        (&["no-store"], false),
        (&["max-age=60 , s-maxage = 5"], false),
        (&["max-age=60", "must-revalidate"], false),
        (&["private=\"Set-Cookie\""], false),
    ] {
        let fields: Vec<_> = said.iter().map(|value| ("Cache-Control", *value)).collect();
        let text = by_session(&fields, rules);
        assert_eq!(text.contains("Cache-Control: private\r\nx-request-id"), is_added, "{said:?}: {text}");
        assert!(said.iter().all(|value| text.contains(&format!("Cache-Control: {value}\r\n"))), "{text}");
        assert!(
            !by_session(&fields, GateRules::default()).contains("Cache-Control: private\r\nx-"),
            "{said:?}"
        );
    }
}

#[test]
fn a_backend_sets_no_cookie_of_a_session_and_no_scope_of_workers() {
    let fields = [
        ("Set-Cookie", "a=b; Path=/"),
        ("set-cookie", "__Host-gatepost=x; Path=/; Secure"),
        ("Set-Cookie", "=__host-gatepost=x"),
        ("Set-Cookie", "gatepost-console=x"),
        ("Set-Cookie", "c=d"),
        ("Service-Worker-Allowed", "/"),
    ];
    let confining = GateRules { is_by_session: false, confines_workers: true };
    let text = by_session(&fields, GateRules::default());
    assert_eq!(text.matches("ookie:").count(), 2, "{text}");
    assert!(text.contains("Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\nService-Worker-Allowed: /\r\n"));
    assert!(!by_session(&fields, confining).contains("Service-Worker"));
}
