//! Over HTTP/2, and behind large attachments, every request is decided as any other.

use crate::common::backend::Backend;
use crate::common::callers::{API, EMAIL, NO_DELAYS, SENDING, with_credentials};
use crate::common::curl::curl;
use crate::common::forms::{MULTIPART, framed, multipart};
use crate::common::tls::Authority;
use crate::common::{Gateway, api, configured, http2, tls, write_config};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Version};

/// A credential with more than one permission.
const SEER: &str = "seer:passw0rd-seer";

fn start_with_tls(backend: &Backend) -> Gateway {
    let directory = configured("");
    let tls = tls::certificate(directory.path());
    let rest = format!("{NO_DELAYS}{}tls_listen = [\"127.0.0.1:0\"]\n{tls}", api(backend.address));
    write_config(directory.path(), &rest);
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web");
    with_credentials(&gateway);
    gateway
}

fn over_http2(gateway: &Gateway, target: &str, arguments: &[&str]) -> crate::common::curl::Fetched {
    let port = gateway.address("api.tls_listen").port();
    let certificate = gateway.directory.path().join("cert.pem");
    let resolve = format!("{}:{port}:127.0.0.1", tls::NAME);
    let url = format!("https://{}:{port}{target}", tls::NAME);
    let mut all = vec!["--http2", "--cacert", certificate.to_str().unwrap(), "--resolve", &resolve, &url];
    all.extend_from_slice(arguments);
    curl(&all)
}

#[test]
fn http_2_is_decided_the_same_way() {
    let backend = Backend::hello();
    let gateway = start_with_tls(&backend);
    let pair = ["--form", "to=a", "--form", "api_user=mailer", "--form", "api_key=passw0rd-mail"];
    let cases: [(&str, &[&str], u16); 9] = [
        ("/v3/stats", &["--user", API], 200),
        ("/v3/stats", &["--user", EMAIL], 403),
        ("/v3/stats", &["--user", "caller:wrong"], 401),
        ("/v3/stats", &[], 401),
        ("/v3/stats?api_user=caller&api_key=passw0rd-call", &[], 200),
        ("/v3/mail/send", &["--data", "to=a&api_user=mailer&api_key=passw0rd-mail"], 200),
        ("/v3/mail/send", &["--data", "to=a&api_user=caller&api_key=passw0rd-call"], 403),
        ("/v3/mail/send", &pair, 200),
        ("/v3/stats", &pair, 403),
    ];
    for (target, arguments, expected) in cases {
        let fetched = over_http2(&gateway, target, arguments);
        assert_eq!((fetched.status, &fetched.version[..]), (expected, "2"), "{target} {arguments:?}");
        let received = backend.drain();
        assert_eq!(received.len(), usize::from(expected == 200), "{target} {arguments:?}");
        for received in received {
            assert!(!received.contains("passw0rd"), "{}", received.raw.escape_ascii());
            assert!(received.header("host").is_some_and(|host| host.starts_with(tls::NAME)));
        }
    }
}

/// curl ends with 0 only where the answer is one that HTTP/2 allows.
#[test]
fn curl_gets_an_answer_to_head() {
    let backend = Backend::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec());
    let gateway = start_with_tls(&backend);
    for (target, arguments, expected) in [
        ("/v3/stats", &["--user", API][..], 200),
        ("/v3/stats", &["--user", "caller:wrong"], 401),
        ("/v3/stats", &["--user", EMAIL], 403),
        ("/v3/stats?api_user=a&api_user=b", &[], 400),
        ("/api/credentials/get.json", &["--user", API], 405),
        ("/api/credentials/nosuch.json", &[], 404),
    ] {
        for version in ["--http2", "--http1.1"] {
            let fetched = over_http2(&gateway, target, &[&["--head", version], arguments].concat());
            assert_eq!(
                (fetched.exit, fetched.status),
                (0, expected),
                "{version} {target}: {}",
                fetched.text()
            );
            assert!(fetched.text().to_ascii_lowercase().contains("content-length: "), "{}", fetched.text());
            assert!(fetched.body.ends_with(b"\r\n\r\n"), "{}", fetched.text());
        }
    }
}

/// A Host field is checked as over HTTP/1, and an invalid one is not forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_is_400() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = http2::start(&authority, backend.address, "");
    let mut client = http2::http2(&gateway, &authority).await;
    let mut ask = |uri: &str, hosts: &[&str]| {
        // Only what is on its way from HTTP/1 may leave its authority out.
        let version = if uri.starts_with('/') { Version::HTTP_11 } else { Version::HTTP_2 };
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        let answer = client.send_request(request.body(()).unwrap(), true).unwrap().0;
        async { answer.await.unwrap().status() }
    };
    for (uri, host) in [("/open/a", "a.test:81"), ("https://gate.test/open/a", "gate.test")] {
        assert_eq!(ask(uri, &[host]).await, 200, "{uri}");
        assert_eq!(backend.next().header("host"), Some(host), "{uri}");
        for hosts in [&["a.test/x, b"][..], &["a b"], &["user@a.test"], &["a,b"], &["a.test", "a.test"]] {
            assert_eq!(ask(uri, hosts).await, 400, "{uri} {hosts:?}");
        }
    }
    assert_eq!(ask("https://user:passw0rd@gate.test/open/a", &[]).await, 400);
    assert!(backend.drain().is_empty());
}

/// The streams of a connection share what it remembers, and each is decided on the state of its moment.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_are_decided_each_by_itself() {
    const AT_ONCE: usize = 8;
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = http2::start(&authority, backend.address, "");
    gateway.account("email,api,web").credential(API, "api").credential(SEER, "web,api");
    let mut client = http2::http2(&gateway, &authority).await;
    let mut at_once = |logins: [&str; 2]| {
        let answers: Vec<_> = (0..AT_ONCE)
            .map(|nth| {
                let basic = format!("Basic {}", STANDARD.encode(logins[nth % 2]));
                http2::ask(&mut client, "GET", "/v3/stats", &[("authorization", &basic)], true).0
            })
            .collect();
        async {
            let mut statuses = [Vec::new(), Vec::new()];
            for (nth, answer) in answers.into_iter().enumerate() {
                statuses[nth % 2].push(answer.await.unwrap().status().as_u16());
            }
            let [mut one, mut other] = statuses;
            one.dedup();
            other.dedup();
            (one, other)
        }
    };
    let edit = |arguments: &[&str], input: &str| {
        let output = gateway.command(&[&["credential"], arguments, &["--account", "acme"]].concat(), input);
        assert!(output.status.success(), "{output:?}");
    };
    for _ in 0..3 {
        assert_eq!(at_once([API, API]).await, (vec![200], vec![200]));
    }
    assert_eq!(at_once([API, SEER]).await, (vec![200], vec![200]), "two credentials");
    assert_eq!(at_once([API, "caller:wr0ng-passw0rd"]).await, (vec![200], vec![401]), "another secret");
    assert_eq!(at_once([API, API]).await, (vec![200], vec![200]));
    edit(&["edit", "caller", "--revoke", "api"], "");
    assert_eq!(at_once([API, SEER]).await, (vec![403], vec![200]), "a cleared permission");
    edit(&["edit", "caller", "--grant", "api"], "");
    for _ in 0..3 {
        assert_eq!(at_once([API, API]).await, (vec![200], vec![200]));
    }
    edit(&["edit", "caller", "--password-stdin"], "new-passw0rd");
    assert_eq!(at_once([API, "caller:new-passw0rd"]).await, (vec![401], vec![200]), "another password");
    for _ in 0..3 {
        assert_eq!(at_once([SEER, SEER]).await, (vec![200], vec![200]));
    }
    edit(&["remove", "seer"], "");
    assert_eq!(at_once([SEER, SEER]).await, (vec![401], vec![401]), "removed");
}

/// Over 25 MB of attachment before the credential: on HTTP/1.1 with and without chunks, and on HTTP/2.
#[test]
fn a_credential_after_a_25_mb_attachment() {
    let backend = Backend::hello();
    let gateway = start_with_tls(&backend);
    let attachment: Vec<u8> =
        (0..25_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let body =
        |key: &[u8]| multipart(&[("files[a.bin]", &attachment), ("api_user", b"mailer"), ("api_key", key)]);
    let (good, bad) = (body(b"passw0rd-mail"), body(b"passw0rd-mall"));
    let masked =
        multipart(&[("files[a.bin]", &attachment), ("api_user", b"xxxxxx"), ("api_key", b"xxxxxxxxxxxxx")]);
    for chunked in [false, true] {
        let send = |body: &Vec<u8>| framed(SENDING[0], MULTIPART, body.clone(), chunked);
        assert_eq!(send(&good).send(gateway.api()).status, 200);
        assert!(backend.next().body == masked, "chunked: {chunked}");
        assert_eq!(send(&bad).send(gateway.api()).status, 401);
    }
    for (name, bytes) in [("good", &good), ("bad", &bad)] {
        std::fs::write(gateway.directory.path().join(name), bytes).unwrap();
    }
    for (name, expected) in [("good", 200), ("bad", 401)] {
        let fetched = over_http2(
            &gateway,
            SENDING[0],
            &[
                "--header",
                "Content-Type: multipart/form-data; boundary=b",
                "--data-binary",
                &format!("@{}", gateway.directory.path().join(name).display()),
            ],
        );
        assert_eq!((fetched.status, &fetched.version[..]), (expected, "2"), "{name}: {}", fetched.text());
    }
    assert!(backend.next().body == masked, "over HTTP/2");
    assert!(backend.drain().is_empty());
}
