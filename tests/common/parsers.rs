//! Parsers of forms that backends use, each asked for what it reads as `api_user` and `api_key`: those of Node.js, Rack, Go, Python, Perl
//! and PHP (tests/clients/read.*, tests/clients/fields.php). Each program runs once for all requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::http::{Connection, request};
use super::installed;
use super::servers::{Server, script};

/// A request as a parser sees it.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    pub query: Vec<u8>,
    /// The Content-Type.
    pub kind: Option<String>,
    pub body: Vec<u8>,
    /// POST, unless it is named.
    pub method: Option<&'static str>,
}

/// What each parser reads, by its name: fields as `api_user=VALUE`, the value as the parser's language writes it.
pub type Readings = BTreeMap<String, Vec<String>>;

/// Passes the requests to all parsers, and returns the readings of each.
pub fn read_all(submissions: &[Submission]) -> Vec<Readings> {
    let node = || {
        let mut command = Command::new("node");
        command.arg(script("read.js")).arg(installed("express/node_modules"));
        command
    };
    let program = |name: &str, file: &str| {
        let mut command = Command::new(name);
        command.arg(script(file));
        command
    };
    let python = installed("parsers/bin/python").display().to_string();
    let commands = [
        node(),
        program("ruby", "read.rb"),
        program(&python, "read.py"),
        program("perl", "read.pl"),
        Command::new(installed("go/read")),
    ];
    let lines: Vec<u8> = submissions.iter().flat_map(line).collect();
    let mut all = vec![Readings::new(); submissions.len()];
    std::thread::scope(|scope| {
        let lines = &lines;
        let php = scope.spawn(|| php(submissions));
        let programs = commands.map(|command| scope.spawn(move || run(command, lines)));
        let read = programs.into_iter().map(|program| program.join().expect("a parser"));
        for readings in read.chain([php.join().expect("PHP")]) {
            assert_eq!(readings.len(), submissions.len());
            all.iter_mut().zip(readings).for_each(|(all, more)| all.extend(more));
        }
    });
    all
}

fn line(submission: &Submission) -> Vec<u8> {
    let line = serde_json::json!({
        "query": BASE64_STANDARD.encode(&submission.query),
        "type": submission.kind,
        "body": BASE64_STANDARD.encode(&submission.body),
        "method": submission.method.unwrap_or("POST"),
    });
    format!("{line}\n").into_bytes()
}

fn run(mut command: Command, lines: &[u8]) -> Vec<Readings> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let readings = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(lines));
        let readings = stdout.lines().map(|line| {
            let line = line.unwrap();
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command:?}: {line}: {error}"))
        });
        readings.collect()
    });
    assert!(child.wait().unwrap().success(), "{command:?}");
    readings
}

/// PHP reads multipart bodies only from its own server.
fn php(submissions: &[Submission]) -> Vec<Readings> {
    let server = Server::start(Command::new("php").args(["-S", "127.0.0.1:0"]).arg(script("fields.php")), 1);
    let address = SocketAddr::from(([127, 0, 0, 1], server.ports[0]));
    let mut connection = Connection::open(address);
    let mut read = |submission: &Submission| {
        let query = String::from_utf8_lossy(&submission.query);
        // Its server takes no other bytes in a target.
        let is_target = query.bytes().all(|b| b.is_ascii_graphic());
        let target = if is_target { format!("/?{query}") } else { "/".into() };
        let mut request = request(submission.method.unwrap_or("POST"), &target).body(submission.body.clone());
        if let Some(kind) = &submission.kind {
            request = request.header("Content-Type", kind);
        }
        let values = connection.exchange(request).json();
        connection.reopen_if_closing();
        let mut readings = Readings::new();
        let names = ["api_user", "api_key"].iter().cycle();
        for (at, (name, value)) in names.zip(values.as_array().expect("a list")).enumerate() {
            if !value.is_null() {
                let parser = if at < 2 { "php query" } else { "php" };
                readings.entry(parser.into()).or_default().push(format!("{name}={value}"));
            }
        }
        readings
    };
    submissions.iter().map(&mut read).collect()
}
