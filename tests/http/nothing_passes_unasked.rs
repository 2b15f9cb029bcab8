//! Every request is decided, wherever it carries its credential, and on the state of that moment.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_header};
use crate::common::callers::{
    ALL, API, EMAIL, NO_DELAYS, NOTHING, SENDING, WEB, in_every_place, with_credentials,
};
use crate::common::forms::{URLENCODED, form};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, HOLDER, api};

fn start(rest: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{NO_DELAYS}{rest}"));
    gateway.account("email,api,web");
    gateway
}

/// Sends a request after which nothing else may have reached the backend.
fn expect_silence(backend: &Backend, connection: &mut Connection, context: &str) {
    let response = connection.exchange(get("/sentinel").basic(ALL));
    assert_eq!(response.status, 200, "{context}: the sentinel");
    assert_eq!(backend.next().target, "/sentinel", "{context}: it reached the backend");
}

#[test]
fn a_credential_is_found_wherever_it_stands() {
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    for (way, request) in in_every_place("/api/stats.get.json", API) {
        let response = connection.exchange(request);
        assert_eq!(response.status, 200, "{way}: {}", response.text());
        let received = backend.next();
        assert_eq!(received.header("x-gatepost-user"), Some("caller"), "{way}");
        assert_eq!(received.header("x-gatepost-account"), Some("acme"), "{way}");
        assert_eq!(received.header("x-gatepost-permissions"), Some("api"), "{way}");
    }
    for login in [
        "caller:passw0rd-calk",
        "caller:",
        "callers:passw0rd-call",
        ":passw0rd-call",
        "caller:passw0rd-call ",
    ] {
        for (way, request) in in_every_place("/api/stats.get.json", login) {
            let response = connection.exchange(request);
            assert_eq!(response.status, 401, "{way} as {login}");
            assert!(response.header("www-authenticate").unwrap().starts_with("Basic "), "{way} as {login}");
        }
    }
    for (way, request) in in_every_place("/api/stats.get.json", EMAIL) {
        let response = connection.exchange(request);
        assert_eq!((response.status, response.header("www-authenticate")), (403, None), "{way}");
    }
    expect_silence(&backend, &mut connection, "refused requests");
}

#[test]
fn who_presents_nothing_gets_nothing() {
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "SEARCH"] {
        for path in ["/", "/api/stats.get.json", "/api/mail.send.json", "/v3/mail/send"] {
            connection.write(&request(method, path).bytes());
            if method == "HEAD" {
                // Its answer has no body, which the client must know: on a connection of its own.
                let head = connection.read_raw().unwrap();
                assert!(head.starts_with(b"HTTP/1.1 401 "), "{}", head.escape_ascii());
                connection = Connection::open(gateway.api());
                continue;
            }
            assert_eq!(connection.read_response().status, 401, "{method} {path}");
        }
    }
    for value in [
        "Bearer passw0rd-all",
        "Basic",
        "Basic ",
        "Basic !!",
        "Basic ZXZlcnl0aGluZw==",
        "Digest a=b",
        "basic",
        "",
    ] {
        assert_eq!(connection.exchange(get("/").header("Authorization", value)).status, 401, "{value:?}");
    }
    // Over a proxy's own field, a cookie, or in a place that is no form, a credential doesn't count.
    let encoded = "Basic ZXZlcnl0aGluZzpwYXNzdzByZC1hbGw=";
    for name in ["Proxy-Authorization", "X-Authorization", "Cookie"] {
        assert_eq!(connection.exchange(get("/").header(name, encoded)).status, 401, "{name}");
    }
    let pair = "api_user=everything&api_key=passw0rd-all";
    assert_eq!(connection.exchange(form("/", "text/plain", pair)).status, 401);
    assert_eq!(connection.exchange(request("POST", "/").body(pair)).status, 401);
    expect_silence(&backend, &mut connection, "without a credential");
}

#[test]
fn the_bits_decide() {
    let backend = Backend::hello();
    let routes = "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n\
                  [[api.route]]\npath = \"/screen/*\"\npermission = \"web\"\n\
                  [[api.route]]\npath = \"/later\"\nmethods = [\"POST\"]\npermission = \"email\"\n\
                  [[api.route]]\npath = \"/shown\"\nmethods = [\"GET\"]\npermission = \"public\"\n\
                  [[api.route]]\npath = \"/files/*.json\"\npermission = \"public\"\n\
                  [[api.route]]\npath = \"/users/*/avatar\"\npermission = \"public\"\n";
    let gateway = start(&format!("{}{routes}", api(backend.address)));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    let logins = [HOLDER, ALL, EMAIL, API, WEB, NOTHING];
    let mut cases = vec![
        ("GET", "/api/stats.get.json", [200, 200, 403, 200, 403, 403]),
        ("POST", "/", [200, 200, 403, 200, 403, 403]),
        ("GET", "/screen/a", [200, 200, 403, 403, 200, 403]),
        ("GET", "/SCREEN/a/", [200, 200, 403, 403, 200, 403]),
        ("POST", "/later", [200, 200, 200, 403, 403, 403]),
        ("post", "/later", [200, 200, 200, 403, 403, 403]),
        ("pOsT", "/later", [200, 200, 200, 403, 403, 403]),
        ("GET", "/later", [200, 200, 403, 200, 403, 403]),
        ("GET", "/open/", [200; 6]),
    ];
    for path in SENDING {
        cases.push(("POST", path, [200, 200, 200, 403, 403, 403]));
        cases.push(("GET", path, [200, 200, 200, 403, 403, 403]));
    }
    for (method, path, expected) in cases {
        for (login, expected) in logins.into_iter().zip(expected) {
            let status = connection.exchange(request(method, path).basic(login)).status;
            assert_eq!(status, expected, "{method} {path} as {login}");
            assert_eq!(backend.drain().len(), usize::from(expected == 200), "{method} {path} as {login}");
        }
    }
    // What is public is for everybody, with whatever they present; and says so to the backend.
    for request in [get("/open/a"), get("/open/a").basic("caller:wrong"), get("/open/a?api_user=x&api_key=y")]
    {
        assert_eq!(connection.exchange(request).status, 200);
        assert_eq!(backend.next().header("x-gatepost-user"), None);
    }
    // And no more than what is below it.
    for path in ["/open", "/Open/a", "/open/../a", "/opener"] {
        assert_eq!(connection.exchange(get(path)).status, 401, "{path}");
    }
    assert_eq!(connection.exchange(get("/shown")).status, 200);
    for method in ["get", "Get", "POST"] {
        assert_eq!(connection.exchange(request(method, "/shown")).status, 401, "{method}");
    }
    backend.drain();
    // A backend that ends these at the encoded `?` or `#` would serve what isn't public.
    for (path, named) in
        [("/files/secret%3F.json", "%3F"), ("/files/secret%23.json", "%23"), ("/users/4%3F/avatar", "%3F")]
    {
        let response = connection.exchange(get(path).basic(ALL));
        assert_eq!(response.status, 400, "{path}");
        let reason =
            format!("Ambiguous path: because of `{named}` in it, some servers read it as another path");
        assert!(response.text().contains(&reason), "{}", response.text());
    }
    assert_eq!(connection.exchange(get("/open/what%3F")).status, 200);
    assert_eq!(backend.next().target, "/open/what%3F");
    expect_silence(&backend, &mut connection, "what isn't public");
}

#[test]
fn a_suffix_takes_no_permission_away() {
    let backend = Backend::hello();
    let route =
        |path: &str, need: &str| format!("[[api.route]]\npath = \"{path}\"\npermission = \"{need}\"\n");
    let routes = [route("/v3/mail", "email"), route("/files/report", "api"), route("/files/*", "web")];
    let gateway = start(&format!("{}{}", api(backend.address), routes.concat()));
    with_credentials(&gateway);
    gateway.credential("bob:passw0rd-of-bob", "email,api").credential("eve:passw0rd-of-eve", "api,web");
    let mut connection = Connection::open(gateway.api());
    let logins = [EMAIL, API, WEB, "bob:passw0rd-of-bob", "eve:passw0rd-of-eve", ALL];
    for (path, expected) in [
        ("/v3/mail", [200, 403, 403, 200, 403, 200]),
        ("/v3/mail/batch", [403, 403, 403, 200, 403, 200]),
        ("/files/report", [403, 200, 403, 200, 200, 200]),
        ("/files/report.pdf", [403, 403, 403, 403, 200, 200]),
        ("/files/other.pdf", [403, 403, 200, 403, 200, 200]),
    ] {
        for (login, expected) in logins.into_iter().zip(expected) {
            assert_eq!(connection.exchange(get(path).basic(login)).status, expected, "{path} as {login}");
            assert_eq!(backend.drain().len(), usize::from(expected == 200), "{path} as {login}");
        }
    }
}

#[test]
fn an_account_is_the_ceiling_of_its_credentials() {
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    let mut expect = |context: &str, login: &str, sending: u16, other: u16| {
        assert_eq!(
            connection.exchange(get("/v3/mail/send").basic(login)).status,
            sending,
            "{context}: {login} sends"
        );
        assert_eq!(
            connection.exchange(get("/v3/stats").basic(login)).status,
            other,
            "{context}: {login} calls"
        );
    };
    let account = |arguments: &[&str]| {
        let output = gateway.command(arguments, "");
        assert!(output.status.success(), "{output:?}");
    };
    expect("at first", ALL, 200, 200);
    expect("at first", EMAIL, 200, 403);
    account(&["account", "rights", "acme", "api"]);
    expect("api only", ALL, 403, 200);
    expect("api only", EMAIL, 403, 403);
    expect("api only", HOLDER, 403, 200);
    account(&["account", "rights", "acme", "email,api,web"]);
    expect("again", ALL, 200, 200);
    account(&["account", "suspend", "acme"]);
    for login in [HOLDER, ALL, EMAIL] {
        expect("suspended", login, 401, 401);
    }
    assert_eq!(gateway.manage("get", "").0, 401, "the holder manages nothing either");
    account(&["account", "resume", "acme"]);
    expect("resumed", EMAIL, 200, 403);
    account(&["account", "remove", "acme", "--yes"]);
    for login in [HOLDER, ALL, EMAIL] {
        expect("removed", login, 401, 401);
    }
}

/// Changes go by the API, and by the command line of another process; kept-alive connections notice at once.
#[test]
fn a_change_holds_from_the_next_request_on() {
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    let mut status = |login: &str| connection.exchange(get("/v3/stats").basic(login)).status;
    for round in 0..20 {
        let name = format!("user-{round}");
        let (old, new) = (format!("{name}:0ld-passw0rd"), format!("{name}:new-passw0rd"));
        assert_eq!(status(&old), 401, "before it is there");
        let change = |action: &str, parameters: &str| {
            let (status, body) = gateway.manage(action, parameters);
            assert_eq!(status, 200, "{action}: {body}");
        };
        change("add", &format!("username={name}&password=0ld-passw0rd&permissions={{\"email\":0}}"));
        assert_eq!(status(&old), 200, "added");
        change("edit", &format!("username={name}&permissions={{\"api\":0}}"));
        assert_eq!(status(&old), 403, "without api");
        change("edit", &format!("username={name}&permissions={{\"api\":1}}"));
        assert_eq!(status(&old), 200, "with api");
        change("edit", &format!("username={name}&password=new-passw0rd"));
        assert_eq!((status(&old), status(&new)), (401, 200), "another password");
        change("remove", &format!("username={name}"));
        assert_eq!((status(&old), status(&new)), (401, 401), "removed");
    }
    assert_eq!(status(API), 200);
    let output = gateway.command(&["credential", "remove", "caller", "--account", "acme"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(status(API), 401, "removed by the command line");
    assert_eq!(connection.reopened, 0, "all of it on one connection");
}

/// A connection remembers the credential that it presents again and again, and believes it for no request too many.
#[test]
fn what_a_kept_connection_remembers_ends_with_a_change() {
    const OTHER: &str = "caller:new-passw0rd";
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    gateway.credential(API, "api").credential(EMAIL, "email");
    let mut connection = Connection::open(gateway.api());
    let mut status = |login: &str| connection.exchange(get("/v3/stats").basic(login)).status;
    let command = |arguments: &[&str], input: &str| {
        let output = gateway.command(arguments, input);
        assert!(output.status.success(), "{output:?}");
    };
    let edit = |option: &str, value: &str, input: &str| {
        let arguments = ["credential", "edit", "caller", "--account", "acme", option, value];
        command(&arguments[..if value.is_empty() { 6 } else { 7 }], input);
    };
    (0..4).for_each(|_| assert_eq!(status(API), 200));
    // Another secret and another name on the same connection are other credentials.
    for (other, answer) in [("caller:wr0ng-passw0rd", 401), ("callers:passw0rd-call", 401), (EMAIL, 403)] {
        assert_eq!(status(other), answer, "{other}");
        assert_eq!(status(API), 200, "after {other}");
    }
    edit("--revoke", "api", "");
    assert_eq!(status(API), 403, "a cleared permission");
    edit("--grant", "api", "");
    for (context, change, back, answer) in [
        (
            "suspended",
            ["account", "suspend", "acme"].as_slice(),
            ["account", "resume", "acme"].as_slice(),
            401,
        ),
        (
            "cut rights",
            &["account", "rights", "acme", "email"],
            &["account", "rights", "acme", "email,api,web"],
            403,
        ),
    ] {
        (0..4).for_each(|_| assert_eq!(status(API), 200, "before: {context}"));
        command(change, "");
        assert_eq!(status(API), answer, "{context}");
        command(back, "");
    }
    (0..4).for_each(|_| assert_eq!(status(API), 200, "before another password"));
    edit("--password-stdin", "", "new-passw0rd");
    assert_eq!((status(API), status(OTHER)), (401, 200), "another password");
    (0..4).for_each(|_| assert_eq!(status(OTHER), 200, "before the removal"));
    command(&["credential", "remove", "caller", "--account", "acme"], "");
    assert_eq!(status(OTHER), 401, "removed");
    (0..4).for_each(|_| assert_eq!(status(HOLDER), 200, "the holder"));
    command(&["account", "remove", "acme", "--yes"], "");
    assert_eq!(status(HOLDER), 401, "removed with its account");
    assert_eq!(connection.reopened, 0, "all of it on one connection");
}

#[test]
fn a_credential_manages_nothing() {
    let backend = Backend::hello();
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.api());
    for action in ["get", "add", "edit", "remove", "delete"] {
        for path in [format!("/api/credentials/{action}.json"), format!("/api/credentials.{action}.json")] {
            for (way, request) in in_every_place(&format!("{path}?username=mailer&password=passw0rd-9"), ALL)
            {
                // Its own parameters are small and in a form; what isn't is refused for that.
                let expected = match way {
                    _ if way.starts_with("query") => continue,
                    "basic, with a body" => 400,
                    "urlencoded, last" | "multipart, after attachments" => 413,
                    _ => 403,
                };
                assert_eq!(connection.exchange(request).status, expected, "{action}, {way}");
            }
            let target = format!("{path}?username=mailer&api_user=everything&api_key=passw0rd-all");
            assert_eq!(connection.exchange(get(&target)).status, 403, "{action}");
            assert_eq!(connection.exchange(get(&path).basic("acme:wrong-passw0rd")).status, 401, "{action}");
            assert_eq!(connection.exchange(get(&path)).status, 401, "{action}");
        }
    }
    assert_eq!(gateway.manage("get", "username=mailer").0, 200, "it is still there");
    expect_silence(&backend, &mut connection, "management");
}

/// On a dashboard, everything needs `web`, and a form's fields are the dashboard's own.
#[test]
fn the_dashboard_asks_for_web() {
    let backend = Backend::hello();
    let rest = api(backend.address).replace("[api]", "[web]");
    let routes = "[[web.route]]\npath = \"/assets/*\"\npermission = \"public\"\n";
    let gateway = Gateway::start(&format!("{NO_DELAYS}{rest}{routes}"));
    gateway.account("email,api,web");
    with_credentials(&gateway);
    let mut connection = Connection::open(gateway.address("web.listen"));
    for (login, expected) in
        [(HOLDER, 200), (ALL, 200), (WEB, 200), (API, 403), (EMAIL, 403), ("viewer:wrong", 401)]
    {
        for path in ["/", "/api/mail.send.json", "/v3/mail/send", "/api/credentials/get.json"] {
            assert_eq!(connection.exchange(get(path).basic(login)).status, expected, "{path} as {login}");
            assert_eq!(backend.drain().len(), usize::from(expected == 200), "{path} as {login}");
        }
    }
    assert_eq!(connection.exchange(get("/assets/a.css")).status, 200);
    backend.drain();
    for (way, request) in in_every_place("/", WEB).into_iter().filter(|(way, _)| !way.starts_with("basic")) {
        assert_eq!(connection.exchange(request).status, 401, "{way}");
    }
    let own = "api_user=somebody&api_key=else";
    let post = form(&format!("/?{own}"), URLENCODED, own).basic(WEB);
    assert_eq!(connection.exchange(post).status, 200);
    let received = backend.next();
    assert_eq!(
        (&received.target[..], &received.body[..]),
        ("/?api_user=somebody&api_key=else", own.as_bytes())
    );
}

/// A tunnel that is open when its credential is revoked is cut within a second.
#[test]
fn an_open_tunnel_ends_with_its_credential() {
    let backend = Backend::handling(|stream, received| {
        let Some(request) = read_header(stream) else { return };
        let _ = received.send(request);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let _ = stream.get_mut().write_all(answer);
        echo(stream);
    });
    let gateway = start(&api(backend.address));
    with_credentials(&gateway);
    let mut tunnels: Vec<Connection> = [API, ALL].map(|login| tunnel(gateway.api(), login)).into();
    assert_eq!(gateway.manage("edit", "username=caller&permissions={\"email\":1}").0, 200, "it may do more");
    for tunnel in &mut tunnels {
        say(tunnel, b"hello");
    }
    assert_eq!(gateway.manage("remove", "username=caller").0, 200);
    let since = Instant::now();
    assert!(tunnels[0].is_closed(), "the tunnel of what was removed");
    assert!(since.elapsed() < Duration::from_secs(1));
    say(&mut tunnels[1], b"the other one stays");
    assert_eq!(gateway.manage("edit", "username=everything&permissions={\"api\":0}").0, 200);
    assert!(tunnels[1].is_closed(), "the tunnel of what lost its right");
}

fn echo(stream: &mut BufReader<TcpStream>) {
    let mut piece = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        if stream.get_mut().write_all(&piece[..n]).is_err() {
            return;
        }
    }
}

fn tunnel(address: SocketAddr, login: &str) -> Connection {
    let mut connection = Connection::open(address);
    let request = get("/socket").basic(login).header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(connection.exchange(request).status, 101);
    connection
}

fn say(tunnel: &mut Connection, words: &[u8]) {
    tunnel.write(words);
    let mut heard = Vec::new();
    while heard.len() < words.len() {
        heard.extend(tunnel.read_raw().expect("the tunnel is cut"));
    }
    assert_eq!(heard, words);
}
