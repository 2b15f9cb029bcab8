//! Forms that backends read in ways of their own: which boundary they take.

mod common;

use std::net::SocketAddr;

use common::backend::Backend;
use common::forms::form;
use common::http::Connection;
use common::{Gateway, HOLDER, api};

const CALLER: &str = "apionly:passw0rd-call";
const SECRET: &str = "passw0rd-call";
/// The other user's name that a field tries to bring in.
const OTHER: &str = "somebody-else";

fn gateway(upstream: SocketAddr) -> Gateway {
    let gateway = Gateway::start(&api(upstream));
    gateway.account("email,api,web").credential(CALLER, "api");
    gateway
}

/// A form of two fields and a file that nearly holds the boundary.
fn upload(boundary: &str, login: Option<(&str, &str)>) -> String {
    let part = |attributes: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; {attributes}\r\n\r\n{value}\r\n")
    };
    let file = part("name=\"f\"; filename=\"a\"", &format!("\0\u{fc}\r\n-{boundary}\r\n--"));
    let (user, key) = login.map_or(("", ""), |login| login);
    let credential = login.map(|_| part("name=\"api_user\"", user) + &part("name=\"api_key\"", key));
    part("name=\"to\"", "a@b") + &file + &credential.unwrap_or_default() + &format!("--{boundary}--\r\n")
}

#[test]
fn a_boundary_may_be_any_that_all_parsers_find() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let mut connection = Connection::open(gateway.api());
    for (attributes, boundary) in [
        ("boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
        ("charset=x; boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
        ("boundary=----geckoformboundaryX", "----geckoformboundaryX"),
        ("boundary=dart-http-boundary-x", "dart-http-boundary-x"),
        ("boundary=Boundary-X; charset=utf-8", "Boundary-X"),
        ("boundary=alamofire.boundary.x", "alamofire.boundary.x"),
        ("boundary=axios-1.21.1-boundary-x", "axios-1.21.1-boundary-x"),
        ("boundary=boundary", "boundary"),
        ("boundary=\"boundary\"", "boundary"),
        ("boundary=\"a boundary\"", "a boundary"),
        ("Boundary=\"----=_Part_1(2)'+_./:=?\" ; x=\"y;z\"", "----=_Part_1(2)'+_./:=?"),
    ] {
        let kind = format!("multipart/form-data; {attributes}");
        let body = upload(boundary, None);
        let response = connection.exchange(form("/api/a.json", &kind, body.clone()).basic(CALLER));
        assert_eq!(response.status, 200, "{kind}: {}", response.text());
        let received = backend.next();
        assert_eq!(received.header("content-type"), Some(kind.as_str()));
        assert!(received.body == body.as_bytes(), "{kind}");
        let body = upload(boundary, Some(("apionly", SECRET)));
        let response = connection.exchange(form("/api/a.json", &kind, body));
        assert_eq!(response.status, 200, "{kind}: {}", response.text());
        let masked = upload(boundary, Some(("xxxxxxx", "xxxxxxxxxxxxx")));
        assert!(backend.next().body == masked.as_bytes(), "{kind}");
        // A call of the management API is read by the same rule.
        let body = upload(boundary, None).replace("\"to\"", "\"username\"").replace("a@b", "nobody");
        let call = form("/api/credentials/get.json", &kind, body).basic(HOLDER);
        assert_eq!(connection.exchange(call).status, 404, "{kind}");
    }
    assert!(backend.drain().is_empty());
}

/// A credential that only the reader of the other boundary would see.
#[test]
fn a_boundary_that_parsers_find_differently_is_refused() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let mut connection = Connection::open(gateway.api());
    for attributes in [
        "boundary=AA; boundary=BB",
        "BOUNDARY=AA; boundary=BB",
        "boundary=BB; boundary*=utf-8''AA",
        "xboundary=AA; boundary=BB",
        "x=\"boundary=AA; \"; boundary=BB",
        "boundaryx=AA; boundary=BB",
        "BOUNDARY=geckoboundaryX; charset=AA",
        "boundary=BB; x=\"boundary=AA\"",
        "boundary=\"xboundary=AA\"",
        "boundary=AA:b",
        "boundary=\"AA,b\"",
        "boundary=AA,b",
        "boundary=\"A\\A\"",
        "boundary='AA'",
        "boundary= AA",
        "x=y",
    ] {
        let kind = format!("multipart/form-data; {attributes}");
        for path in ["/api/a.json", "/api/credentials/get.json"] {
            let body = upload("AA", Some((OTHER, "s")));
            let response = connection.exchange(form(path, &kind, body).basic(HOLDER));
            assert_eq!(response.status, 400, "{path} {kind}");
            assert!(response.text().contains("malformed form: "), "{kind}: {}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
}
