//! Backends with TLS: who they are is verified, always.

mod common;

use std::net::SocketAddr;

use common::backend::Backend;
use common::http::{get, request};
use common::tls::Authority;
use common::{Gateway, configured, open_api};

/// A gateway for an `https` backend that is verified against `authority`.
fn gateway(backend: SocketAddr, host: &str, authority: &Authority, keys: &str) -> Gateway {
    let config = open_api(backend, &format!("upstream_ca = \"DIR/ca.pem\"\n{keys}"))
        .replace(&format!("http://{backend}"), &format!("https://{host}:{}", backend.port()));
    let directory = configured(&config);
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    Gateway::start_in(directory)
}

#[test]
fn a_backend_that_proves_its_name_is_used() {
    let authority = Authority::new();
    let by_address = authority.issue("127.0.0.1").backend();
    let by_name = authority.issue("localhost").backend();
    let by_other = authority.issue("api.internal").backend();
    for (backend, host, keys) in [
        (by_address, "127.0.0.1", ""),
        (by_name, "localhost", ""),
        (by_other, "127.0.0.1", "upstream_server_name = \"api.internal\""),
    ] {
        let gateway = gateway(backend, host, &authority, keys);
        for _ in 0..3 {
            assert_eq!(get("/open/a").send(gateway.api()).text(), "secure", "{host} {keys}");
            assert_eq!(request("POST", "/open/a").body("body").send(gateway.api()).text(), "secure");
        }
    }
}

#[test]
fn a_backend_that_is_someone_else_is_502() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let wrong_name = authority.issue("elsewhere.test").backend();
    let unknown_authority = stranger.issue("127.0.0.1").backend();
    let in_clear = Backend::handling(|stream, _| {
        let _ = std::io::Write::write_all(
            stream.get_mut(),
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        );
    });
    for (backend, keys) in [
        (wrong_name, ""),
        (unknown_authority, ""),
        (authority.issue("127.0.0.1").backend(), "upstream_server_name = \"api.internal\""),
        (in_clear.address, ""),
    ] {
        let gateway = gateway(backend, "127.0.0.1", &authority, keys);
        assert_eq!(get("/open/a").send(gateway.api()).status, 502);
        assert_eq!(request("POST", "/open/a").body("body").send(gateway.api()).status, 502);
    }
}

#[test]
fn roots_that_cannot_be_used_are_one_line() {
    for (roots, word) in
        [("", "there is none"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.pem")]
    {
        let directory = configured(
            &open_api("127.0.0.1:9".parse().unwrap(), "upstream_ca = \"DIR/ca.pem\"")
                .replace("http://", "https://"),
        );
        std::fs::write(directory.path().join("ca.pem"), roots).unwrap();
        let output = common::command(&directory.path().join("gatepost.toml"), &["serve"], "");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("upstream_ca") && text.contains(word), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
