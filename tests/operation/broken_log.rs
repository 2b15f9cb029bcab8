//! A log that is closed, stalled or full: nothing that serves waits for it, and what it lost is counted and told of.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::backend::Backend;
use crate::common::http::{Connection, get};
use crate::common::mail::{Client, JOE, smtp};
use crate::common::sink::Sink;
use crate::common::{
    HOLDER, Log, PATIENCE, binary, configured, end_of, in_namespaces_of_its_own, nobody, open_api,
};
use serde_json::Value;

/// More than a pipe and the buffer for the log hold.
const MORE: usize = 1_300 << 10;

/// A gateway with HTTP, mail and operators' listeners, whose log is the test's affair; killed when dropped.
struct Gateway {
    directory: tempfile::TempDir,
    child: Child,
    sink: Sink,
    api: SocketAddr,
    mail: SocketAddr,
    ops: SocketAddr,
    /// The number of calls of [`Gateway::serves`].
    rounds: usize,
}

impl Gateway {
    /// Starts it by a command that ends in the binary, and waits until it listens.
    fn start(command: Command, stderr: impl Into<Stdio>) -> Gateway {
        Gateway::start_in(configured(""), command, stderr)
    }

    fn start_in(directory: tempfile::TempDir, mut command: Command, stderr: impl Into<Stdio>) -> Gateway {
        let (backend, sink) = (Backend::hello(), Sink::good());
        // The log may not tell where it listens. Each port is on a loopback address of its own, so that it stays free.
        let [api, mail, ops] = [nobody(), nobody(), nobody()];
        let text = format!("{}{}", open_api(backend.address, ""), smtp(&[sink.address], ""));
        let text =
            text.replacen("127.0.0.1:0", &api.to_string(), 1).replacen("127.0.0.1:0", &mail.to_string(), 1);
        crate::common::write_config(directory.path(), &format!("[ops]\nlisten = \"{ops}\"\n{text}"));
        let config = directory.path().join("gatepost.toml");
        let child = command.args(["serve", "--config"]).arg(config).stdin(Stdio::null()).stderr(stderr);
        let child = child.spawn().unwrap();
        drop(command);
        let gateway = Gateway { directory, child, sink, api, mail, ops, rounds: 0 };
        until("it listens", || TcpStream::connect(gateway.ops).is_ok());
        let (name, password) = HOLDER.split_once(':').unwrap();
        gateway.command(&["account", "add", name, "--password-stdin"], password);
        let (name, password) = JOE.split_once(':').unwrap();
        gateway.command(&["credential", "add", name, "--account", "acme", "--password-stdin"], password);
        gateway
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("gatepost.toml")
    }

    fn command(&self, arguments: &[&str], input: &str) {
        let output = crate::common::command(&self.config(), arguments, input);
        assert!(output.status.success(), "{output:?}");
    }

    fn manage(&self, action: &str, parameters: &str) -> u16 {
        let request = crate::common::http::request("POST", &format!("/api/credentials/{action}.json"));
        let request = request.basic(HOLDER).header("content-type", "application/x-www-form-urlencoded");
        request.body(parameters).send(self.api).status
    }

    /// Sees that everything is answered as if the log were well: requests, changes, denials, messages, a reload.
    fn serves(&mut self) {
        self.rounds += 1;
        let round = self.rounds;
        for _ in 0..20 {
            assert_eq!(get("/api/a.json").basic(JOE).send(self.api).status, 200);
        }
        for nth in 0..5 {
            let name = format!("newcomer-{round}-{nth}");
            let login = format!("{name}:s3cret-enough");
            assert_eq!(self.manage("add", &format!("username={name}&password=s3cret-enough")), 200);
            assert_eq!(get("/api/a.json").basic(&login).send(self.api).status, 200);
            assert_eq!(self.manage("remove", &format!("username={name}")), 200);
            assert_eq!(get("/api/a.json").basic(&login).send(self.api).status, 401);
        }
        let mut client = Client::login(self.mail, JOE);
        for nth in 0..10 {
            let content = format!("Subject: message {round}-{nth}\r\n\r\nbody\r\n");
            let answer = client.submit("a@test", "b@test", &content);
            assert_eq!(answer.code, 250, "{answer:?}");
        }
        self.reloads();
        assert_eq!(get("/readyz").send(self.ops).status, 200);
        let messages = self.sink.wait_for_messages(10 * round);
        for nth in 0..10 {
            let subject = format!("Subject: message {round}-{nth}\r\n");
            let times = messages.iter().filter(|m| String::from_utf8_lossy(&m.content).contains(&subject));
            assert_eq!(times.count(), 1, "{subject}");
        }
    }

    /// Sees that SIGHUP takes a new configuration over.
    fn reloads(&self) {
        let opened = format!("opened-{}", self.rounds);
        let route = format!("[[api.route]]\npath = \"/{opened}/*\"\npermission = \"public\"\n");
        let mut file = File::options().append(true).open(self.config()).unwrap();
        // Behind `[smtp]`, which an array of tables of `[api]` may be.
        file.write_all(route.as_bytes()).unwrap();
        crate::common::signal(&self.child, "HUP");
        until("the route is there", || get(&format!("/{opened}/a")).send(self.api).status == 200);
    }

    /// Has at least so many bytes logged, by requests whose paths are as long as the log shows them.
    fn logs(&self, bytes: usize) {
        let path = format!("/open/{}", "x".repeat(250));
        let mut connection = Connection::open(self.api);
        for _ in 0..bytes / 400 {
            assert_eq!(connection.exchange(get(&path)).status, 200);
        }
    }

    /// The number of lost lines of a kind.
    fn lost(&self, kind: &str) -> u64 {
        let text = get("/metrics").send(self.ops).text();
        let name = format!("gatepost_log_lines_lost_total{{kind=\"{kind}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Stops it, and sees that the process ends by itself.
    fn stops(mut self) {
        crate::common::signal(&self.child, "TERM");
        let status = end_of(&mut self.child, "it was told to stop");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until that is so.
fn until(what: &str, met: impl Fn() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads a log from now on to its end.
fn read(pipe: PipeReader) -> (Arc<Log>, JoinHandle<()>) {
    let log = Arc::new(Log::default());
    let sink = log.clone();
    let reader = std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| sink.push(line));
    });
    (log, reader)
}

/// The lines of a log, each of which is whole.
fn parsed(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The number of lost lines that the log reports: audit lines, and others.
fn told(lines: &[Value]) -> (u64, u64) {
    let told = lines.iter().filter(|line| line["message"] == "log lines were lost");
    told.fold((0, 0), |(audit, other), line| {
        (audit + line["audit"].as_u64().unwrap(), other + line["other"].as_u64().unwrap())
    })
}

/// The subjects of changes that the audit trail has, in its order.
fn changed<'a>(lines: &'a [Value], action: &str) -> Vec<&'a str> {
    let of_action = lines.iter().filter(|line| line["target"] == "audit" && line["action"] == action);
    of_action.map(|line| line["subject"].as_str().unwrap()).collect()
}

// Case E1: the reader of standard error is gone (EPIPE).
#[test]
fn a_log_whose_reader_is_gone_costs_no_answer() {
    let (reader, writer) = pipe().unwrap();
    let mut gateway = Gateway::start(Command::new(binary()), writer);
    drop(reader);
    gateway.serves();
    until("a line is lost", || gateway.lost("audit") > 0 && gateway.lost("other") > 0);
    gateway.serves();
    gateway.stops();
}

#[test]
fn a_log_on_a_device_without_room_costs_no_answer() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut gateway = Gateway::start(Command::new(binary()), full);
    gateway.serves();
    until("a line is lost", || gateway.lost("other") > 0);
    gateway.logs(MORE);
    gateway.serves();
    gateway.stops();
}

/// In none of the files and sockets that have the number of standard error then.
#[test]
fn a_gateway_without_standard_error_logs_nowhere() {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&-", "sh", binary()]);
    let mut gateway = Gateway::start(command, Stdio::inherit());
    gateway.serves();
    let descriptor = format!("/proc/{}/fd/2", gateway.child.id());
    assert_eq!(std::fs::read_link(descriptor).unwrap(), PathBuf::from("/dev/null"));
    assert_eq!((gateway.lost("audit"), gateway.lost("other")), (0, 0));
    gateway.stops();
}

// Case E2: the reader of standard error stalls.
#[test]
fn a_log_that_nobody_reads_costs_no_answer_and_tells_later_what_it_lost() {
    let (reader, writer) = pipe().unwrap();
    let mut gateway = Gateway::start(Command::new(binary()), writer);
    gateway.logs(MORE);
    until("lines are lost", || gateway.lost("other") > 0);
    gateway.serves();
    // Only others were dropped: the audit trail waits, whole and in its order.
    assert_eq!(gateway.lost("audit"), 0);
    let (log, reading) = read(reader);
    log.wait_for(&["log lines were lost"]);
    let lost = gateway.lost("other");
    gateway.serves();
    gateway.stops();
    reading.join().unwrap();
    let lines = parsed(&log.text());
    assert_eq!(told(&lines), (0, lost));
    let names: Vec<String> =
        (1..=2).flat_map(|round| (0..5).map(move |nth| format!("newcomer-{round}-{nth}"))).collect();
    for action in ["credential.add", "credential.remove"] {
        let added: Vec<_> = changed(&lines, action).into_iter().filter(|name| *name != "joe").collect();
        assert_eq!(added, names, "{action}");
    }
    assert!(lines.iter().any(|line| line["message"] == "stopped"));
}

#[test]
fn a_gateway_whose_log_nobody_reads_stops_in_time() {
    let (_reader, writer) = pipe().unwrap();
    let gateway = Gateway::start(Command::new(binary()), writer);
    gateway.logs(MORE);
    gateway.stops();
}

#[test]
fn audit_lines_are_dropped_last() {
    let (reader, writer) = pipe().unwrap();
    let gateway = Gateway::start(Command::new(binary()), writer);
    gateway.logs(MORE);
    until("lines are lost", || gateway.lost("other") > 0);
    // More of them than there is room for, whatever else makes room: refused, and in the trail as well.
    let mut connection = Connection::open(gateway.api);
    let mut asked = 0;
    while gateway.lost("audit") == 0 {
        for _ in 0..250 {
            let request = crate::common::http::request("POST", "/api/credentials/remove.json").basic(HOLDER);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let response = connection.exchange(request.body(format!("username=nobody-{asked}")));
            assert_eq!(response.status, 404);
            asked += 1;
        }
        assert!(asked < 20_000, "the buffer has no bound");
    }
    let (log, reading) = read(reader);
    log.wait_for(&["log lines were lost"]);
    // What is logged while the reader catches up may be lost, too.
    until("all is told", || told(&parsed(&log.text())) == (gateway.lost("audit"), gateway.lost("other")));
    let lost = (gateway.lost("audit"), gateway.lost("other"));
    gateway.stops();
    reading.join().unwrap();
    let lines = parsed(&log.text());
    assert_eq!(told(&lines), lost);
    let refused = changed(&lines, "credential.remove");
    assert_eq!(refused.len() as u64 + lost.0, asked);
    // Those that were first, and not every other one.
    for (nth, subject) in refused.into_iter().enumerate() {
        assert_eq!(subject, format!("nobody-{nth}"));
    }
}

// Case E1: the disk of the log is full, and has room again.
#[test]
fn a_log_on_a_full_disk_costs_no_answer_and_tells_later_what_it_lost() {
    let directory = configured("");
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = "mount -t tmpfs -o size=4m none \"$1\" && cd \"$1\" && shift && exec \"$@\" 2>>log";
    let mut command = in_namespaces_of_its_own(script);
    command.arg(&disk).arg(binary());
    let mut gateway = Gateway::start_in(directory, command, Stdio::inherit());
    // The disk that only the gateway sees is its folder.
    let seen = PathBuf::from(format!("/proc/{}/cwd", gateway.child.id()));
    // All but 64 KiB of it.
    std::fs::write(seen.join("filler"), vec![b'x'; (4 << 20) - (64 << 10)]).unwrap();
    gateway.logs(128 << 10);
    until("lines are lost", || gateway.lost("other") > 0);
    gateway.serves();
    std::fs::remove_file(seen.join("filler")).unwrap();
    // Without the line that is being written.
    let text = || {
        let text = std::fs::read_to_string(seen.join("log")).unwrap();
        text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned()
    };
    until("it is told", || text().contains("log lines were lost"));
    gateway.serves();
    until("all is written", || changed(&parsed(&text()), "credential.remove").len() == 10);
    let lines = parsed(&text());
    assert_eq!(told(&lines), (gateway.lost("audit"), gateway.lost("other")));
    assert_eq!(gateway.lost("audit"), 0, "those that found no room are written later");
    gateway.stops();
}
