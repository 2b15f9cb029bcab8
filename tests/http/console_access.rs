//! Access control of the console: each route with a foreign account, a credential, no session, a stale token, and another site.

use crate::common::accounts;
use crate::common::console::{Browser, Page, section};
use crate::common::http::{get, request};
use crate::common::{Gateway, HOLDER};

/// A holder of another account.
const OTHER: &str = "zeta:zetas-passw0rd";

fn gateway() -> Gateway {
    let gateway = Gateway::start(&section(""));
    gateway.account("email,api,web").credential("joe-ci:joes-passw0rd", "api");
    accounts::add_account(&gateway.config(), "zeta", "zetas-passw0rd", "email,api,web");
    accounts::add_credential(&gateway.config(), "zeta", "zoe-ci", "zoes-passw0rd", "api");
    gateway
}

/// The number of the credential of that name, from the list of its account.
fn id_of(browser: &mut Browser, name: &str) -> String {
    let page = browser.get(&format!("/credentials?q={name}"));
    let rest = page.html.split("href=\"/credentials/").skip(1);
    let ids = rest.map(|rest| rest.split(['"', '/']).next().unwrap().to_owned());
    ids.filter(|id| id.parse::<u64>().is_ok()).last().unwrap_or_else(|| panic!("no {name}: {}", page.html))
}

const READ: [&str; 7] = [
    "/credentials",
    "/credentials/add",
    "/credentials/ID",
    "/credentials/ID/remove",
    "/activity",
    "/sessions",
    "/own",
];
const CHANGED: [&str; 8] = [
    "/credentials/add",
    "/credentials/ID",
    "/credentials/ID/remove",
    "/credentials/remove",
    "/sessions/end",
    "/sessions/end-others",
    "/own/password",
    "/logout",
];

#[test]
fn without_a_session_each_page_is_the_login_and_nothing_is_changed() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let id = id_of(&mut holder, "joe-ci");
    let token = holder.get("/own").hidden("token");
    for path in READ {
        let response = Browser::new(&gateway).ask("GET", &path.replace("ID", &id), "");
        assert_eq!(response.status, 303, "{path}");
        assert!(response.header("location").unwrap().starts_with("/login?next="), "{path}");
        let response = Browser::new(&gateway).ask("HEAD", &path.replace("ID", &id), "");
        assert_eq!((response.status, response.body.len()), (303, 0), "{path}");
    }
    for path in CHANGED.into_iter().filter(|path| *path != "/logout") {
        let body = format!("token={token}&id={id}&username=new-one&how=generated");
        let mut nobody = Browser::new(&gateway);
        let response = nobody.ask("POST", &path.replace("ID", &id), &body);
        assert_eq!(response.status, 401, "{path}");
        assert!(response.text().contains("Nothing was changed"), "{path}: {}", response.text());
    }
    holder.get("/credentials").says(200, &["joe-ci", "1 credential"]);
}

#[test]
fn a_foreign_account_sees_and_changes_nothing() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let mut other = Browser::logged_in(&gateway, OTHER);
    let id = id_of(&mut holder, "joe-ci");
    let token = other.get("/credentials").says(200, &["zoe-ci"]).hidden("token");
    assert!(!other.get("/credentials").html.contains("joe-ci"));
    assert!(!other.get("/credentials?q=joe").text().contains("1 credential joe"));
    for path in ["/credentials/ID", "/credentials/ID/remove"] {
        let path = path.replace("ID", &id);
        let page = other.get(&path);
        page.says(404, &["Page not found"]);
        assert!(!page.html.contains("joe-ci"));
        let page = other.post(&path, &[("token", &token), ("email", "1"), ("password_change", "generated")]);
        assert_eq!(page.status, 404, "{path}");
        assert!(!page.html.contains("joe-ci"));
    }
    // In a selection, foreign credentials are as good as gone.
    let page = other.get(&format!("/credentials/remove?id={id}"));
    page.says(200, &["no longer exist"]);
    let page = other.post("/credentials/remove", &[("token", &token), ("id", &id)]);
    page.says(200, &["are removed, and refused on every node"]);
    let own = id_of(&mut other, "zoe-ci");
    let page = other.post("/credentials/remove", &[("token", &token), ("id", &id), ("id", &own)]);
    page.says(200, &["Removed zoe-ci."]);
    holder.get("/credentials").says(200, &["joe-ci", "api"]);
    let activity = holder.get("/activity").text();
    assert!(!activity.contains("zoe-ci"), "{activity}");
    // Sessions of somebody else.
    let session = holder.get("/sessions");
    assert_eq!(session.status, 200);
    for id in 1..6 {
        other.post("/sessions/end", &[("token", &token), ("id", &id.to_string())]);
    }
    assert_eq!(holder.get("/credentials").status, 200);
}

#[test]
fn a_credential_opens_its_own_pages_only() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let mut credential = Browser::logged_in(&gateway, "joe-ci:joes-passw0rd");
    let id = id_of(&mut holder, "joe-ci");
    let token = credential.get("/own").hidden("token");
    for path in ["/credentials", "/credentials/add", "/credentials/ID", "/credentials/ID/remove", "/activity"]
    {
        let page = credential.get(&path.replace("ID", &id));
        page.says(403, &["Only the account holder"]);
    }
    for path in ["/credentials/add", "/credentials/ID", "/credentials/ID/remove", "/credentials/remove"] {
        let fields = [("token", token.as_str()), ("id", &id), ("username", "new-one"), ("web", "1")];
        credential.post(&path.replace("ID", &id), &fields).says(403, &["Only the account holder"]);
    }
    credential.get("/sessions").says(200, &["This session"]);
    holder.get("/credentials").says(200, &["joe-ci", "1 credential"]);
}

#[test]
fn a_token_of_another_session_changes_nothing_and_the_form_shows_itself_again() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let id = id_of(&mut holder, "joe-ci");
    let stale = Browser::logged_in(&gateway, HOLDER).get("/own").hidden("token");
    let foreign = Browser::logged_in(&gateway, OTHER).get("/own").hidden("token");
    for token in [stale.as_str(), foreign.as_str(), "", "x"] {
        let fields = [("token", token), ("username", "new-one"), ("note", "a <note>"), ("api", "1")];
        let page = holder.post("/credentials/add", &fields);
        page.says(409, &["Nothing was changed", "Add a credential"]);
        assert!(page.html.contains("value=\"new-one\""), "{}", page.html);
        let page = holder.post(&format!("/credentials/{id}"), &[("token", token), ("note", "again")]);
        page.says(409, &["Nothing was changed"]);
        let page = holder.post(&format!("/credentials/{id}/remove"), &[("token", token)]);
        page.says(409, &["Nothing was changed", "joe-ci"]);
        let page = holder.post("/credentials/remove", &[("token", token), ("id", &id)]);
        page.says(409, &["Nothing was changed", "joe-ci"]);
        let page = holder.post("/sessions/end-others", &[("token", token)]);
        page.says(409, &["Nothing was changed"]);
        let page = holder.post("/own/password", &[("token", token), ("current", "holder-passw0rd")]);
        page.says(409, &["Nothing was changed"]);
    }
    holder.get("/credentials").says(200, &["joe-ci", "1 credential"]);
}

#[test]
fn a_form_of_another_site_is_refused() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let token = holder.get("/own").hidden("token");
    for foreign in [
        vec![],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Sec-Fetch-Site", "none")],
        vec![("Origin", "https://evil.example")],
        vec![("Origin", "null")],
        vec![("Origin", "http://localhost:8080")],
        vec![("Origin", "http://localhost"), ("Sec-Fetch-Site", "cross-site")],
    ] {
        holder.site = foreign.clone();
        let login = [("username", "acme"), ("password", "holder-passw0rd"), ("next", "/own")];
        let page = holder.post("/login", &login);
        page.says(403, &["Log in"]);
        assert!(!page.html.contains("name=\"next\"") && page.header("set-cookie").is_none());
        assert!(page.html.contains("value=\"acme\"") && !page.html.contains("holder-passw0rd"));
        for path in ["/credentials/add", "/logout", "/sessions/end-others", "/credentials/remove"] {
            let page = holder.post(path, &[("token", &token), ("username", "evil-one"), ("api", "1")]);
            page.says(403, &["Nothing was changed"]);
        }
        assert!(holder.cookie.is_some());
    }
    gateway.log().wait_for(&["cross-site", "\"entry\":\"console\""]);
    for own in [vec![("Origin", "http://localhost")], vec![("Sec-Fetch-Site", "same-origin")]] {
        holder.site = own;
        let name = format!("own-{}", holder.site[0].0.to_lowercase());
        let fields = [("token", token.as_str()), ("username", &name), ("api", "1")];
        holder.post("/credentials/add", &fields).says(200, &[&name]);
    }
    holder.get("/credentials").says(200, &["3 credentials"]);
}

#[test]
fn unknown_addresses_and_methods() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let is_no_page = |page: &Page| assert!(page.header("cache-control") == Some("no-store"));
    for path in [
        "/nothing",
        "/credentials/0",
        "/credentials/joe-ci",
        "/credentials/999999",
        "/own/x",
        "/credentials/1/edit",
    ] {
        let page = holder.get(path);
        page.says(404, &["Page not found"]);
        is_no_page(&page);
    }
    for (method, path, allow) in [
        ("PUT", "/credentials", "GET, HEAD"),
        ("DELETE", "/credentials/1", "GET, HEAD, POST"),
        ("GET", "/sessions/end", "POST"),
        ("OPTIONS", "/own", "GET, HEAD"),
        ("TRACE", "/login", "GET, HEAD, POST"),
        ("FOO", "/", "GET, HEAD"),
    ] {
        let response = holder.ask(method, path, "");
        assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[test]
fn a_form_is_bounded() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    let token = holder.get("/own").hidden("token");
    let long = format!("token={token}&note={}", "x".repeat(70_000));
    assert_eq!(holder.ask("POST", "/credentials/add", &long).status, 413);
    let many = format!("token={token}&{}", "a=b&".repeat(300));
    assert_eq!(holder.ask("POST", "/credentials/add", &many).status, 400);
    assert_eq!(holder.ask("GET", &format!("/credentials?{}", "a=b&".repeat(300)), "").status, 400);
    let invalid = format!("token={token}&note=%ff");
    assert_eq!(holder.ask("POST", "/credentials/add", &invalid).status, 400);
    let json = request("POST", "/credentials/add")
        .header("Content-Type", "application/json")
        .header("Sec-Fetch-Site", "same-origin")
        .header("Cookie", &format!("gatepost-console={}", holder.cookie.clone().unwrap()))
        .body("{}")
        .send(gateway.address("console.listen"));
    assert_eq!(json.status, 400);
    holder.get("/credentials").says(200, &["1 credential"]);
}

#[test]
fn pages_are_protected_by_their_header() {
    let gateway = gateway();
    let mut holder = Browser::logged_in(&gateway, HOLDER);
    for path in ["/credentials", "/credentials/add", "/activity", "/sessions", "/own", "/nothing"] {
        let page = holder.get(path);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}");
        }
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!page.html.contains("style=") && !page.html.contains("<script>"), "{path}");
    }
    let page = holder.get("/credentials");
    let stylesheet =
        page.html.split("href=\"").find(|rest| rest.split('"').next().unwrap().ends_with(".css"));
    let address = stylesheet.unwrap().split('"').next().unwrap();
    let file = get(address).send(gateway.address("console.listen"));
    assert_eq!((file.status, file.header("content-type")), (200, Some("text/css; charset=utf-8")));
}
