//! Backends with TLS: their certificate is always verified.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::common::backend::{Backend, Received};
use crate::common::http::{Connection, get, request};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE, binary, configured, hosts, open_api, own_loopback};
use rustls::ServerConnection;

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

/// As without TLS: an answer reaches the client although the backend reads nothing of the body.
#[test]
fn an_early_answer_arrives_over_tls() {
    let authority = Authority::new();
    let config = authority.issue("127.0.0.1").server();
    let (answer, stuck) = channel();
    let (end, ended) = channel::<()>();
    let (stuck, ended) = (Mutex::new(stuck), Mutex::new(ended));
    let backend = Backend::handling(move |stream, received| {
        let mut tls = ServerConnection::new(config.clone()).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, stream.get_mut());
        let mut piece = [0; 4096];
        // The health check's connection says nothing.
        let Ok(1..) = stream.read(&mut piece) else { return };
        let _ = received.send(Received::default());
        if stuck.lock().unwrap().recv().is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
            let _ = ended.lock().unwrap().recv();
        }
    });
    let gateway = gateway(backend.address, "127.0.0.1", &authority, "write_timeout = \"10m\"");
    let mut connection = Connection::open(gateway.api());
    connection.write(b"POST /open/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
    backend.next();
    connection.write_until_stuck();
    answer.send(()).unwrap();
    let response = connection.read_response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    end.send(()).unwrap();
}

#[test]
fn a_backend_that_is_someone_else_is_502() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let wrong_name = authority.issue("elsewhere.test").backend();
    let unknown_authority = stranger.issue("127.0.0.1").backend();
    let in_clear = Backend::handling(|stream, _| {
        let _ = Write::write_all(stream.get_mut(), b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
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
fn a_health_check_by_path_takes_a_backend_with_tls_out_of_turn() {
    let authority = Authority::new();
    let (asked, asks) = channel();
    let sick = authority.issue("127.0.0.1").backend_answering(move |request| {
        let _ = asked.send(request.lines().next().unwrap_or_default().to_owned());
        "HTTP/1.1 500 Sick\r\nContent-Length: 4\r\n\r\nsick".to_owned()
    });
    let well = authority.issue("127.0.0.1").backend();
    let list = format!("\"https://{sick}\", \"https://{well}\"");
    let keys = "upstream_ca = \"DIR/ca.pem\"\nhealth_interval = \"50ms\"\nhealth_check = \"/healthz\"";
    let config = open_api(sick, keys).replace(&format!("\"http://{sick}\""), &list);
    let directory = configured(&config);
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gateway = Gateway::start_in(directory);
    gateway.log().wait_for(&["the backend is down", &sick.to_string()]);
    for _ in 0..10 {
        assert_eq!(get("/open/a").send(gateway.api()).text(), "secure");
    }
    assert_eq!(asks.recv_timeout(PATIENCE).unwrap(), "GET /healthz HTTP/1.1");
    assert!(asks.try_iter().all(|line| line == "GET /healthz HTTP/1.1"));
    assert!(!gateway.log().text().contains(&format!("https://{well}")), "the other one is up");
}

/// A host with two addresses, one of which refuses connections or presents a certificate for another name.
#[test]
fn a_host_with_one_good_address_is_a_backend_that_is_up() {
    let authority = Authority::new();
    for bad in ["refuses", "is somebody else", "speaks no TLS"] {
        let (good, other) = (own_loopback(), own_loopback());
        let listener = TcpListener::bind((good, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, asks) = channel();
        authority.issue("backend.test").backend_on(listener, move |request| {
            let _ = asked.send(request.starts_with("GET /healthz"));
            // Each request needs a connection of its own.
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nsecure".to_owned()
        });
        let listen = || TcpListener::bind((other, port)).unwrap();
        match bad {
            "is somebody else" => {
                authority.issue("elsewhere.test").backend_on(listen(), |_| panic!("it was believed"));
            }
            "speaks no TLS" => {
                Backend::on(listen(), |stream, _| {
                    let _ =
                        stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                });
            }
            _ => {}
        }
        let keys = "upstream_ca = \"DIR/ca.pem\"\nhealth_check = \"/healthz\"\nhealth_interval = \"20ms\"";
        let some = SocketAddr::from((good, port));
        let config =
            open_api(some, keys).replace(&format!("http://{some}"), &format!("https://backend.test:{port}"));
        let directory = configured(&config);
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let gateway = Gateway::start_with_hosts(directory, &hosts("backend.test", &[other, good]));
        for number in 0..20 {
            let request =
                if number % 2 == 0 { get("/open/a") } else { request("POST", "/open/a").body("body") };
            assert_eq!(request.send(gateway.api()).text(), "secure", "{bad}");
        }
        let mut checks = 0;
        while checks < 10 {
            checks += u32::from(asks.recv_timeout(PATIENCE).unwrap());
        }
        let log = gateway.log().text();
        assert!(
            !log.contains("the backend is down") && !log.contains("no connection to the backend"),
            "{log}"
        );
    }
}

#[test]
fn without_roots_of_its_own_it_is_verified_against_the_systems() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let backend = authority.issue("127.0.0.1").backend();
    let config = open_api(backend, "").replace("http://", "https://");
    for (roots, status) in [(&authority, 200), (&stranger, 502)] {
        let directory = configured(&config);
        let system = directory.path().join("system.pem");
        std::fs::write(&system, roots.pem()).unwrap();
        let mut command = Command::new(binary());
        command.env("SSL_CERT_FILE", &system).env_remove("SSL_CERT_DIR");
        let gateway = Gateway::start_by(directory, command);
        assert_eq!(get("/open/a").send(gateway.api()).status, status);
    }
}

#[test]
fn roots_that_cannot_be_used_are_one_line() {
    for (roots, word) in [
        ("nothing", "contains no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca.pem"),
    ] {
        let directory = configured(
            &open_api("127.0.0.1:9".parse().unwrap(), "upstream_ca = \"DIR/ca.pem\"")
                .replace("http://", "https://"),
        );
        std::fs::write(directory.path().join("ca.pem"), roots).unwrap();
        let output = crate::common::command(&directory.path().join("gatepost.toml"), &["serve"], "");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("upstream_ca") && text.contains(word), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
