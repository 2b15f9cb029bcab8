use super::*;

/// A request with these fields, of a version that does not need a host where it names none.
fn head(method: &str, version: Version, fields: &[(&str, &str)]) -> RequestHead {
    let mut head =
        RequestHead::of_http2(Method::from_bytes(method.as_bytes()).unwrap(), b"/a?b=c", None, 0, 0);
    if version == Version::HTTP_2 {
        fields.iter().for_each(|(name, value)| head.append(name.as_bytes(), value.as_bytes()));
        return head;
    }
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    head.read(format!("{method} /a?b=c HTTP/1.0\r\n{lines}\r\n").as_bytes()).unwrap().unwrap();
    head
}

fn sent(version: Version, fields: &[(&'static str, &'static str)], trusted: bool) -> Vec<String> {
    let request = head("POST", version, fields);
    let client = HttpPeer::new("192.0.2.7:4711".parse().unwrap(), true);
    let with = Outgoing {
        path: b"/a",
        query: Some(b"b=c"),
        identity: None,
        client: &client,
        trusted,
        framing: Framing::None,
        authority: "backend.test",
        host: None,
        reads_basic: true,
        reads_query: true,
        upgrade: false,
        request_id: &RequestId::default(),
    };
    let mut bytes = Vec::new();
    outgoing(&request, &with, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(rest, "");
    let named = fields.iter().any(|(name, _)| *name == "Host");
    assert_ne!(named, head.contains("\r\nhost: backend.test"), "{head}");
    head.lines().filter(|line| *line != "host: backend.test").map(str::to_owned).collect()
}

const ADDED: [&str; 3] =
    ["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https", "x-request-id: 0000000000000000"];

#[test]
fn what_only_gatepost_may_say_never_comes_from_a_client() {
    let forged = [
        ("X-Gatepost-User", "root"),
        ("x_gatepost_user", "root"),
        ("X-Gatepost_Account", "root"),
        ("x-gatepost-anything", "root"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("X-Forwarded-Port", "1"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Request_Id", "mine"),
        ("X-Original-URL", "/admin"),
        ("x_rewrite_url", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method_Override", "DELETE"),
        ("X-Real-IP", "10.0.0.1"),
        ("True-Client-IP", "10.0.0.1"),
        ("Client_IP", "10.0.0.1"),
    ];
    let lines = sent(Version::HTTP_11, &forged, false);
    assert_eq!(lines[0], "POST /a?b=c HTTP/1.1");
    assert_eq!(lines[1..], ADDED);
    let alike = [("X-Original-Subject", "1"), ("Client-Ips", "1"), ("X-HTTP-Methods", "1"), ("Cookie", "1")];
    assert_eq!(sent(Version::HTTP_11, &alike, false).len(), 1 + alike.len() + ADDED.len());
    let trusted = sent(Version::HTTP_11, &[("X-Real-IP", "10.0.0.1"), ("X-Original-URL", "/a")], true);
    assert!(trusted.contains(&"X-Real-IP: 10.0.0.1".to_owned()), "{trusted:?}");
    assert_eq!(trusted.len(), 1 + 1 + ADDED.len(), "{trusted:?}");
}

#[test]
fn a_referer_keeps_no_credential() {
    for (came, goes) in [
        ("http://gw/r?api_user=bob&api_key=s", "referer: http://gw/r"),
        ("http://gw/r?a=1&api_user=bob&b&%61pi_key=s", "referer: http://gw/r?a=1&b"),
        ("/r?a;api_key=s", "referer: /r"),
        ("http://gw/r?a=1&api_users=2", "Referer: http://gw/r?a=1&api_users=2"),
        ("http://gw/r", "Referer: http://gw/r"),
    ] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let lines = sent(version, &[("Referer", came)], false);
            assert!(lines[1].eq_ignore_ascii_case(goes), "{came}: {lines:?}");
            assert_eq!(lines.len(), 2 + ADDED.len());
        }
    }
}

#[test]
fn connection_neither_names_without_end_nor_what_a_body_is() {
    let lines = sent(
        Version::HTTP_11,
        &[
            ("Connection", "content-type, Content-Encoding"),
            ("Content-Type", "a/b"),
            ("Content-Encoding", "c"),
        ],
        false,
    );
    assert_eq!(lines.len(), 1 + 2 + ADDED.len(), "{lines:?}");
    for (count, passes) in [(64, true), (65, false), (30_000, false)] {
        let request = head("GET", Version::HTTP_11, &[("Connection", &"a,".repeat(count))]);
        let client = HttpPeer::new("192.0.2.7:4711".parse().unwrap(), true);
        let with = Outgoing {
            host: None,
            reads_basic: true,
            reads_query: true,
            path: b"/a",
            query: None,
            identity: None,
            client: &client,
            trusted: false,
            framing: Framing::None,
            authority: "backend.test",
            upgrade: false,
            request_id: &RequestId::default(),
        };
        assert_eq!(outgoing(&request, &with, &mut Vec::new()).is_ok(), passes, "{count}");
    }
}

#[test]
fn hop_by_hop_fields_end_here_and_so_does_what_connection_names() {
    let fields = [
        ("Connection", "keep-alive, X-Private, Host"),
        ("X-Private", "1"),
        ("Keep-Alive", "5"),
        ("Proxy-Connection", "close"),
        ("TE", "trailers"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
        ("Proxy-Authorization", "Basic x"),
        ("Authorization", "Basic x"),
        ("Host", "api.test"),
        ("X-Kept", "1"),
    ];
    let lines = sent(Version::HTTP_11, &fields, false);
    assert!(lines.contains(&"Host: api.test".to_owned()));
    assert!(lines.contains(&"X-Kept: 1".to_owned()));
    assert_eq!(lines.len(), 1 + 2 + ADDED.len() + 1, "{lines:?}");
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let fields =
        [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "h")];
    let lines = sent(Version::HTTP_11, &fields, true);
    assert!(lines.contains(&"x-forwarded-for: 198.51.100.1, 192.0.2.7".to_owned()), "{lines:?}");
    assert!(lines.contains(&"x-forwarded-proto: http".to_owned()));
    assert!(lines.contains(&"x-forwarded-host: h".to_owned()));
}

#[test]
fn the_crumbs_of_http_2_become_one_cookie() {
    let lines = sent(Version::HTTP_2, &[("cookie", "a=1"), ("cookie", "b=2")], false);
    assert!(lines.contains(&"cookie: a=1; b=2".to_owned()), "{lines:?}");
}

fn cookies_sent(version: Version, fields: &[(&'static str, &'static str)]) -> Vec<String> {
    let lines = sent(version, fields, false);
    lines.into_iter().filter(|line| line.to_ascii_lowercase().starts_with("cookie")).collect()
}

#[test]
fn cookies_of_sessions_never_reach_a_backend() {
    let each = [
        ("Cookie", "a=b; __Host-gatepost=1.x;c=d"),
        ("cookie", "__Host-gatepost-console=1.x"),
        ("COOKIE", "e=f"),
        ("Cookie", " gatepost = 1.x ; "),
    ];
    assert_eq!(cookies_sent(Version::HTTP_11, &each), ["Cookie: a=b;c=d", "COOKIE: e=f"]);
    let crumbs = [("cookie", "a=b"), ("cookie", "__Host-gatepost=1.x"), ("cookie", "c=d")];
    assert_eq!(cookies_sent(Version::HTTP_2, &crumbs), ["cookie: a=b; c=d"]);
    assert!(cookies_sent(Version::HTTP_2, &crumbs[1..2]).is_empty());
    let two = [("cookie", "__Host-gatepost=1.x"), ("cookie", "gatepost=2.y")];
    assert!(cookies_sent(Version::HTTP_2, &two).is_empty());
}
