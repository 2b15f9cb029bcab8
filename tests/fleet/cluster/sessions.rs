//! Sessions of browsers on several nodes: a login on one is good on all, and its end is in effect on all before it is answered.

use std::time::Duration;

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::http::{Response, get, request};
use crate::common::postgres::{PostgresDatabase, PostgresServer};

use super::gateways::{add_credentials, configured_on, wait_until_settled};

const LOGIN: &str = "/-/gatepost/login";
const LOGOUT: &str = "/-/gatepost/logout";

fn gateways(database: &PostgresDatabase<'_>, backend: &Backend) -> [Gateway; 3] {
    let web = format!("[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{}\"]\n", backend.address);
    [(); 3].map(|()| {
        let directory = configured_on(&database.url(), &web);
        Gateway::start_by(directory, std::process::Command::new(crate::common::binary()))
    })
}

fn post(gateway: &Gateway, path: &str, cookie: Option<&str>, body: &str) -> Response {
    let address = gateway.address("web.listen");
    let mut request = request("POST", path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .header("origin", &format!("http://{address}"));
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.body(body).send_to_host(address)
}

/// Logs in as a credential; the value of `Cookie`.
fn log_in(gateway: &Gateway, name: &str) -> String {
    let answer = post(gateway, LOGIN, None, &format!("username={name}&password=passw0rd-1"));
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.set_cookie().unwrap().split(';').next().unwrap().to_owned()
}

/// Logs out by the form of the page that asks.
fn log_out(gateway: &Gateway, cookie: &str) {
    let page = get(LOGOUT)
        .header("cookie", cookie)
        .header("accept", "text/html")
        .send_to_host(gateway.address("web.listen"));
    let text = page.text();
    let token = text.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let body = format!("token={}", token.unwrap_or_else(|| panic!("{text}")));
    let answer = post(gateway, LOGOUT, Some(cookie), &body);
    assert_eq!(answer.status, 303, "{}", answer.text());
}

/// The status of a script's request with that cookie.
fn check(gateway: &Gateway, cookie: &str) -> u16 {
    get("/data").header("cookie", cookie).send_to_host(gateway.address("web.listen")).status
}

#[test]
fn a_login_is_good_on_every_node_and_a_logout_ends_it_on_every_node() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let gateways = gateways(&database, &backend);
    gateways[0].account("email,api,web");
    add_credentials(&database, 30);
    wait_until_settled(&database);
    for number in 0..30 {
        let on = |nth: usize| &gateways[(number + nth) % 3];
        let cookie = log_in(on(0), &format!("user{number}"));
        for gateway in &gateways {
            assert_eq!(check(gateway, &cookie), 200, "at once, on every node");
        }
        log_out(on(1), &cookie);
        for gateway in [on(2), on(0), on(1)] {
            assert_eq!(check(gateway, &cookie), 401, "once it was answered, on no node");
        }
    }
    // So it is with what ends the sessions of somebody without asking.
    for (number, end) in ["password", "removed", "ended"].into_iter().enumerate() {
        let name = format!("user{number}");
        let cookie = log_in(&gateways[number], &name);
        assert!(gateways.iter().all(|gateway| check(gateway, &cookie) == 200));
        let done = match end {
            "password" => gateways[2].command(
                &["credential", "edit", &name, "--account", "acme", "--password-stdin"],
                "another-passw0rd\n",
            ),
            "removed" => gateways[0].command(&["credential", "remove", &name, "--account", "acme"], ""),
            _ => gateways[1].command(&["session", "end", &name], ""),
        };
        assert!(done.status.success(), "{end}: {done:?}");
        for gateway in &gateways {
            assert_eq!(check(gateway, &cookie), 401, "{end}");
        }
    }
}

#[test]
fn a_restart_of_every_node_logs_nobody_out() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let mut gateways = gateways(&database, &backend);
    gateways[0].account("email,api,web");
    add_credentials(&database, 1);
    let cookie = log_in(&gateways[0], "user0");
    for gateway in &mut gateways {
        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
        gateway.restart();
    }
    let began = std::time::Instant::now();
    while gateways.iter().any(|gateway| check(gateway, &cookie) != 200) {
        assert!(began.elapsed() < Duration::from_secs(20), "the session is gone");
    }
}
