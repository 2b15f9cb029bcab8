//! TLS listeners: HTTP/1.1 and HTTP/2 by what the client asks for, and certificates that are renewed without a restart.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_header};
use crate::common::http::Connection;
use crate::common::http2::{address, ask, config, connected, http2, send, start, whole};
use crate::common::tls::{Authority, connect};
use crate::common::{Gateway, HOLDER, configured};
use http::HeaderMap;
use rustls::ClientConfig;

/// The certificate that is shown to a new connection.
fn shown(gateway: &Gateway, client: &Arc<ClientConfig>) -> Vec<u8> {
    let stream = connect(address(gateway), "gate.test", client.clone()).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn http_1_1_over_tls() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = connect(address(&gateway), "gate.test", authority.client(protocols)).unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET /open/a HTTP/1.1\r\nHost: gate.test\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello") {
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap();
                assert!(read > 0);
                answer.extend_from_slice(&piece[..read]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert_eq!(backend.next().header("x-forwarded-proto"), Some("https"));
        }
    }
}

#[test]
fn what_is_no_tls_is_closed() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut connection = Connection::open(address(&gateway));
    connection.write(b"GET /open/a HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = connection.read_to_end();
    assert!(!answer.starts_with(b"HTTP/"));
    assert!(backend.drain().is_empty());
}

/// Takes the ten seconds that a handshake may take.
#[test]
fn a_handshake_that_is_never_done_is_closed() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let began = Instant::now();
    // Nothing, and the beginning of a ClientHello of 512 bytes.
    let halves: [&[u8]; 3] = [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    let mut open = halves.map(|half| {
        let mut connection = Connection::open(address(&gateway));
        connection.write(half);
        connection
    });
    assert_eq!(shown(&gateway, &authority.client(&[])), shown(&gateway, &authority.client(&[])));
    assert!(open.iter_mut().all(Connection::is_closed));
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_renewed_certificate_is_shown_after_sighup_and_a_bad_one_never() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let client = authority.client(&["http/1.1"]);
    let first = shown(&gateway, &client);
    authority.issue("gate.test").write(gateway.directory.path());
    gateway.signal("HUP");
    gateway.log().wait_for(&["certificate reloaded"]);
    let second = shown(&gateway, &client);
    assert_ne!(first, second);
    // A key that isn't the certificate's, and no certificate at all.
    let key = gateway.directory.path().join("key.pem");
    std::fs::write(&key, authority.issue("gate.test").key).unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["tls.private_key"]);
    assert_eq!(shown(&gateway, &client), second);
    std::fs::write(gateway.directory.path().join("cert.pem"), "nothing").unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["tls.certificate"]);
    gateway.log().wait_for(&["the old one stays in use"]);
    assert_eq!(shown(&gateway, &client), second);
}

#[test]
fn with_a_bad_certificate_a_reload_changes_nothing_and_says_all() {
    let (authority, one, two) = (Authority::new(), Backend::hello(), Backend::hello());
    let gateway = start(&authority, one.address, "");
    let client = authority.client(&["http/1.1"]);
    std::fs::write(gateway.directory.path().join("key.pem"), "nothing").unwrap();
    let groups: String = ["one", "two"]
        .map(|name| {
            format!(
                "[[api.group]]\nname = \"{name}\"\nupstreams = [\"https://127.0.0.1:9\"]\n\
                 upstream_ca = \"DIR/no-{name}.pem\"\n"
            )
        })
        .concat();
    let text = format!("{}{groups}", config(two.address, ""));
    crate::common::write_config(gateway.directory.path(), &text);
    gateway.signal("HUP");
    gateway.log().wait_for(&["the old one stays in use"]);
    for word in ["tls.private_key", "no-one.pem", "no-two.pem"] {
        gateway.log().wait_for(&[word]);
    }
    let mut stream = connect(address(&gateway), "gate.test", client).unwrap();
    stream.write_all(b"GET /open/a HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n").unwrap();
    one.next();
    assert!(two.drain().is_empty());
}

#[test]
fn a_certificate_that_cannot_be_used_is_one_line_at_the_start() {
    let authority = Authority::new();
    let good = authority.issue("gate.test");
    for (certificate, key, word) in [
        (None, Some(good.key.as_str()), "tls.certificate"),
        (Some(good.certificate.as_str()), None, "tls.private_key"),
        (Some("nothing"), Some(good.key.as_str()), "tls.certificate"),
        (Some(good.certificate.as_str()), Some("nothing"), "tls.private_key"),
        (
            Some(good.certificate.as_str()),
            Some(authority.issue("x.test").key.leak() as &str),
            "tls.private_key",
        ),
    ] {
        let directory = configured(&config("127.0.0.1:9".parse().unwrap(), ""));
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            if let Some(text) = text {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
        }
        let output = crate::common::command(&directory.path().join("gatepost.toml"), &["serve"], "");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(word) && text.contains(".pem"), "{text}");
    }
}

#[test]
fn check_tells_all_that_shows_outside_of_the_file_with_line_and_key() {
    let rest = "\n[tls]\ncertificate = 'DIR/no-cert.pem'\nprivate_key = 'DIR/no-key.pem'\n\
        [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['https://127.0.0.1:9']\nupstream_ca = 'DIR/no-ca.pem'\n\
        [[api.group]]\nname = 'other'\nupstreams = ['https://127.0.0.1:9']\n\
        [[api.group]]\nname = 'own'\nupstreams = ['https://127.0.0.1:9']\nupstream_ca = 'DIR/own.pem'\n\
        [smtp]\nlisten = ['127.0.0.1:0']\nupstreams = ['smtps://127.0.0.1:9']\nupstream_ca = 'DIR/mail.pem'\n\
        upstream_user = 'gate'\nupstream_password_file = 'DIR/no-password'\n";
    let directory = configured(rest);
    let file = directory.path().join("gatepost.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let line_of = |text: &str| config.lines().position(|line| line.contains(text)).unwrap() + 1;
    let expected: String = [
        ("tls.certificate", "no-cert.pem"),
        ("tls.private_key", "no-key.pem"),
        ("api.upstream_ca", "no-ca.pem"),
        ("api.group.upstream_ca", "own.pem"),
        ("smtp.upstream_ca", "mail.pem"),
        ("smtp.upstream_password_file", "no-password"),
    ]
    .map(|(key, name)| {
        format!("{}:{}: {key}: {}: ", file.display(), line_of(name), directory.path().join(name).display())
    })
    .join("\n");
    for command in ["check", "serve"] {
        let output = crate::common::command(&file, &[command], "");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let starts = text.lines().zip(expected.lines());
        assert!(starts.clone().all(|(line, start)| line.starts_with(start)), "{text}\n{expected}");
        assert_eq!(text.lines().count(), starts.count(), "{text}");
    }
}

fn basic() -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(HOLDER))
}

#[tokio::test]
async fn many_streams_over_one_connection() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    // Until the first answer a client doesn't know how many streams it may open.
    assert_eq!(ask(&mut client, "GET", "/open/first", &[], true).0.await.unwrap().status(), 200);
    backend.next();
    let mut asked = Vec::new();
    for number in 0..300 {
        client = client.ready().await.unwrap();
        let answer = ask(&mut client, "GET", &format!("/open/{number}"), &[], true).0;
        // Each is read as it comes: a client that lets many lie ends the connection itself.
        asked.push(tokio::spawn(async move {
            let answer = answer.await.unwrap();
            let fields = answer.headers();
            assert!(fields.contains_key("x-request-id") && !fields.contains_key("connection"));
            assert_eq!(whole(answer).await.unwrap(), (200, b"hello".to_vec()));
        }));
    }
    for answer in asked {
        answer.await.unwrap();
    }
    let received = backend.drain();
    assert_eq!(received.len(), 300);
    assert!(received.iter().all(|request| request.header("host") == Some("gate.test")));
    let refused = ask(&mut client, "GET", "/api/a.json", &[], true).0.await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_its_credential_after_25_mb() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web");
    let mut form =
        b"--b\r\nContent-Disposition: form-data; name=\"files[a]\"; filename=\"a\"\r\n\r\n".to_vec();
    form.resize(form.len() + (25 << 20), b'a');
    for (field, value) in [("api_user", "acme"), ("api_key", "holder-passw0rd")] {
        form.extend_from_slice(
            format!("\r\n--b\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}").as_bytes(),
        );
    }
    form.extend_from_slice(b"\r\n--b--\r\n");
    let length = form.len();
    let mut client = http2(&gateway, &authority).await;
    let fields = [("content-type", "multipart/form-data; boundary=b")];
    let (answer, mut body) = ask(&mut client, "POST", "/api/mail.send.json", &fields, false);
    assert!(send(&mut body, form.into(), true).await);
    assert_eq!(answer.await.unwrap().status(), 200);
    let received = backend.next();
    assert_eq!(received.body.len(), length);
    assert!(!received.contains("holder-passw0rd"));
    // One that is too large is refused, and the connection goes on.
    let (answer, mut body) = ask(&mut client, "POST", "/api/mail.send.json", &fields, false);
    send(&mut body, vec![b'x'; 40 << 20].into(), true).await;
    assert_eq!(answer.await.unwrap().status(), 413);
    assert_eq!(ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_with_trailers_and_with_little_memory() {
    let authority = Authority::new();
    let backend = Backend::answering(|request| {
        let length = request.body.len().to_string();
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{length}\r\n0\r\nX-Sum: 1\r\n\r\n",
            length.len()
        )
        .into_bytes()
    });
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web");
    let login = basic();
    let mut client = http2(&gateway, &authority).await;
    let (answer, mut body) = ask(&mut client, "POST", "/api/up.json", &[("authorization", &login)], false);
    assert!(send(&mut body, vec![b'x'; 100 << 20].into(), false).await);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(whole(answer).await.unwrap(), (200, (100 << 20).to_string().into_bytes()));
    assert!(gateway.peak_memory() < 100 << 20, "{}", gateway.peak_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_while_the_body_is_still_sent() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    gateway.account("email,api,web");
    let mut client = http2(&gateway, &authority).await;
    let wrong = [("authorization", "Basic YWNtZTp3cm9uZy1wYXNzdzByZA==")];
    let (answer, mut body) = ask(&mut client, "POST", "/api/up.json", &wrong, false);
    assert!(send(&mut body, vec![b'x'; 1 << 16].into(), false).await);
    assert_eq!(answer.await.unwrap().status(), 401);
    drop(body);
    assert_eq!(ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    let authority = Authority::new();
    let backend = Backend::handling(|stream, _| {
        let Some(request) = read_header(stream) else { return };
        let framing = if request.target.ends_with("chunked") {
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        } else {
            "Content-Length: 10\r\n\r\nhello"
        };
        let _ = stream.get_mut().write_all(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes());
    });
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    for path in ["/open/chunked", "/open/sized"] {
        let answer = ask(&mut client, "GET", path, &[], true).0.await.unwrap();
        assert!(whole(answer).await.is_err(), "{path} arrived as if it were whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_is_408_and_a_silent_connection_is_closed() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let keys = "body_timeout = \"300ms\"\nheader_timeout = \"300ms\"\nkeepalive_timeout = \"500ms\"";
    let gateway = start(&authority, backend.address, keys);
    let (mut client, ended) = connected(&gateway, &authority).await;
    let (answer, mut body) = ask(&mut client, "POST", "/open/a", &[], false);
    assert!(send(&mut body, "hello".into(), false).await);
    assert_eq!(answer.await.unwrap().status(), 408);
    // Idle after a request, and never a word of HTTP/2.
    assert!(tokio::time::timeout(crate::common::PATIENCE, ended).await.is_ok());
    let silent = tokio::task::spawn_blocking(move || {
        let mut stream = connect(address(&gateway), "gate.test", authority.client(&["h2"])).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
    });
    assert!(tokio::time::timeout(crate::common::PATIENCE - Duration::from_secs(1), silent).await.is_ok());
}
