//! Backends that need a `Host` of their own, such as the virtual hosts of an Apache.

use std::net::SocketAddr;

use crate::common::apache::{Apache, FIRST_SITE, OTHER_SITE};
use crate::common::backend::Backend;
use crate::common::http::{Connection, Response, get, request};
use crate::common::tls::Authority;
use crate::common::{Gateway, configured, hosts, nobody, open_api};

/// A gateway for that backend, whose host is the other site's name, with more keys.
fn before(apache: SocketAddr, scheme: &str, authority: Option<&Authority>, keys: &str) -> Gateway {
    let ca = if authority.is_some() { "upstream_ca = \"DIR/ca.pem\"\n" } else { "" };
    let page = "[[api.route]]\npath = \"/index.html\"\npermission = \"public\"\n";
    let config = open_api(apache, &format!("{ca}{keys}{page}"))
        .replace(&format!("http://{apache}"), &format!("{scheme}://{OTHER_SITE}:{}", apache.port()));
    let directory = configured(&config);
    if let Some(authority) = authority {
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    }
    Gateway::start_with_hosts(directory, &hosts(OTHER_SITE, &[apache.ip()]))
}

/// What the site of an answer was told: `Host` and `X-Forwarded-Host`.
fn told(response: &Response) -> [Option<&str>; 2] {
    [response.header("x-host"), response.header("x-forwarded")]
}

// Case C8: a name-based virtual host is another site without its own Host.
#[test]
fn a_virtual_host_gets_its_own_name() {
    let apache = Apache::start(None);
    let port = apache.address.port();
    let with_port = format!("{OTHER_SITE}:{port}");
    for (host, site, sent) in [
        ("", FIRST_SITE, "gate.test"),
        ("host = \"keep\"\n", FIRST_SITE, "gate.test"),
        ("host = \"upstream\"\n", OTHER_SITE, with_port.as_str()),
        ("host = \"shop.test\"\n", OTHER_SITE, OTHER_SITE),
        ("host = \"shop.test:81\"\n", OTHER_SITE, "shop.test:81"),
    ] {
        let gateway = before(apache.address, "http", None, host);
        let mut connection = Connection::open(gateway.api());
        for way in [get("/index.html"), request("POST", "/index.html").body("x"), get("/index.html")] {
            let response = connection.exchange(way);
            assert_eq!((response.status, response.text().as_str()), (200, site), "{host}");
            assert_eq!(told(&response), [Some(sent), Some("gate.test")], "{host}");
        }
    }
}

// Case C8: over TLS, Apache answers 421 if the name differs from that of the handshake.
#[test]
fn a_virtual_host_with_tls_gets_its_own_name() {
    let authority = Authority::new();
    let apache = Apache::start(Some(&authority));
    for (host, status) in [
        ("host = \"keep\"\n", 421),
        ("host = \"upstream\"\n", 200),
        ("host = \"shop.test\"\n", 200),
        ("host = \"first.test\"\n", 421),
    ] {
        let gateway = before(apache.address, "https", Some(&authority), host);
        let mut connection = Connection::open(gateway.api());
        for way in [get("/index.html"), get("/index.html"), request("POST", "/index.html").body("x")] {
            let response = connection.exchange(way);
            assert_eq!(response.status, status, "{host}: {}", response.text());
            assert_eq!(told(&response)[1], Some("gate.test"));
        }
    }
}

// Case C8: each backend of a group gets its own name, also where it takes the place of one that failed.
#[test]
fn each_backend_of_a_group_gets_its_own_name() {
    let gone = nobody();
    let [one, other] = [Backend::hello(), Backend::hello()];
    let list = format!("\"http://{gone}\", \"http://{}\", \"http://{}\"", one.address, other.address);
    let group = format!("[[api.group]]\nname = \"own\"\nupstreams = [{list}]\nhost = \"upstream\"\n");
    let route = "[[api.route]]\npath = \"/own/*\"\npermission = \"public\"\ngroup = \"own\"\n";
    let keys = format!("health_interval = \"10m\"\n{group}{route}");
    let gateway = Gateway::start(&open_api(one.address, &keys));
    let mut connection = Connection::open(gateway.api());
    for number in 0..12 {
        let way = match number % 3 {
            0 => get("/own/a"),
            1 => request("POST", "/own/a").body("body"),
            _ => request("PUT", "/own/a").chunked("body"),
        };
        assert_eq!(connection.exchange(way.header("X-A", "b")).status, 200);
    }
    let mut total = 0;
    for backend in [&one, &other] {
        for received in backend.drain() {
            assert_eq!(received.header("host"), Some(backend.address.to_string().as_str()));
            assert_eq!(
                received.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count(),
                1
            );
            assert_eq!(
                (received.header("x-forwarded-host"), received.header("x-a")),
                (Some("gate.test"), Some("b"))
            );
            total += 1;
        }
    }
    assert_eq!(total, 12);
    // The entry's own group keeps the client's.
    assert_eq!(connection.exchange(get("/open/a")).status, 200);
    assert_eq!(one.next().header("host"), Some("gate.test"));
    // A client of HTTP/1.0 may name none.
    connection.write(b"GET /own/a HTTP/1.0\r\n\r\n");
    assert_eq!(connection.read_response().status, 200);
}

// Cases C8 and C15: the health check asks the same site; the log has the reason, entry and group of one that is down.
#[test]
fn the_health_check_asks_the_same_site() {
    let apache = Apache::start(None);
    let check = "health_check = \"/healthz\"\nhealth_interval = \"20ms\"\n";
    let gateway = before(apache.address, "http", None, &format!("{check}host = \"first.test\"\n"));
    let reason = "GET /healthz was answered with 404";
    let down = gateway.log().wait_for(&["the backend is down", reason]);
    assert!(down.contains("\"entry\":\"api\"") && down.contains("\"group\":\"default\""), "{down}");
    assert!(down.contains(&format!("http://{OTHER_SITE}:{}", apache.address.port())), "{down}");
    // It is the only one, so it is asked all the same.
    assert_eq!(get("/open/a").send(gateway.api()).status, 404);
    let well = before(apache.address, "http", None, &format!("{check}host = \"{OTHER_SITE}\"\n"));
    assert_eq!(get("/open/a").send(well.api()).status, 404);
    // The first gateway was told in its first checks.
    let own = before(apache.address, "http", None, check);
    assert_eq!(get("/open/a").send(own.api()).status, 404);
    for gateway in [&well, &own] {
        assert!(!gateway.log().text().contains("the backend is down"), "{}", gateway.log().text());
    }
}
