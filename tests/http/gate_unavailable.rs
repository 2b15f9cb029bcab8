//! Where a session can't be checked, the answer is 503 and "try again": nobody is logged out, and nobody gets in.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{NO_DELAYS, WEB, with_credentials};
use crate::common::database::Damage;
use crate::common::http::Response;
use crate::common::web::{LOGIN, address, fetch, log_in, login_form, logout_form, open, web};
use crate::common::{api, configure_store, configured};

/// A cookie of which the gateway knows nothing.
const UNKNOWN: &str = "gatepost=1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn start(backend: &Backend) -> Gateway {
    let rest = format!("{NO_DELAYS}{}{}", api(backend.address), web(backend.address, ""));
    let directory = configured(&rest);
    configure_store(directory.path(), "read_connections = 1\nbusy_timeout = \"100ms\"");
    let gateway = Gateway::start_in(directory);
    with_credentials(gateway.account("email,api,web"));
    gateway
}

fn assert_unavailable(response: &Response, is_page: bool, context: &str) {
    assert_eq!(response.status, 503, "{context}: {}", response.text());
    let seconds: u64 = response.header("retry-after").expect(context).parse().unwrap();
    assert!((1..=60).contains(&seconds), "{context}: {seconds}");
    assert_eq!(response.header("location"), None, "{context}");
    assert_eq!(response.header("set-cookie"), None, "{context}");
    assert_eq!(response.header("www-authenticate"), None, "{context}");
    assert_eq!(response.text().contains("<h1>"), is_page, "{context}: {}", response.text());
}

#[test]
fn without_the_store_nobody_is_logged_out_and_nobody_gets_in() {
    let backend = Backend::hello();
    let gateway = start(&backend);
    let at = address(&gateway);
    let known = log_in(at, WEB);
    assert_eq!(open("/a").header("Cookie", &known).send(at).status, 200);
    backend.drain();
    let damage = Damage::of(&gateway);
    assert_unavailable(&open("/a").header("Cookie", UNKNOWN).send(at), true, "a navigation");
    let page = open("/a").header("Cookie", UNKNOWN).send(at).text();
    assert!(!page.contains("logged in"), "{page}");
    assert_unavailable(&fetch("GET", "/a").header("Cookie", UNKNOWN).send(at), false, "a fetch");
    assert_unavailable(&fetch("POST", "/a").header("Cookie", UNKNOWN).send(at), false, "a POST");
    assert_unavailable(&open(LOGIN).header("Cookie", UNKNOWN).send(at), true, "the login page with a cookie");
    for login in
        ["mailer:passw0rd-mail", "everything:passw0rd-all", "viewer:wrong-passw0rd", "nosuch:passw0rd-x"]
    {
        let response = login_form(login, "/a").send(at);
        assert_unavailable(&response, true, login);
        let (name, password) = login.split_once(':').unwrap();
        let text = response.text();
        assert!(text.contains(&format!("value=\"{name}\"")) && !text.contains(password), "{text}");
    }
    assert_unavailable(&logout_form(UNKNOWN).send(at), true, "a logout");
    // A page without a cookie asks nobody.
    assert_eq!(open(LOGIN).send(at).status, 200);
    assert_eq!(open("/a").send(at).status, 303);
    // What is remembered still stands: nothing can have changed it.
    assert!(backend.drain().is_empty());
    assert_eq!(open("/a").header("Cookie", &known).send(at).status, 200);
    // A logout that can't be stored is none.
    let logout = logout_form(&known).send(at);
    assert_unavailable(&logout, true, "a logout that can't be stored");
    assert_eq!(logout.header("clear-site-data"), None);
    let text = logout.text();
    assert!(text.contains("You are still logged in") && text.contains("Try again in 1 second"), "{text}");
    assert!(text.contains("href=\"/-/gatepost/logout\"") && !text.contains("database"), "{text}");
    gateway.log().wait_for(&["logout failed", logout.header("x-request-id").unwrap()]);
    drop(damage);
}
