//! Which backends a request goes to: those of the group that its route names, and there to an address that can be used.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_request, swallowing_at};
use crate::common::http::{Connection, get, request};
use crate::common::{
    Gateway, HOLDER, PATIENCE, api, configured, hosts, nobody, open_api, own_loopback, write_config,
};

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
    gateway.log().wait_for(&["configuration reloaded"]);
    goes_by_its_route(&gateway, &default, &other);
    assert!(mail.drain().is_empty());
}

const NO_BACKEND: &str = "the backend is down";

/// A backend that closes each connection after its answer, which is its own address.
fn forgetful(address: (IpAddr, u16)) -> Backend {
    Backend::on(TcpListener::bind(address).unwrap(), move |stream, received| {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        let text = address.0.to_string();
        let answer =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let _ = stream.get_mut().write_all(answer.as_bytes());
    })
}

/// A gateway for a backend at that port of a host with these addresses.
fn named(addresses: &[IpAddr], port: u16, keys: &str) -> Gateway {
    let some = nobody();
    let config = open_api(some, keys).replace(&some.to_string(), &format!("backend.test:{port}"));
    Gateway::start_with_hosts(configured(&config), &hosts("backend.test", addresses))
}

// Case C2: the next address of a host is tried before its backend counts as down.
#[test]
fn a_host_of_which_one_address_refuses_is_a_backend_that_is_up() {
    let unreachable: IpAddr = "2001:db8::1".parse().unwrap();
    for (number, check) in ["", "health_check = \"/healthz\"\n"].into_iter().cycle().take(6).enumerate() {
        let good = own_loopback();
        let bad = if number < 4 { own_loopback() } else { unreachable };
        let backend = forgetful((good, 0));
        let addresses = if number % 4 < 2 { [bad, good] } else { [good, bad] };
        let keys = format!("{check}health_interval = \"20ms\"");
        let gateway = named(&addresses, backend.address.port(), &keys);
        for number in 0..20 {
            let request = match number % 3 {
                0 => get("/open/a"),
                1 => request("POST", "/open/a").body("body"),
                _ => request("POST", "/open/a").chunked("body"),
            };
            assert_eq!(request.send(gateway.api()).text(), good.to_string(), "{addresses:?}");
        }
        if !check.is_empty() {
            let mut checks = 0;
            while checks < 10 {
                checks += u32::from(backend.next().target == "/healthz");
            }
        }
        assert!(!gateway.log().text().contains(NO_BACKEND), "{}", gateway.log().text());
        assert!(!gateway.log().text().contains("no connection to the backend"), "{}", gateway.log().text());
    }
}

#[test]
fn a_backend_that_moves_to_another_address_of_its_host_is_found_at_once() {
    let (one, other) = (own_loopback(), own_loopback());
    let first = forgetful((one, 0));
    let port = first.address.port();
    let gateway = named(&[one, other], port, "health_interval = \"1h\"");
    let ask = || get("/open/a").send(gateway.api());
    for _ in 0..5 {
        assert_eq!(ask().text(), one.to_string());
    }
    first.close();
    let second = forgetful((other, port));
    for _ in 0..5 {
        assert_eq!(ask().text(), other.to_string());
    }
    assert!(!gateway.log().text().contains(NO_BACKEND), "{}", gateway.log().text());
    second.close();
    assert_eq!(ask().status, 502);
    // Case C15: the log has the reason, and the entry and the group.
    let down = gateway.log().wait_for(&[NO_BACKEND, "\"entry\":\"api\"", "\"group\":\"default\""]);
    let refused = |address| format!("{address}:{port}: Connection refused");
    assert!(down.contains(&refused(one)) && down.contains(&refused(other)), "{down}");
    let words = ["no connection to the backend", &refused(one), &refused(other)];
    gateway.log().wait_for(&words);
    // Known to be down, it is asked all the same, since it is the only one.
    let _first = forgetful((one, port));
    assert_eq!(ask().text(), one.to_string());
}

#[test]
fn an_address_that_swallows_connections_costs_a_moment_and_is_passed_by_then() {
    let (silent, good) = (own_loopback(), own_loopback());
    let (address, _full) = swallowing_at(silent);
    let _backend = forgetful((good, address.port()));
    let gateway =
        named(&[silent, good], address.port(), "connect_timeout = \"1m\"\nhealth_interval = \"1h\"");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(get("/open/a").send(gateway.api()).text(), good.to_string());
    }
    assert!(began.elapsed() < PATIENCE / 3, "{:?}", began.elapsed());
    assert!(!gateway.log().text().contains(NO_BACKEND), "{}", gateway.log().text());
}

#[test]
fn an_address_whose_health_check_fails_is_used_only_without_a_better_one() {
    let (sick, well) = (own_loopback(), own_loopback());
    let healthy = forgetful((well, 0));
    let _sick = Backend::on(TcpListener::bind((sick, healthy.address.port())).unwrap(), |stream, _| {
        let Some(request) = read_request(stream) else { return };
        let status = if request.target == "/healthz" { "500 Sick" } else { "200 OK" };
        let _ = stream
            .get_mut()
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nsick").as_bytes());
    });
    let keys = "health_check = \"/healthz\"\nhealth_interval = \"20ms\"";
    let gateway = named(&[sick, well], healthy.address.port(), keys);
    // Each check asks both.
    while healthy.next().target != "/healthz" || healthy.next().target != "/healthz" {}
    for _ in 0..20 {
        assert_eq!(get("/open/a").send(gateway.api()).text(), well.to_string());
    }
    assert!(!gateway.log().text().contains(NO_BACKEND), "{}", gateway.log().text());
    healthy.close();
    gateway.log().wait_for(&[NO_BACKEND]);
    assert_eq!(get("/open/a").send(gateway.api()).text(), "sick");
}

#[test]
fn a_host_whose_address_changes_is_found_by_the_next_health_check() {
    let (one, other) = (own_loopback(), own_loopback());
    let first = forgetful((one, 0));
    let gateway = named(&[one], first.address.port(), "health_interval = \"20ms\"");
    assert_eq!(get("/open/a").send(gateway.api()).text(), one.to_string());
    first.close();
    gateway.log().wait_for(&[NO_BACKEND]);
    let _second = forgetful((other, first.address.port()));
    std::fs::write(gateway.directory.path().join("hosts"), hosts("backend.test", &[other])).unwrap();
    gateway.log().wait_for(&["the backend is up"]);
    assert_eq!(get("/open/a").send(gateway.api()).text(), other.to_string());
}

/// A backend that pauses for that long before its answer, and in its body. A WebSocket says nothing until it is closed.
fn pausing(pause: Duration) -> Backend {
    Backend::handling(move |stream, _| {
        while let Some(request) = read_request(stream) {
            if request.header("upgrade").is_some() {
                let switched =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                let _ = stream.get_mut().write_all(switched.as_bytes());
                let _ = stream.read_to_end(&mut Vec::new());
                return;
            }
            std::thread::sleep(pause);
            if stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").is_err() {
                return;
            }
            std::thread::sleep(pause);
            if stream.get_mut().write_all(b"k").is_err() {
                return;
            }
        }
    })
}

// Case C9: a group of slow backends has timeouts of its own.
#[test]
fn a_slow_group_has_timeouts_of_its_own() {
    let backend = pausing(Duration::from_millis(600));
    let limits = |time| {
        format!(
            "response_timeout = \"{time}\"\ntunnel_idle_timeout = \"{time}\"\nbody_timeout = \"{time}\"\n"
        )
    };
    let (short, long) = (limits("300ms"), limits("20s"));
    for (entry, group, expected) in [(&short, &long, [504, 200]), (&long, &short, [200, 504])] {
        let keys = format!(
            "{entry}[[api.group]]\nname = \"own\"\nupstreams = [\"http://{}\"]\n{group}\
             [[api.route]]\npath = \"/own/*\"\npermission = \"public\"\ngroup = \"own\"\n",
            backend.address
        );
        let gateway = Gateway::start(&open_api(backend.address, &keys));
        for (path, status) in ["/open/a", "/own/a"].into_iter().zip(expected) {
            assert_eq!(get(path).send(gateway.api()).status, status, "{path}");
            assert_eq!(request("POST", path).body("x").send(gateway.api()).status, status, "{path}");
            // A body that pauses, and a tunnel that is idle.
            let mut paused = Connection::open(gateway.api());
            paused.write(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").as_bytes());
            let mut tunnel = Connection::open(gateway.api());
            tunnel.write(&get(path).header("Connection", "Upgrade").header("Upgrade", "websocket").bytes());
            assert_eq!(tunnel.read_response().status, 101, "{path}");
            if status == 504 {
                assert_eq!(paused.read_response().status, 408, "{path}");
                assert!(tunnel.is_closed(), "{path}");
            } else {
                assert_eq!(tunnel.read_within(Duration::from_millis(700)), None, "{path}");
                paused.write(b"b");
                assert_eq!(paused.read_response().status, 200, "{path}");
            }
        }
    }
}

// Case C15: with all backends down they are used all the same.
#[test]
fn backends_that_are_all_down_are_used_all_the_same() {
    let sick = || {
        Backend::answering(|received| {
            let status = if received.target == "/healthz" { "503 Sick" } else { "200 OK" };
            format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        })
    };
    let (one, other) = (sick(), sick());
    let upstreams = format!("\"http://{}\", \"http://{}\"", one.address, other.address);
    let check = "health_check = \"/healthz\"\nhealth_interval = \"20ms\"\n";
    let group = format!("[[api.group]]\nname = \"sick\"\nupstreams = [{upstreams}]\n{check}");
    let route = "[[api.route]]\npath = \"/sick/*\"\npermission = \"public\"\ngroup = \"sick\"\n";
    let gateway = Gateway::start(&open_api(one.address, &format!("{group}{route}")));
    for backend in [&one, &other] {
        let reason = "GET /healthz was answered with 503";
        let place = ["\"entry\":\"api\"", "\"group\":\"sick\""];
        gateway.log().wait_for(&[NO_BACKEND, &backend.address.to_string(), reason, place[0], place[1]]);
    }
    for _ in 0..4 {
        assert_eq!(get("/sick/a").send(gateway.api()).status, 200);
    }
    let asked =
        |backend: &Backend| backend.drain().iter().filter(|received| received.target == "/sick/a").count();
    assert_eq!((asked(&one), asked(&other)), (2, 2));
}
