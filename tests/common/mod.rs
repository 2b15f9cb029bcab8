//! Shared parts of the tests: the built binary as operators start it, a backend that records, and a client that says
//! exactly what it is told to.
#![allow(dead_code)]

pub mod accounts;
pub mod apache;
pub mod backend;
pub mod callers;
pub mod console;
pub mod curl;
pub mod database;
pub mod driver;
pub mod fake_clock;
pub mod forms;
pub mod http;
pub mod http2;
pub mod mail;
pub mod parsers;
pub mod pgbouncer;
pub mod postgres;
pub mod postgres_pair;
pub mod psql;
pub mod random;
pub mod relay;
pub mod servers;
pub mod sink;
pub mod terminal;
pub mod tls;
pub mod web;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The password of the account that [`Gateway::account`] makes.
pub const HOLDER: &str = "acme:holder-passw0rd";

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_gatepost")
}

/// Starts a gateway in that directory. Returns the process, the rest of its log, and the first line that contains `mark`.
pub fn serve_until(directory: &Path, mark: &str) -> (Child, Lines<BufReader<ChildStderr>>, String) {
    let mut child = Command::new(binary())
        .args(["serve", "--config"])
        .arg(directory.join("gatepost.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains(mark)).unwrap().unwrap();
    (child, lines, line)
}

/// A running gateway, with its files in a directory of its own; killed when dropped.
pub struct Gateway {
    pub directory: tempfile::TempDir,
    pub child: Child,
    addresses: HashMap<String, SocketAddr>,
    log: Arc<Log>,
}

/// The lines that a gateway logged so far, or another process wrote.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    pub fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        self.more.notify_all();
    }

    /// Waits for a line that holds all of `words`.
    pub fn wait_for(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = lines.join("\n");
                // Whoever drops the gateway reads the log once more.
                drop(lines);
                panic!("{words:?} was never logged; the log:\n{text}");
            }
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// All that was logged by a process that has ended.
    fn whole(&self) -> String {
        let reader = self.reader.lock().unwrap().take();
        reader.map(JoinHandle::join).transpose().unwrap();
        self.text()
    }
}

/// A directory with a configuration: SQLite beside it, quick hashes, a log that a program can read. `rest` is what
/// the test is about; `DIR` in it is the directory.
pub fn configured(rest: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), rest);
    directory
}

pub fn write_config(directory: &Path, rest: &str) {
    let dir = directory.display().to_string();
    let auth = if rest.contains("[auth]") { "" } else { "[auth]\nbcrypt_cost = 4\n" };
    let server = if rest.contains("[server]") { "" } else { "[server]\nthreads = 2\n" };
    let text = format!(
        "[store]\nurl = \"sqlite://{dir}/gatepost.db\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n{auth}{server}{}",
        rest.replace("DIR", &dir)
    );
    std::fs::write(directory.join("gatepost.toml"), text).unwrap();
}

/// Adds keys to the section `[store]` of a configuration.
pub fn configure_store(directory: &Path, keys: &str) {
    let config = directory.join("gatepost.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("[log]", &format!("{keys}\n[log]"), 1)).unwrap();
}

/// An `[api]` section for one backend.
pub fn api(upstream: SocketAddr) -> String {
    format!("[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{upstream}\"]\n")
}

/// The same with more keys, and a route `/open/*` that asks for no credential.
pub fn open_api(upstream: SocketAddr, keys: &str) -> String {
    format!("{}{keys}\n[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n", api(upstream))
}

impl Gateway {
    /// Starts a gateway with this configuration, and waits until it listens.
    pub fn start(rest: &str) -> Gateway {
        Gateway::start_in(configured(rest))
    }

    /// Starts one in a directory that has its configuration.
    pub fn start_in(directory: tempfile::TempDir) -> Gateway {
        accounts::create_database(directory.path());
        Gateway::start_by(directory, Command::new(binary()))
    }

    /// The same as another user of the system, which only root can do. The binary may lie where only root gets to: that user
    /// runs a copy of it, in the directory.
    pub fn start_as(directory: tempfile::TempDir, user: u32) -> Gateway {
        let copy = directory.path().join("gatepost");
        copy_binary(&copy);
        let mut command = Command::new(copy);
        command.uid(user);
        Gateway::start_by(directory, command)
    }

    /// The same with the files of `disk` in that directory on a disk of so many KiB, which only the gateway sees.
    pub fn start_on_small_disk(directory: tempfile::TempDir, disk: &Path, kib: u32) -> Gateway {
        let script = "cp -r \"$1\" \"$1.copy\" && mount -t tmpfs -o size=$2k none \"$1\" && cp -r \"$1.copy/.\" \"$1\" \
                      && cd \"$1\" && shift 2 && exec \"$@\"";
        let mut command = in_namespaces_of_its_own(script);
        command.arg(disk).arg(kib.to_string()).arg(binary());
        Gateway::start_by(directory, command)
    }

    /// The same with an `/etc/hosts` of its own, which the test may write again: the file `hosts` in that directory.
    pub fn start_with_hosts(directory: tempfile::TempDir, hosts: &str) -> Gateway {
        let file = directory.path().join("hosts");
        std::fs::write(&file, hosts).unwrap();
        let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let mut command = in_namespaces_of_its_own(script);
        command.arg(file).arg(binary());
        Gateway::start_by(directory, command)
    }

    /// Starts one by a command that ends in the binary.
    pub fn start_by(directory: tempfile::TempDir, command: Command) -> Gateway {
        let (child, addresses, log) = launch(&directory.path().join("gatepost.toml"), command);
        Gateway { directory, child, addresses, log }
    }

    /// Kills it, without a chance to do anything more, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, in its directory, after it was killed.
    pub fn restart(&mut self) {
        self.restart_with(Vec::new());
    }

    /// The same with these variables, such as those of a clock of its own.
    pub fn restart_with(&mut self, environment: Vec<(String, String)>) {
        let log = self.log.whole();
        assert!(!log.contains("panicked at"), "somebody met a panic:\n{log}");
        let mut command = Command::new(binary());
        command.envs(environment);
        (self.child, self.addresses, self.log) = launch(&self.config(), command);
    }

    /// The first address of a configuration key, such as `api.listen`.
    pub fn address(&self, key: &str) -> SocketAddr {
        self.addresses[key]
    }

    pub fn api(&self) -> SocketAddr {
        self.address("api.listen")
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("gatepost.toml")
    }

    /// Runs the command line on the same configuration.
    pub fn command(&self, arguments: &[&str], input: &str) -> Output {
        command(&self.config(), arguments, input)
    }

    /// Makes the account of [`HOLDER`], with these rights.
    pub fn account(&self, rights: &str) -> &Gateway {
        let (name, password) = HOLDER.split_once(':').unwrap();
        accounts::add_account(&self.config(), name, password, rights);
        self
    }

    /// Adds a credential with these permissions to that account; `login` is `name:password`.
    pub fn credential(&self, login: &str, permissions: &str) -> &Gateway {
        let (name, password) = login.split_once(':').unwrap();
        accounts::add_credential(&self.config(), "acme", name, password, permissions);
        self
    }

    /// Calls the management API as the account holder; the status and the body.
    pub fn manage(&self, action: &str, parameters: &str) -> (u16, String) {
        let response = http::request("POST", &format!("/api/credentials/{action}.json"))
            .basic(HOLDER)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(parameters)
            .send(self.api());
        (response.status, response.text())
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.memory("VmHWM")
    }

    /// The memory that it has now, in bytes.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS")
    }

    /// A line of proc(5)'s status on memory, in bytes.
    pub fn memory(&self, what: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Waits for the process to end, and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        let log = self.log.whole();
        assert!(std::thread::panicking() || !log.contains("panicked at"), "somebody met a panic:\n{log}");
    }
}

/// Sends the signal of that name to a process that wasn't waited for yet.
pub fn signal(child: &Child, name: &str) {
    let signal = match name {
        "HUP" => Signal::HUP,
        "CONT" => Signal::CONT,
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        other => panic!("no test sends {other}"),
    };
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for a process to end by itself. One that does not is killed, and the test fails.
pub fn end_of(child: &mut Child, what: &str) -> ExitStatus {
    let pid = Pid::from_child(child);
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let overdue = scope.spawn(move || {
            let overdue = end.recv_timeout(PATIENCE).is_err();
            if overdue {
                let _ = kill_process(pid, Signal::KILL);
            }
            overdue
        });
        let status = child.wait().unwrap();
        let _ = ended.send(());
        assert!(!overdue.join().unwrap(), "it never ends: {what}");
        status
    })
}

/// A command that runs `script` in a shell with file systems and a host name of its own, which it may change as root may.
/// Needs no root, but a system that lets its users have namespaces of their own, as Debian does.
pub fn in_namespaces_of_its_own(script: &str) -> Command {
    let isolated = ["--user", "--map-root-user", "--mount", "--uts"];
    let tried = Command::new("unshare").args(isolated).arg("true").output();
    assert!(
        tried.as_ref().is_ok_and(|output| output.status.success()),
        "this test needs user namespaces (`unshare --user`), and the system has none for this user: {tried:?}"
    );
    let mut command = Command::new("unshare");
    command.args(isolated).args(["sh", "-c", script, "sh"]);
    command
}

/// A loopback address of this caller's own, so that nobody takes a port there while nobody listens on it.
pub fn own_loopback() -> std::net::IpAddr {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let [.., high, low] = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    [127, 100 + high, (std::process::id() % 251) as u8, low].into()
}

/// The lines of an `/etc/hosts` by which a name has these addresses.
pub fn hosts(name: &str, addresses: &[std::net::IpAddr]) -> String {
    addresses.iter().map(|address| format!("{address} {name}\n")).collect()
}

/// An address that nobody listens on, and nobody but the caller will.
pub fn nobody() -> SocketAddr {
    TcpListener::bind((own_loopback(), 0)).unwrap().local_addr().unwrap()
}

/// Makes a copy of the binary that everybody may run. Another process writes it: a process that is started meanwhile by another test
/// would inherit the open file, and nobody may run a file that is open for writing.
pub fn copy_binary(to: &Path) {
    assert!(Command::new("install").args(["-m", "755", binary()]).arg(to).status().unwrap().success());
}

/// Has `command`, which ends in the binary, serve.
fn launch(config: &Path, mut command: Command) -> (Child, HashMap<String, SocketAddr>, Arc<Log>) {
    let expected = std::fs::read_to_string(config).unwrap().matches("\"127.0.0.1:0\"").count();
    let mut child = command
        .args(["serve", "--config"])
        .arg(config)
        // In huge pages, memory can't be told from the page that it begins.
        .env("MIMALLOC_ALLOW_THP", "0")
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let log = Arc::new(Log::default());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (listening, heard) = std::sync::mpsc::channel();
    let sink = log.clone();
    let reader = std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if line.contains("\"message\":\"listening\"") {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                let key = value["listener"].as_str().unwrap().to_owned();
                let _ = listening.send((key, value["address"].as_str().unwrap().parse().unwrap()));
            }
            sink.push(line);
        }
    });
    *log.reader.lock().unwrap() = Some(reader);
    let mut addresses = HashMap::new();
    for _ in 0..expected {
        match heard.recv_timeout(PATIENCE) {
            Ok((key, address)) => addresses.insert(key, address),
            Err(_) => panic!("the gateway doesn't listen:\n{}", log.text()),
        };
    }
    (child, addresses, log)
}

pub fn command(config: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary())
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The path of something that tests/clients/install installed.
pub fn installed(place: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(place);
    let missing = "isn't there: run tests/clients/install first, as `make test` does";
    assert!(path.exists(), "{} {missing}", path.display());
    path
}

/// Lets this process, and the gateways that it starts, have so many files and connections open at once.
pub fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    static CHANGING: Mutex<()> = Mutex::new(());
    let _changing = CHANGING.lock().unwrap();
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: limit.maximum }).unwrap();
    }
}
