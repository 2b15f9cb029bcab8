//! The log: in what form, and what is in it where it is wanted.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, read_request};
use crate::common::http::{Connection, get, request};
use crate::common::mail::{ANN, CONTENT, Client, JOE, plain, smtp};
use crate::common::sink::{Act, Settings, Sink, say};
use crate::common::terminal::Terminal;
use crate::common::{Gateway, PATIENCE, configured, nobody, open_api, serve_until};
use serde_json::Value;

/// A gateway whose section `[log]` holds these keys as well, and has this format.
fn logging(config: &str, keys: &str, format: &str) -> tempfile::TempDir {
    let directory = configured(config);
    let path = directory.path().join("gatepost.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text =
        text.replace("level = \"debug\"\nformat = \"json\"", &format!("{keys}\nformat = \"{format}\""));
    std::fs::write(&path, text).unwrap();
    directory
}

#[test]
fn it_is_json_or_for_humans() {
    let backend = Backend::hello();
    for (format, is_json) in [("json", true), ("human", false), ("auto", true)] {
        let directory = logging(&open_api(backend.address, ""), "level = \"info\"", format);
        let (mut child, _lines, line) = serve_until(directory.path(), "listening");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), is_json, "{format}: {line}");
        assert!(line.contains("127.0.0.1:"), "{line}");
        assert!(!line.contains('\x1b'), "colours for a file: {line}");
    }
}

#[test]
fn on_a_terminal_it_is_for_humans() {
    let backend = Backend::hello();
    for (format, is_json) in [("auto", false), ("human", false), ("json", true)] {
        let directory = logging(&open_api(backend.address, ""), "level = \"info\"", format);
        let config = directory.path().join("gatepost.toml");
        let mut terminal = Terminal::run(&["serve", "--config", config.to_str().unwrap()]);
        let line = terminal.line_with("listening");
        assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), is_json, "{format}: {line}");
        assert_eq!(line.contains('\x1b'), !is_json, "colours are for people: {line}");
        assert!(line.contains("127.0.0.1:"), "{line}");
        // Ctrl-C.
        terminal.type_in("\x03");
        assert_eq!(terminal.end().0, Some(0), "{format}");
    }
}

#[test]
fn each_request_has_a_line_where_that_is_wanted() {
    let backend = Backend::hello();
    let config = open_api(backend.address, "");
    let gateway = Gateway::start_in(logging(&config, "level = \"info\"\naccess = true", "json"));
    let answer = get("/open/a?api_key=secret").send(gateway.api());
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = gateway.log().wait_for(&["\"target\":\"access\"", &id]);
    assert!(line.contains("\"path\":\"/open/a\"") && line.contains("\"status\":200"), "{line}");
    // A line has its bound, and no text of a client makes it longer.
    let method = "X".repeat(65_000);
    let answer = request(&method, "/open/a").send(gateway.api());
    let id = answer.header("x-request-id").unwrap();
    let line = gateway.log().wait_for(&["\"target\":\"access\"", id]);
    assert!(line.contains(&format!("\"method\":\"{}…\"", &method[..32])), "{line}");
}

#[test]
fn each_message_that_was_accepted_has_a_line_where_that_is_wanted() {
    let sink = Sink::start(Settings::scripted(|moment| match moment.command {
        "RCPT TO:<nobody@test>" => say("550 5.1.1 Nobody of that name"),
        _ => Act::Well,
    }));
    for (keys, wanted) in [("level = \"warn\"\naccess = true", 2), ("level = \"info\"", 0)] {
        // Where it listens isn't in this log.
        let address = nobody();
        let config = smtp(&[sink.address], &format!("listen = [\"{address}\"]"));
        let gateway = Gateway::start_in(logging(&config, keys, "json"));
        gateway.account("email").credential(JOE, "email").credential(ANN, "email");
        let began = Instant::now();
        while Client::try_connect(address).is_none() {
            assert!(began.elapsed() < PATIENCE, "nobody listens: {}", gateway.log().text());
        }
        let mut ann = Client::login(address, ANN);
        ann.begin();
        ann.send(format!("BDAT {} LAST\r\n{CONTENT}", CONTENT.len()).as_bytes());
        assert_eq!(ann.answer().code, 250);
        let mut joe = Client::login(address, JOE);
        assert_eq!(joe.submit("a@test", "nobody@test", CONTENT).code, 550);
        assert_eq!(joe.say("RSET").code, 250);
        assert_eq!(joe.submit("a@test", "b@test", CONTENT).code, 250);
        if wanted == 0 {
            // The last of its lines.
            assert_eq!(Client::hello(address).say(&plain("joe:passw0rd-of-jim")).code, 535);
            gateway.log().wait_for(&["\"audit\"", "\"wrong\""]);
        } else {
            for user in ["joe", "ann"] {
                let words = ["\"target\":\"access\"", "backend accepted the message", &format!("\"{user}\"")];
                let line: Value = serde_json::from_str(&gateway.log().wait_for(&words)).unwrap();
                assert_eq!(
                    (&line["user"], &line["reply"]),
                    (&user.into(), &"250 2.0.0 Kept".into()),
                    "{line}"
                );
                assert_eq!(line["upstream"], sink.url(), "{line}");
            }
        }
        let text = gateway.log().text();
        assert_eq!(text.matches("\"target\":\"access\"").count(), wanted, "{text}");
    }
}

// Case C4: a backend that pauses in a body, and one that breaks it off
/// The time in the access log ends with the answer, and a body that breaks off is logged, over both paths.
#[test]
fn the_access_log_tells_of_the_end_of_an_answer() {
    let backend = Backend::handling(|stream, received| {
        while let Some(request) = read_request(stream) {
            let target = request.target.clone();
            let _ = received.send(request);
            let stream = stream.get_mut();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            if target.starts_with("/open/broken") {
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
            let _ = stream.write_all(b"there");
        }
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for (path, body) in [("fast", ""), ("duplex", "x")] {
        let whole = get(&format!("/open/slow-{path}")).body(body).send(gateway.api());
        assert_eq!(whole.text(), "hellothere");
        let line = gateway.log().wait_for(&["\"target\":\"access\"", &format!("/open/slow-{path}\"")]);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["ms"].as_f64().unwrap() >= 300.0 && line["status"] == 200, "{line}");
        assert!(line.get("broken_off_by").is_none(), "{line}");

        let mut connection = Connection::open(gateway.api());
        connection.write(&get(&format!("/open/broken-{path}")).body(body).bytes());
        let raw = String::from_utf8(connection.read_to_end()).unwrap();
        assert!(raw.contains("\r\nContent-Length: 10\r\n") && raw.ends_with("\r\n\r\nhello"), "{raw}");
        let line = gateway.log().wait_for(&["\"target\":\"access\"", &format!("/open/broken-{path}\"")]);
        assert!(line.contains("\"broken_off_by\":\"backend\"") && line.contains("\"status\":200"), "{line}");
        let id = raw.split("x-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let upstream = format!("http://{}", backend.address);
        gateway.log().wait_for(&["the backend broke off its response", "\"level\":\"WARN\"", id, &upstream]);
    }
}

/// The time in the access log doesn't include what the client still sends after the end of its answer.
#[test]
fn the_access_log_ends_with_the_answer_where_the_client_still_sends() {
    const DAWDLES: Duration = Duration::from_secs(1);
    let backend = Backend::handling(|stream, received| {
        // Answers without a look at the body.
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n\r\n") && stream.read_until(b'\n', &mut header).is_ok_and(|n| n > 0) {}
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        let _ = (received, stream.get_mut().write_all(answer));
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for (path, status) in [("/open/early", 413), ("/v3/refused", 401)] {
        let mut connection = Connection::open(gateway.api());
        let began = Instant::now();
        let header = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
        connection.write(header.as_bytes());
        let answer = connection.read_raw().unwrap();
        assert!(String::from_utf8_lossy(&answer).starts_with(&format!("HTTP/1.1 {status} ")), "{path}");
        let answered = began.elapsed();
        std::thread::sleep(DAWDLES);
        drop(connection);
        let line = gateway.log().wait_for(&["\"target\":\"access\"", path]);
        let line: Value = serde_json::from_str(&line).unwrap();
        let most = (answered + DAWDLES / 2).as_secs_f64() * 1e3;
        assert!(line["ms"].as_f64().unwrap() < most && line["status"] == status, "{line} {most}");
    }
}

/// A client that goes away in the middle of an answer is no failure of the backend's.
#[test]
fn a_client_that_breaks_an_answer_off_is_logged_as_such() {
    let backend = Backend::handling(|stream, received| {
        while let Some(request) = read_request(stream) {
            let _ = received.send(request);
            let stream = stream.get_mut();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
    });
    let gateway = Gateway::start(&open_api(backend.address, ""));
    for (path, body) in [("fast", ""), ("duplex", "x")] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&get(&format!("/open/{path}")).body(body).bytes());
        connection.read_raw().unwrap();
        drop(connection);
        let line = gateway.log().wait_for(&["\"target\":\"access\"", &format!("/open/{path}\"")]);
        assert!(line.contains("\"broken_off_by\":\"client\"") && line.contains("\"status\":200"), "{line}");
    }
    assert!(!gateway.log().text().contains("broke off its response"), "{}", gateway.log().text());
}
