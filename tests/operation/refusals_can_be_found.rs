//! Refusals that can be found: the client learns an ID, and exactly one line of the log with it says what was refused.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::common::backend::Backend;
use crate::common::http::{Connection, Request, Response, get, request};
use crate::common::mail::{
    ANN, Answer, CONTENT, Client, JOE, arranged, metric, plain, secured, smtp, wait_for_metric,
};
use crate::common::sink::{Act, Settings, Sink, say};
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, nobody, open_api, signal};
use serde_json::Value;

/// The line about the refusal with that ID, of which there is one.
fn line(gateway: &Gateway, id: &str) -> Value {
    let word = format!("\"request_id\":\"{id}\"");
    let is_refusal =
        |line: &str| ["\"target\":\"refusal\"", "\"denied\"", "\"refused\""].iter().any(|w| line.contains(w));
    gateway.log().wait_for(&[&word, "\"reason\":"]);
    let text = gateway.log().text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(&word) && is_refusal(line) && !line.contains("\"target\":\"access\""))
        .collect();
    assert_eq!(lines.len(), 1, "{id}: {lines:#?}\n{text}");
    serde_json::from_str(lines[0]).unwrap()
}

/// Checks the fields of a line; an empty user stands for none.
fn assert_line(line: &Value, entry: &str, user: &str, code: &str, reason: &str) {
    let who = line.get("user").or(line.get("actor")).and_then(Value::as_str).unwrap_or_default();
    let found = (line["entry"].as_str().unwrap(), who, line["code"].as_str().unwrap_or_default());
    assert_eq!(found, (entry, user, code), "{line}");
    assert_eq!(line["source"], "127.0.0.1", "{line}");
    assert_eq!(line["level"], "INFO", "{line}");
    assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
}

/// A mail client that is greeted, and the ID of its session.
fn greeted(address: SocketAddr) -> (Client, String) {
    let mut client = Client::connect(address);
    let id = client.answer().id.expect("the greeting has the ID");
    assert_eq!(client.say("EHLO client.test").code, 250);
    (client, id)
}

fn logged_in(address: SocketAddr, login: &str) -> (Client, String) {
    let (mut client, id) = greeted(address);
    assert_eq!(client.say(&plain(login)).code, 235);
    (client, id)
}

fn id_of(answer: &Answer) -> &str {
    answer.id.as_deref().unwrap_or_else(|| panic!("no ID in {answer:?}"))
}

// Case E6: whatever Gatepost refuses over SMTP by itself has a line, with the ID that the client was told.
#[test]
fn of_the_gateway_over_smtp() {
    let sink = Sink::good();
    let keys = "max_message = \"64KiB\"\nmax_recipients = 1\nmax_errors = 4\n";
    let gateway = Gateway::start(&smtp(&[sink.address], keys));
    gateway.account("email").credential(JOE, "email");
    let address = gateway.address("smtp.listen");

    let (mut client, session) = greeted(address);
    let answer = client.say("MAIL FROM:<a@test>");
    assert_eq!(id_of(&answer), session);
    assert_line(&line(&gateway, &session), "smtp", "", "530 5.7.0", "Authentication required");

    // Each message of a session has a number.
    let (mut client, session) = logged_in(address, JOE);
    let loops = format!("{}\r\n.", "Received: x\r\n".repeat(101));
    let large = format!("Subject: x\r\n\r\n{}.", "0123456789abcd\r\n".repeat(5000));
    for (number, content, code, reason) in [
        (1, "Subject: x\n\r\n.", "550 5.6.0", "Lines must end in CR LF"),
        (2, &loops, "554 5.4.6", "Too many hops"),
        (3, &large, "552 5.3.4", "Message too large"),
    ] {
        client.begin();
        assert_eq!(client.say("DATA").code, 354);
        let answer = client.say(content);
        assert_eq!(id_of(&answer), format!("{session}.{number}"), "{answer:?}");
        assert_line(&line(&gateway, id_of(&answer)), "smtp", "joe", code, reason);
    }
    client.begin();
    let answer = client.say("RCPT TO:<c@test>");
    assert_line(&line(&gateway, id_of(&answer)), "smtp", "joe", "452 4.5.3", "Too many recipients");
    assert_eq!(client.say("RSET").code, 250);
    for (command, code, reason) in [
        ("MAIL FROM:<a@test> X=1", "555 5.5.4", "Parameter not recognized"),
        ("NONSENSE", "500 5.5.1", "Command not recognized"),
        ("AUTH PLAIN", "503 5.5.1", "Already authenticated"),
    ] {
        let (mut client, session) = logged_in(address, JOE);
        let answer = client.say(command);
        assert_eq!(id_of(&answer), session, "{answer:?}");
        assert_line(&line(&gateway, &session), "smtp", "joe", code, reason);
    }
    assert!(sink.messages().is_empty());
}

// Case E6: so has a login that failed, whose reply stays that of the original API: the greeting has the ID.
#[test]
fn of_logins_and_permissions_over_smtp() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let text = open_api(backend.address, "") + &smtp(&[sink.address], "");
    let gateway = Gateway::start(&text);
    gateway.account("email,api").credential(JOE, "email,api").credential(ANN, "api");
    let address = gateway.address("smtp.listen");
    for (login, reason) in
        [(ANN, "forbidden"), ("joe:wrong-passw0rd", "wrong"), ("x:passw0rd-of-x", "unknown")]
    {
        let (mut client, session) = greeted(address);
        let answer = client.say(&plain(login));
        assert_eq!(answer.raw_lines(), ["535 5.7.8 Authentication failed: Bad username / password"]);
        let user = login.split(':').next().unwrap();
        assert_line(&line(&gateway, &session), "smtp", user, "535 5.7.8", reason);
    }
    let (mut client, session) = logged_in(address, JOE);
    assert_eq!(gateway.manage("edit", "username=joe&permissions={\"email\":0}").0, 200);
    let answer = client.say("MAIL FROM:<a@test>");
    assert_eq!(answer.raw_lines(), ["550 5.7.1 Unauthenticated senders not allowed"]);
    assert_line(&line(&gateway, &format!("{session}.1")), "smtp", "joe", "550 5.7.1", "forbidden");
    assert_eq!(gateway.manage("remove", "username=joe").0, 200);
    let answer = client.answer();
    assert_eq!((answer.code, id_of(&answer)), (421, session.as_str()));
    assert_line(&line(&gateway, &session), "smtp", "joe", "421 4.7.0", "no longer valid");
}

// Case E6: and what a backend refuses has one, with the backend and its reply.
#[test]
fn of_backends_over_smtp() {
    let sink = Sink::start(Settings::scripted(|moment| match moment.command {
        command if command.starts_with("MAIL FROM:<bad") => say("552 5.3.4 Too long for us"),
        command if command.starts_with("RCPT TO:<bad") => say("550 5.1.1 There is no bad"),
        "message" => say("554 5.7.1 Spam\u{202e}"),
        _ => Act::Well,
    }));
    let gateway = Gateway::start(&smtp(&[sink.address], ""));
    gateway.account("email").credential(JOE, "email");
    let (mut client, session) = logged_in(gateway.address("smtp.listen"), JOE);
    client.send(b"MAIL FROM:<bad@test>\r\nRCPT TO:<b@test>\r\n");
    assert_eq!(
        (client.answer().raw_lines()[0].as_str(), client.answer().code),
        ("552 5.3.4 Too long for us", 503)
    );
    let refused = |number: u32, reason: &str| {
        let id = format!("\"request_id\":\"{session}.{number}\"");
        let line = gateway.log().wait_for(&[&id, reason, "\"target\":\"refusal\""]);
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let sender = refused(1, "backend refused the sender");
    assert_line(&sender, "smtp", "joe", "552 5.3.4", "backend refused the sender");
    assert_eq!(sender["upstream"], format!("smtp://{}", sink.address));
    client.begin();
    assert_eq!(client.say("RCPT TO:<bad@test>").raw_lines(), ["550 5.1.1 There is no bad"]);
    let recipient = refused(2, "backend refused a recipient");
    assert_line(&recipient, "smtp", "joe", "550 5.1.1", "backend refused a recipient");
    assert_eq!(recipient["detail"], "<bad@test>");
    assert_eq!(client.say("DATA").code, 354);
    assert_eq!(client.say(&format!("{CONTENT}.")).code, 554);
    let message = refused(2, "backend refused the message");
    assert_line(&message, "smtp", "joe", "554 5.7.1", "backend refused the message");
    // What a backend says can't act on the log.
    assert_eq!(message["reply"], "554 5.7.1 Spam\\u{202e}");

    let gateway = Gateway::start(&smtp(&[nobody()], ""));
    gateway.account("email").credential(JOE, "email");
    let (mut client, session) = logged_in(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.say("MAIL FROM:<a@test>").code, 250);
    let answer = client.say("RCPT TO:<b@test>");
    assert_eq!(id_of(&answer), format!("{session}.1"));
    assert_line(&line(&gateway, id_of(&answer)), "smtp", "joe", "451 4.4.1", "no backend for a message");
}

// Case E6: connections that are refused, limits of a session, and a stop.
#[test]
fn of_connections_over_smtp() {
    let sink = Sink::good();
    let authority = Authority::new();
    let keys = "require_tls = false\nmax_errors = 2\nmax_connections_per_source = 2\nproxy_protocol = true\n";
    let server = "[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.9/32\"]\n";
    let upstreams = [format!("smtp://{}", sink.address)];
    let mut gateway = secured(&authority, &upstreams, keys, server);
    let address = gateway.address("smtp.listen");
    let (mut client, session) = greeted(address);
    client.send(b"NONSENSE\r\nNONSENSE\r\n");
    client.answer();
    client.answer();
    let answer = client.answer();
    assert_eq!((answer.code, id_of(&answer)), (421, session.as_str()));
    let word = format!("\"request_id\":\"{session}\"");
    gateway.log().wait_for(&[&word, "\"Command not recognized\"", "\"times\":2"]);
    gateway.log().wait_for(&[&word, "421 4.7.0", "Too many errors"]);
    assert!(client.is_closed());

    // TLS that fails: from the first byte, and behind STARTTLS.
    let (mut client, session) = greeted(address);
    assert_eq!(client.say("STARTTLS").code, 220);
    client.send(b"This is no TLS at all, and long enough to be seen as such.\r\n");
    gateway.log().wait_for(&[&format!("\"request_id\":\"{session}\""), "TLS handshake failed", "\"detail\""]);
    drop(client);
    let implicit = gateway.address("smtp.tls_listen");
    TcpStream::connect(implicit).unwrap().write_all(b"EHLO client.test\r\n").unwrap();
    gateway.log().wait_for(&["TLS handshake failed", "\"listener\"", "\"127.0.0.1\"", "\"smtp\""]);

    // A proxy that says something else.
    let from = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    from.bind(&"127.0.0.9:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    from.connect(&address.into()).unwrap();
    TcpStream::from(from).write_all(b"EHLO client.test\r\n").unwrap();
    gateway.log().wait_for(&["no valid PROXY protocol header", "\"127.0.0.9\""]);

    wait_for_metric(&gateway, "gatepost_smtp_sessions", 0);
    let (mut one, session) = greeted(address);
    let _two = greeted(address);
    let mut refused = Client::connect(address);
    let answer = refused.answer();
    assert_eq!(answer.code, 421);
    let reason = "too many connections from this source";
    assert_line(&line(&gateway, id_of(&answer)), "smtp", "", "421 4.7.0", reason);

    signal(&gateway.child, "TERM");
    let answer = one.answer();
    assert_eq!((answer.code, id_of(&answer)), (421, session.as_str()));
    gateway.log().wait_for(&[&format!("\"request_id\":\"{session}\""), "421 4.3.2", "Service shutting down"]);
    let _ = gateway.child.wait();
}

// Case E6: each refusal over HTTP has a line, with the ID of the response.
#[test]
fn over_http() {
    let backend = Backend::hello();
    let keys = "max_form_body = \"1KiB\"\n";
    let text = open_api(backend.address, keys);
    let gateway = Gateway::start(&format!(
        "{text}[[api.route]]\npath = \"/gone/*\"\npermission = \"api\"\ngroup = \"gone\"\n\
         [[api.group]]\nname = \"gone\"\nupstreams = [\"http://{}\"]\n",
        nobody()
    ));
    gateway.account("api").credential(JOE, "api");
    let form = |path: &str, body: String| {
        request("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let malformed = get("/api/a.json").basic(JOE).header("Host", "another");
    let cross = request("POST", "/api/a.json").basic(JOE).header("Sec-Fetch-Site", "cross-site");
    let preflight = request("OPTIONS", "/api/a.json")
        .header("Origin", "https://else.test")
        .header("Access-Control-Request-Method", "GET");
    let large = form("/api/a.json", format!("x={}&api_user=joe&api_key=x", "x".repeat(5000)));
    let cases: Vec<(Request, &str, &str, &str)> = vec![
        (malformed, "400", "", "invalid request"),
        (get("/api/a.json?api_key=x").basic(JOE), "400", "", "invalid request"),
        (get("/api/a.json"), "401", "", "no credential"),
        (get("/api/a.json").basic("joe:wrong-passw0rd"), "401", "joe", "wrong"),
        (get("/api/a.json").basic("a\u{1b}b:wrong-passw0rd"), "401", "a\\u{1b}b", "unknown"),
        (get("/api/a.json").basic("jürgen:wrong-passw0rd"), "401", "jürgen", "unknown"),
        (preflight, "401", "", "preflight of an origin"),
        (get("/api/mail.send.json").basic(JOE), "403", "joe", "forbidden"),
        (cross, "403", "joe", "cross-site by Sec-Fetch-Site"),
        (get("/api/credentials/get.json").basic(JOE), "403", "joe", "not the account holder"),
        (get("/api/credentials/nosuch.json").basic(HOLDER), "404", "", "not found"),
        (request("PUT", "/api/credentials/get.json").basic(HOLDER), "405", "", "method not allowed"),
        (form("/api/credentials/add.json", "x=1".into()).basic(HOLDER), "400", "acme", "invalid request"),
        (large, "413", "", "body too large"),
        (get("/open/a").header("X", &"x".repeat(70_000)), "431", "", "header too large"),
        (get("/gone/a").basic(JOE), "502", "joe", "no answer of a backend"),
    ];
    for (request, code, user, reason) in cases {
        let response = request.send(gateway.api());
        assert_eq!(response.status.to_string(), code, "{reason}: {}", response.text());
        let id = response.header("x-request-id").unwrap().to_owned();
        let line = line(&gateway, &id);
        assert_line(&line, "api", user, code, reason);
        let in_text = response.text().contains(&format!(" (id {id})"));
        let managing = response.text().starts_with("{\"error\":");
        assert_eq!(in_text, code != "401" && !managing, "{}", response.text());
    }
    // Case E7: a backend that can't be reached is logged with the request's ID.
    let response: Response = get("/gone/b").basic(JOE).send(gateway.api());
    let id = response.header("x-request-id").unwrap();
    gateway.log().wait_for(&["no connection to the backend", id, "WARN"]);
}

// Case E6: what is refused before a request could be read has a line as well.
#[test]
fn of_connections_over_http() {
    let backend = Backend::hello();
    let authority = Authority::new();
    let text = open_api(backend.address, "tls_listen = [\"127.0.0.1:0\"]\n");
    let directory = arranged(&authority, &["smtp://127.0.0.1:9".into()], "", &text);
    let server = "[server]\nthreads = 2\nmax_connections_per_source = 3\n";
    let path = directory.path().join("gatepost.toml");
    let config = std::fs::read_to_string(&path).unwrap().replace("[server]\nthreads = 2\n", server);
    std::fs::write(&path, config).unwrap();
    let gateway = Gateway::start_in(directory);

    let mut connection = Connection::open(gateway.api());
    connection.write(b"GET / nonsense\r\n\r\n");
    let response = connection.read_response();
    let id = response.header("x-request-id").unwrap().to_owned();
    assert_line(&line(&gateway, &id), "api", "", "400", "invalid request");
    drop(connection);

    let tls = gateway.address("api.tls_listen");
    let mut stream = TcpStream::connect(tls).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    gateway.log().wait_for(&[
        "TLS handshake failed",
        "\"api\"",
        &format!("\"listener\":\"{tls}\""),
        "\"detail\"",
    ]);
    // A client that does not trust the certificate says so.
    let stranger = Authority::new();
    let config = stranger.client(&[]);
    let name = rustls::pki_types::ServerName::try_from("gatepost.test").unwrap();
    let client = rustls::ClientConnection::new(config, name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(tls).unwrap());
    assert!(stream.write_all(b"x").is_err());
    gateway.log().wait_for(&["TLS handshake failed", "\"detail\":\"received fatal alert: "]);
    drop(stream);

    // A client that says nothing is refused nothing.
    let lines = || gateway.log().text().matches("TLS handshake").count();
    let before = lines();
    let open = "gatepost_connections{entry=\"api\"}";
    wait_for_metric(&gateway, open, 0);
    for _ in 0..3 {
        let silent = TcpStream::connect(tls).unwrap();
        wait_for_metric(&gateway, open, 1);
        drop(silent);
        // A line would have been written before.
        wait_for_metric(&gateway, open, 0);
    }
    assert_eq!(lines(), before, "{}", gateway.log().text());
    let open: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(gateway.api()).unwrap()).collect();
    gateway.log().wait_for(&["too many connections from this source", "\"api\"", "\"listener\"", "INFO"]);
    drop(open);
}

// Case E6: one source can't flood the log, nor hide what is refused to others.
#[test]
fn a_flood_of_one_source_leaves_room_for_others() {
    let backend = Backend::hello();
    let text = format!("{}[ops]\nlisten = \"127.0.0.1:0\"\n", open_api(backend.address, ""));
    let gateway = Gateway::start(&text);
    let ask = |connection: &mut Connection| {
        let response = connection.exchange(get("/api/a.json?api_key=x"));
        assert_eq!(response.status, 400);
        response.header("x-request-id").unwrap().to_owned()
    };
    let mut flood = Connection::open(gateway.api());
    let suppressed = || metric(&gateway, "gatepost_refusal_lines_suppressed_total");
    for _ in 0..300 {
        ask(&mut flood);
    }
    let left_out = suppressed();
    assert!(left_out >= 200, "{left_out}");
    let other: IpAddr = "127.0.0.2".parse().unwrap();
    let id = ask(&mut Connection::open_from(other, gateway.api()));
    assert_eq!(line(&gateway, &id)["source"], "127.0.0.2");
    // The next line of the flood's source tells how many were left out.
    let began = std::time::Instant::now();
    while !gateway.log().text().contains("\"suppressed\":") {
        ask(&mut flood);
        assert!(began.elapsed() < crate::common::PATIENCE, "it is never told");
    }
    let text = gateway.log().text();
    let refused = text.lines().filter(|line| line.contains("\"target\":\"refusal\"")).count() as u64;
    let asked = refused + suppressed();
    assert!(refused < 100 && asked > 300, "{refused} of {asked}");
}

// Case E7: access lines have source, user and backend, and those of mail have sender, recipients, size and reply.
#[test]
fn access_lines_say_who_and_where() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let text = open_api(backend.address, "") + &smtp(&[sink.address], "");
    let gateway = Gateway::start(&text);
    gateway.account("email,api").credential(JOE, "email,api");
    let response = get("/api/a.json").basic(JOE).send(gateway.api());
    let id = format!("\"request_id\":\"{}\"", response.header("x-request-id").unwrap());
    let line: Value = serde_json::from_str(&gateway.log().wait_for(&["\"target\":\"access\"", &id])).unwrap();
    let upstream = format!("http://{}", backend.address);
    for (field, value) in
        [("source", "127.0.0.1"), ("user", "joe"), ("upstream", &upstream), ("path", "/api/a.json")]
    {
        assert_eq!(line[field], value, "{line}");
    }

    let (mut client, session) = logged_in(gateway.address("smtp.listen"), JOE);
    assert_eq!(client.say("MAIL FROM:<a@test> SIZE=100").code, 250);
    for recipient in ["b@test", "c@test", "\"d\\\"\"@test", "e@test"] {
        assert_eq!(client.say(&format!("RCPT TO:<{recipient}>")).code, 250);
    }
    assert_eq!(client.say("DATA").code, 354);
    assert_eq!(client.say(&format!("{CONTENT}.")).code, 250);
    let id = format!("{session}.1");
    let words =
        ["\"target\":\"access\"", &format!("\"request_id\":\"{id}\""), "backend accepted the message"];
    let line: Value = serde_json::from_str(&gateway.log().wait_for(&words)).unwrap();
    let upstream = format!("smtp://{}", sink.address);
    for (field, value) in [
        ("entry", "smtp"),
        ("source", "127.0.0.1"),
        ("user", "joe"),
        ("sender", "<a@test>"),
        ("first_recipients", "<b@test> <c@test> <\"d\\\"\"@test>"),
        ("upstream", &upstream),
        ("outcome", "accepted"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["recipients"], 4);
    assert!(line["size"].as_u64().unwrap() >= CONTENT.len() as u64 && line["ms"].is_f64(), "{line}");
    assert!(line["reply"].as_str().unwrap().starts_with("250 "), "{line}");
    // The same ID is in the message.
    let message = String::from_utf8(sink.messages().remove(0).content).unwrap();
    assert!(message.contains(&format!(" id {id};")), "{message}");
}
