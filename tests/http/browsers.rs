//! Chromium with pages on several origins: what their scripts may send and read, and what a forged request gets.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::backend::{Backend, Received};
use crate::common::http::get;
use crate::common::servers::script;
use crate::common::{Gateway, HOLDER, api, installed};

const SENDER: &str = "sender:passw0rd-send";

/// An empty page.
fn site() -> Backend {
    Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<!doctype html><p>x\n"
            .to_vec()
    })
}

/// A backend that lets every page read its answers.
fn lenient() -> Backend {
    Backend::answering(|received| {
        let origin = received.header("origin").unwrap_or("null");
        let fields = format!("Access-Control-Allow-Origin: {origin}\r\nContent-Type: application/json\r\n");
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 21\r\n\r\n{{\"message\":\"success\"}}")
            .into_bytes()
    })
}

/// A gateway that lists the origin of `app`, which is another site by its name.
fn start(backend: &Backend, app: &Backend) -> Gateway {
    let origins = format!("cors_origins = [\"{}\"]\n", named(app));
    let gateway = Gateway::start(&format!(
        "[auth]\nbcrypt_cost = 4\nthrottle = false\n{}{origins}",
        api(backend.address)
    ));
    gateway.account("email,api,web").credential(SENDER, "email,api");
    gateway
}

/// The origin of a page as another site than that of the gateway.
fn named(site: &Backend) -> String {
    format!("http://localhost:{}", site.address.port())
}

fn take(steps: &Value) -> Vec<Value> {
    let client = installed("playwright/node_modules/playwright-core");
    let mut node = Command::new("node");
    let output =
        node.env("CLIENT", client).arg(script("browser.js")).arg(steps.to_string()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// A script that fetches and tells the status and the text, or the error.
fn fetch(gateway: SocketAddr, path: &str, options: &str) -> String {
    format!(
        "try {{ const r = await fetch('http://{gateway}{path}', {options}); return [r.status, await r.text()]; }} \
         catch (e) {{ return e.message; }}"
    )
}

fn basic(login: &str) -> String {
    format!("headers: {{ Authorization: 'Basic ' + btoa('{login}') }}")
}

/// A script that uploads a form of 300,000 bytes.
fn upload(gateway: SocketAddr, credential: &str, options: &str) -> String {
    let body = "const body = new FormData(); body.append('to', 'a@example.com');\
                body.append('files[a]', new Blob([new Uint8Array(300000).fill(7)]), 'a.bin');";
    let options = format!("{{ method: 'POST', body, {options} }}");
    format!("{body} {credential} {}", fetch(gateway, "/api/mail.send.json", &options))
}

fn assert_uploaded(received: &Received) {
    assert_eq!((received.method.as_str(), received.header("x-gatepost-user")), ("POST", Some("sender")));
    let kind = received.header("content-type").unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary=----WebKitFormBoundary"), "{kind}");
    assert!(memchr::memmem::find(&received.body, &[7; 300_000]).is_some(), "the file arrives as it was");
    assert!(!received.contains("passw0rd"));
}

// Cases B3 and B5: scripts of a listed origin upload with a credential in the form and in the header, and read refusals.
#[test]
fn scripts_of_a_listed_origin() {
    let (backend, app) = (lenient(), site());
    let gateway = start(&backend, &app);
    let own = gateway.api();
    let in_form = "body.append('api_user', 'sender'); body.append('api_key', 'passw0rd-send');";
    let page = named(&app);
    let results = take(&json!([
        {"page": page, "run": upload(own, in_form, "")},
        {"page": page, "run": upload(own, "", &basic(SENDER))},
        {"page": page, "run": upload(own, "", &basic("sender:wrong-passw0rd"))},
        {"page": page, "run": fetch(own, "/v3/stats", "{}")},
        {"page": page, "run": fetch(own, "/v3/stats", &format!("{{ method: 'DELETE', {} }}", basic(SENDER)))},
        {"page": page, "run": fetch(own, "/api/credentials/get.json", &format!("{{ {} }}", basic(HOLDER)))},
        {"page": page, "run": "const r = await fetch('http://ADDRESS/v3/stats'); return r.headers.get('x-request-id');"
            .replace("ADDRESS", &own.to_string())},
    ]));
    let success = json!([200, "{\"message\":\"success\"}"]);
    assert_eq!(results[..2], [success.clone(), success.clone()]);
    let received: Vec<_> = backend.drain();
    assert_uploaded(&received[0]);
    assert!(memchr::memmem::find(&received[0].body, b"name=\"api_key\"\r\n\r\nxxxxxxxxxxxxx\r\n").is_some());
    assert_uploaded(&received[1]);
    let refused = |result: &Value| {
        (result[0].clone(), serde_json::from_str::<Value>(result[1].as_str().unwrap()).unwrap())
    };
    let (status, body) = refused(&results[2]);
    assert_eq!((status, &body["errors"][0]), (json!(401), &json!("Bad username / password")));
    let (status, body) = refused(&results[3]);
    assert_eq!((status, &body["errors"][0]["message"]), (json!(401), &json!("Authentication required")));
    assert_eq!(results[4], success);
    let (status, body) = refused(&results[5]);
    assert_eq!((status, &body[0]["name"]), (json!(200), &json!("sender")));
    assert!(results[6].is_string(), "{}", results[6]);
    // Preflights were answered by the gateway.
    assert_eq!((received.len(), received[2].method.as_str()), (3, "DELETE"));
}

// Cases B3 and B4: pages of other origins read nothing, and a login that the browser has stored does nothing for them.
#[test]
fn pages_of_other_origins() {
    let (backend, app, evil) = (Backend::hello(), site(), site());
    let gateway = start(&backend, &app);
    let own = gateway.api();
    let add = "/api/credentials/add.json";
    let form = |path: &str, kind: &str| {
        format!(
            "<form method=post action=\"http://{own}{path}\" enctype=\"{kind}\">\
             <input name=username value=evil><input name=password value=evil-passw0rd></form>"
        )
    };
    let forged = "{ method: 'POST', credentials: 'include', body: new URLSearchParams({ username: 'evil', password: 'evil-passw0rd' }) }";
    let unread = forged.replace("credentials", "mode: 'no-cors', credentials");
    let mut steps = vec![json!({"visit": format!("http://{HOLDER}@{own}/api/credentials/get.json")})];
    // Another site, and another port of the own one.
    let pages = [named(&evil), format!("http://{}", evil.address)];
    for page in &pages {
        let login = HOLDER.split_once(':').unwrap();
        steps.extend([
            json!({"page": page, "run": fetch(own, "/v3/stats", "{}")}),
            json!({"page": page, "run": fetch(own, "/v3/stats", &format!("{{ {} }}", basic(SENDER)))}),
            json!({"page": page, "run": fetch(own, add, forged)}),
            json!({"page": page, "login": login, "run": fetch(own, add, forged)}),
            json!({"page": page, "login": login, "run": fetch(own, add, &unread)}),
            json!({"page": page, "form": form(add, "application/x-www-form-urlencoded")}),
            json!({"page": page, "form": form(add, "multipart/form-data")}),
            json!({"page": page, "form": form("/v3/stats", "text/plain")}),
        ]);
    }
    let results = take(&json!(steps));
    assert_eq!(results[0], 200);
    for (page, results) in pages.iter().zip(results[1..].chunks(8)) {
        for unreadable in &results[..4] {
            assert_eq!(unreadable, "Failed to fetch", "{page}");
        }
        assert_eq!(results[4], json!([0, ""]), "{page}");
        for forged in &results[5..] {
            assert_eq!(forged[0], 403, "{page}: {forged}");
            assert!(forged[1].as_str().unwrap().contains("Cross-site request refused"), "{page}: {forged}");
        }
    }
    // The icon of the page that was visited may be asked for.
    let reached = backend.drain().into_iter().map(|received| (received.method, received.target));
    let forged: Vec<_> = reached.filter(|(_, target)| target != "/favicon.ico").collect();
    assert!(forged.is_empty(), "{forged:?}");
    gateway.log().wait_for(&["\"actor\":\"acme\"", "cross-site by Sec-Fetch-Site"]);
    let evil = get("/api/credentials/get.json?username=evil").basic(HOLDER).send(own);
    assert_eq!(evil.status, 404, "{}", evil.text());
}
