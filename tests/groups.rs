//! Which backends a request goes to: those of the group that its route names.

mod common;

use std::net::SocketAddr;

use common::backend::Backend;
use common::http::{get, request};
use common::{Gateway, HOLDER, api, write_config};

/// Mail for one backend, everything else for the other.
fn split(default: SocketAddr, mail: SocketAddr) -> String {
    format!(
        "{}[[api.group]]\nname = \"mail\"\nupstreams = [\"http://{mail}\"]\n\
         [[api.route]]\npath = \"/v3/mail/send\"\npermission = \"email\"\ngroup = \"mail\"\n",
        api(default)
    )
}

fn goes_by_its_route(gateway: &Gateway, default: &Backend, mail: &Backend) {
    let mut sent = Vec::new();
    for (method, path, group) in [
        ("POST", "/v3/mail/send", mail),
        ("GET", "/v3/stats", default),
        ("POST", "/v3/mail/sender", default),
        ("PUT", "/v3/mail/send", mail),
        ("POST", "/api/mail.send.json", default),
        ("POST", "/v3/mail/%73end", mail),
    ] {
        assert_eq!(request(method, path).basic(HOLDER).body("x").send(gateway.api()).status, 200, "{path}");
        let received = group.next();
        assert_eq!((received.method.as_str(), received.body.as_slice()), (method, &b"x"[..]), "{path}");
        sent.push(received.target);
    }
    assert_eq!(sent[0], "/v3/mail/send");
    assert!(default.drain().is_empty() && mail.drain().is_empty());
}

#[test]
fn a_request_goes_to_the_group_of_its_route_also_after_a_reload() {
    let [default, mail, other] = [Backend::hello(), Backend::hello(), Backend::hello()];
    let gateway = Gateway::start(&split(default.address, mail.address));
    gateway.account("email,api,web").credential("joe:passw0rd-of-joe", "api");
    goes_by_its_route(&gateway, &default, &mail);
    // Its permission is the route's as well.
    let lacking = request("POST", "/v3/mail/send").basic("joe:passw0rd-of-joe").send(gateway.api());
    assert_eq!(lacking.status, 403);
    assert_eq!(get("/v3/stats").basic("joe:passw0rd-of-joe").send(gateway.api()).status, 200);
    assert_eq!(default.next().target, "/v3/stats");

    write_config(gateway.directory.path(), &split(default.address, other.address));
    gateway.signal("HUP");
    gateway.log().wait_for(&["the new configuration is in place"]);
    goes_by_its_route(&gateway, &default, &other);
    assert!(mail.drain().is_empty());
}
