//! A dashboard behind the gate, and what a browser sends to it.

use std::net::SocketAddr;

use super::Gateway;
use super::backend::Backend;
use super::callers::{NO_DELAYS, with_credentials};
use super::forms::{URLENCODED, urlencoded};
use super::http::{Request, Response, get, request};

/// The host by which a browser on the same machine knows the gateway.
pub const LOCAL: &str = "localhost:8081";

/// The gate's login page.
pub const LOGIN: &str = "/-/gatepost/login";

/// The fields of a browser that opens an address.
pub const NAVIGATION: [(&str, &str); 4] = [
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "none"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
];

/// The fields of a script of the dashboard itself.
pub const FETCH: [(&str, &str); 3] =
    [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "same-origin"), ("Accept", "*/*")];

/// The fields of a form of the page itself.
pub const OWN_FORM: [(&str, &str); 3] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "same-origin"), ("Content-Type", URLENCODED)];

/// A `[web]` section for one backend.
pub fn web(upstream: SocketAddr, keys: &str) -> String {
    format!("[web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{upstream}\"]\n{keys}\n")
}

/// A gateway before `backend` with every credential, and an API for their management.
pub fn dashboard(backend: &Backend, keys: &str) -> Gateway {
    dashboard_with(NO_DELAYS, backend, keys)
}

/// The same with other sections before.
pub fn dashboard_with(sections: &str, backend: &Backend, keys: &str) -> Gateway {
    let api = super::api(backend.address);
    let gateway = Gateway::start(&format!("{sections}{api}{}", web(backend.address, keys)));
    with_credentials(gateway.account("email,api,web"));
    gateway
}

/// A request of a browser on the same machine, with these fields.
pub fn with(request: Request, fields: &[(&str, &str)]) -> Request {
    fields.iter().fold(request.for_host(LOCAL), |request, (name, value)| request.header(name, value))
}

/// A browser that opens an address.
pub fn open(target: &str) -> Request {
    with(get(target), &NAVIGATION)
}

/// A script of the dashboard that fetches an address.
pub fn fetch(method: &str, target: &str) -> Request {
    with(request(method, target), &FETCH)
}

/// The login form with a login and the way back.
pub fn login_form(login: &str, next: &str) -> Request {
    let (name, password) = login.split_once(':').unwrap();
    let fields = [("username", name), ("password", password), ("next", next)];
    with(request("POST", LOGIN), &OWN_FORM).body(encoded(&fields))
}

/// An urlencoded form.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", urlencoded(value));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// Logs in, and gives the cookie of the session: `NAME=VALUE`.
pub fn log_in(address: SocketAddr, login: &str) -> String {
    let response = login_form(login, "/").send(address);
    assert_eq!(response.status, 303, "{}", response.text());
    cookie_of(&response)
}

/// The cookie that a response sets: `NAME=VALUE`.
pub fn cookie_of(response: &Response) -> String {
    let set = response.set_cookie().unwrap_or_else(|| panic!("no cookie: {}", response.text()));
    set.split(';').next().unwrap().to_owned()
}

/// A form that logs out.
pub fn logout_form(cookie: &str) -> Request {
    with(request("POST", "/-/gatepost/logout"), &OWN_FORM).header("Cookie", cookie)
}

/// The address of `[web]`.
pub fn address(gateway: &Gateway) -> SocketAddr {
    gateway.address("web.listen")
}
