//! A gateway with few file descriptors, and clients that take all that they get.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::backend::Backend;
use crate::common::http::{Connection, get};
use crate::common::mail::{metric, section, wait_for_metric};
use crate::common::sink::Sink;
use crate::common::{Gateway, HOLDER, PATIENCE, accounts, api, binary, configured};

const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";
const JOE: &str = "joe:passw0rd-of-joe";

/// A command that ends in the binary, which may have so many descriptors.
fn limited(count: usize) -> Command {
    with_limits(count, count)
}

/// The same with these limits, of which a process may raise the first to the second.
fn with_limits(soft: usize, hard: usize) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -Sn \"$1\" && ulimit -Hn \"$2\" && shift 2 && exec \"$@\"", "sh"])
        .args([soft.to_string(), hard.to_string()])
        .arg(binary());
    command
}

fn start(count: usize, rest: &str) -> Gateway {
    let directory = configured(rest);
    accounts::create_database(directory.path());
    Gateway::start_by(directory, limited(count))
}

/// Connections that stay open and say nothing, until so many in a row were closed at once.
fn take_all(address: SocketAddr) -> Vec<TcpStream> {
    let (mut open, mut refused) = (Vec::new(), 0);
    while refused < 20 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                refused = 0;
                open.push(stream);
            }
            // A greeting of SMTP.
            Ok(1..)
                if stream.read(&mut [0; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock) =>
            {
                refused = 0;
                open.push(stream);
            }
            _ => refused += 1,
        }
        assert!(open.len() < 1000, "the limit is not in effect");
    }
    open
}

/// Case E3: clients that take every descriptor they get, below `max_connections`.
#[test]
fn operators_and_revocations_get_through_when_clients_have_all_descriptors() {
    let (backend, sink) = (Backend::hello(), Sink::good());
    let gateway = start(128, &format!("{OPS}{}{}", api(backend.address), section(&[sink.url()], "")));
    gateway.account("email,api,web").credential(JOE, "api");
    gateway.log().wait_for(&["WARN", "server.max_connections", "LimitNOFILE=40128", "ulimit -n 40128"]);
    let mut kept = Connection::open(gateway.api());
    assert_eq!(kept.exchange(get("/a").basic(JOE)).status, 200);

    let idle = take_all(gateway.api());
    let mail = take_all(gateway.address("smtp.listen"));
    assert!(idle.len() > 5, "{} and {}", idle.len(), mail.len());
    let ops = gateway.address("ops.listen");
    // Several operators at once, on connections that stay.
    let mut operators: Vec<_> = (0..4).map(|_| Connection::open(ops)).collect();
    for operator in &mut operators {
        assert_eq!(operator.exchange(get("/metrics")).status, 200);
        assert_eq!(operator.exchange(get("/readyz")).status, 200);
    }
    let (open, limit) =
        (metric(&gateway, "process_open_fds"), metric(&gateway, "gatepost_client_descriptor_limit"));
    // The operators above, the one that asks here, and a few of the gateway's own.
    assert!(open <= limit + 8, "{open} of {limit}");
    assert_eq!(metric(&gateway, "process_max_fds"), 128);
    assert!(limit < 112, "{limit}");
    let refused = "gatepost_connections_refused_total{entry=\"api\",limit=\"descriptors\"}";
    assert!(metric(&gateway, refused) >= 20);
    assert_eq!(metric(&gateway, "gatepost_accept_errors_total"), 0);
    gateway.log().wait_for(&["WARN", "the descriptors for clients are used up"]);

    // Whoever is connected is served, with a new connection to the backend.
    let mut others: Vec<_> = idle.iter().take(4).collect();
    for stream in &mut others {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&get("/a").basic(JOE).bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    let removed = gateway.command(&["credential", "remove", "joe", "--account", "acme"], "");
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    assert_eq!(kept.exchange(get("/a").basic(JOE)).status, 401);
    assert_eq!(kept.exchange(get("/a").basic(HOLDER)).status, 200);

    // They are free again as soon as the clients are gone.
    drop((idle, mail));
    let began = Instant::now();
    while TcpStream::connect(gateway.api()).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&get("/a").basic(HOLDER).bytes()).is_err()
            || stream.read(&mut [0; 1]).is_ok_and(|n| n == 0)
    }) {
        assert!(began.elapsed() < PATIENCE, "nobody is let in again");
    }
}

/// Another of the kind: all descriptors are gone before any client, so that nothing can be accepted.
#[test]
fn a_limit_that_is_far_too_low_is_told_and_nothing_spins() {
    let backend = Backend::hello();
    let gateway = start(64, &format!("{OPS}{}", api(backend.address)));
    gateway.log().wait_for(&["WARN", "server.max_connections", "64"]);
    let _idle = take_all(gateway.api());
    let ops = gateway.address("ops.listen");
    // More operators than there are descriptors: some wait, and the log stays short.
    let mut waiting: Vec<_> = (0..80).map(|_| TcpStream::connect(ops).unwrap()).collect();
    gateway.log().wait_for(&["accepting a connection failed"]);
    let cpu = || -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let before = cpu();
    // Long enough for a loop without a pause to show.
    assert!(hears_nothing(&mut waiting[79], Duration::from_secs(1)));
    assert!(cpu() - before < 0.5, "{} s of CPU time in a second", cpu() - before);
    waiting.clear();
    wait_for_metric(&gateway, "process_max_fds", 64);
    assert!(metric(&gateway, "gatepost_accept_errors_total") > 0);
    let lines = gateway.log().text().matches("accepting a connection failed").count();
    assert!(lines <= 2, "{lines} lines");
}

fn hears_nothing(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    stream.read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Case E3: told before the start as well, for the limit that `check` has.
#[test]
fn check_tells_a_low_limit() {
    let backend = Backend::hello();
    let directory = configured(&api(backend.address));
    let check = |mut command: Command| {
        let output =
            command.args(["check", "--config"]).arg(directory.path().join("gatepost.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check(limited(1024));
    assert!(text.contains("warning: server.max_connections") && text.contains("1024"), "{text}");
    // The soft limit of a shell is raised to the hard one at the start.
    let text = check(with_limits(256, 1024));
    assert!(!text.contains("256") && text.contains("1024"), "{text}");
    accounts::create_database(directory.path());
    let config = directory.path().join("gatepost.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + OPS).unwrap();
    let gateway = Gateway::start_by(directory, with_limits(256, 1024));
    assert_eq!(metric(&gateway, "process_max_fds"), 1024);
}
