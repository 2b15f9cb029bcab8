//! A real PostgreSQL in a directory of its own, as the distribution packages it. It commits to the disk, as in production.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::psql::{Session, psql_at};
use super::{Log, PATIENCE, nobody};

/// The user that a server runs as if the tests run as root, which PostgreSQL refuses: nobody.
const USER: u32 = 65534;

/// The superuser of every server.
const SUPERUSER: &str = "postgres";

/// Small, and with little to write before a start. Nothing here makes a commit less durable.
const SETTINGS: [(&str, &str); 9] = [
    ("fsync", "on"),
    ("shared_buffers", "32MB"),
    ("max_connections", "200"),
    ("max_wal_size", "256MB"),
    ("wal_keep_size", "64MB"),
    ("hot_standby_feedback", "on"),
    ("lc_messages", "C"),
    ("log_line_prefix", "%m [%p] %d "),
    ("wal_receiver_status_interval", "1s"),
];

/// The program of that name that belongs to the newest PostgreSQL here.
pub fn program(name: &str) -> PathBuf {
    let versions = (15..30).rev().map(|version| format!("/usr/lib/postgresql/{version}/bin/{name}"));
    let found = versions.map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name} of PostgreSQL; `make test` installs it"))
}

/// A command that runs as an ordinary user, and not in the group that the terminal interrupts.
pub fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    if rustix::process::geteuid().is_root() {
        command.uid(USER).gid(USER);
    }
    command
}

/// A directory for that user. It is removed by whoever ends last.
pub fn directory_of_user() -> PathBuf {
    let directory = tempfile::Builder::new().prefix("gatepost-postgres-").tempdir().unwrap().keep();
    give_to_user(&directory, 0o700);
    directory
}

/// Makes a file or directory the server's own.
pub fn give_to_user(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
}

/// Runs a script of the shell once it is dropped, or once this process is gone in whatever way: killed, or by `exit` with statics
/// that nobody drops.
pub struct Afterwards {
    shell: Child,
    here: Option<ChildStdin>,
}

impl Afterwards {
    pub fn run(script: &str, arguments: &[&Path]) -> Afterwards {
        let mut shell = unprivileged("sh")
            .args(["-c", &format!("cat >/dev/null; {script}"), "sh"])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let here = shell.stdin.take();
        Afterwards { shell, here }
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        drop(self.here.take());
        let _ = self.shell.wait();
    }
}

/// Reads the standard error of a process until a line contains `mark`, and from there on in the background. False if it ends before.
pub fn follow(child: &mut Child, log: &Arc<Log>, mark: &'static str) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (marked, is_marked) = std::sync::mpsc::channel();
    let log = log.clone();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains(mark) {
                let _ = marked.send(());
            }
            log.push(line);
        }
    });
    is_marked.recv().is_ok()
}

/// The way in which a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Rolls back what is under way, and writes everything to its place.
    Fast,
    /// As after a loss of power: the next start recovers.
    Immediate,
    /// `kill -9` of the first process. The others notice.
    Kill,
}

/// A server; ends with the test, or with the process of the tests.
pub struct PostgresServer {
    address: SocketAddr,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    running: Mutex<Option<Child>>,
    log: Arc<Log>,
    _afterwards: Afterwards,
}

impl PostgresServer {
    /// The one server of this process, for tests that neither stop it nor change its settings.
    pub fn shared() -> &'static PostgresServer {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| PostgresServer::start(&[]))
    }

    /// Starts a server with these settings.
    pub fn start(settings: &[(&str, &str)]) -> PostgresServer {
        PostgresServer::start_with(settings, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_with(settings: &[(&str, &str)], environment: &[(String, String)]) -> PostgresServer {
        let server = PostgresServer::unmade(environment);
        let mut initdb = unprivileged(program("initdb"));
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-A",
            "trust",
            "-U",
        ]);
        expect_success(initdb.arg(SUPERUSER).arg("-D").arg(server.data()).current_dir("/"));
        server.configure(settings);
        server.start_again();
        server
    }

    /// Starts a standby of `primary`, which has that name in `synchronous_standby_names` and `pg_stat_replication`.
    pub fn standby_of(primary: &PostgresServer, name: &str, settings: &[(&str, &str)]) -> PostgresServer {
        let server = PostgresServer::unmade(&[]);
        let mut backup = unprivileged(program("pg_basebackup"));
        backup.args(["--no-sync", "--checkpoint=fast", "-X", "stream", "-D"]).arg(server.data());
        expect_success(backup.arg("-d").arg(primary.url("postgres")).current_dir("/"));
        let (host, port) = (primary.address.ip(), primary.address.port());
        let upstream = format!("host={host} port={port} user={SUPERUSER} application_name={name}");
        server.configure(&[&[("primary_conninfo", upstream.as_str())], settings].concat());
        std::fs::write(server.data().join("standby.signal"), "").unwrap();
        server.start_again();
        server
    }

    /// A server without files.
    fn unmade(environment: &[(String, String)]) -> PostgresServer {
        let directory = directory_of_user();
        // A stopped process takes no other signal than the one that lets it continue.
        let script = "kill -CONT \"$(head -n 1 \"$1/data/postmaster.pid\")\"; \
                      \"$2\" stop -s -m immediate -D \"$1/data\"; rm -rf \"$1\"";
        let afterwards = Afterwards::run(script, &[&directory, &program("pg_ctl")]);
        PostgresServer {
            address: nobody(),
            directory,
            environment: environment.to_vec(),
            running: Mutex::default(),
            log: Arc::default(),
            _afterwards: afterwards,
        }
    }

    /// Writes the settings for the next start, and lets everybody on this machine in.
    fn configure(&self, settings: &[(&str, &str)]) {
        let mut text = String::new();
        for (key, value) in SETTINGS.iter().chain(settings) {
            text += &format!("{key} = '{}'\n", value.replace('\'', "''"));
        }
        text += &format!("listen_addresses = '{}'\nport = {}\n", self.address.ip(), self.address.port());
        text += &format!("unix_socket_directories = '{}'\n", self.directory.display());
        let path = self.data().join("postgresql.conf");
        std::fs::write(&path, text).unwrap();
        self.allow("");
    }

    /// Puts lines before those of `pg_hba.conf` that let everybody on this machine in.
    pub fn allow(&self, lines: &str) {
        let all =
            "local all all trust\nhost all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 trust\n";
        std::fs::write(self.data().join("pg_hba.conf"), format!("{lines}\n{all}")).unwrap();
        if self.running.lock().unwrap().is_some() {
            self.psql("postgres", "SELECT pg_reload_conf()");
        }
    }

    /// Changes settings that need no restart.
    pub fn set(&self, settings: &[(&str, &str)]) {
        let mut text = String::new();
        for (key, value) in settings {
            text += &format!("ALTER SYSTEM SET {key} = '{}';\n", value.replace('\'', "''"));
        }
        self.psql("postgres", &format!("{text}SELECT pg_reload_conf();"));
    }

    /// Starts it after it was stopped, and waits until it answers.
    pub fn start_again(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs already");
        loop {
            let mut command = unprivileged(program("postgres"));
            command.envs(self.environment.iter().map(|(key, value)| (key, value)));
            command.arg("-D").arg(self.data()).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            if follow(&mut child, &self.log, "database system is ready to accept") {
                *running = Some(child);
                return;
            }
            child.wait().unwrap();
            // Others of a killed server may not be gone yet, and keep its memory.
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{}", self.log.text());
        }
    }

    /// Stops it, and waits until its first process is gone.
    pub fn stop(&self, how: Stop) {
        let mut child = self.running.lock().unwrap().take().expect("it does not run");
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
            Stop::Kill => Signal::KILL,
        };
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to one process of the server, such as a backend by its `pg_backend_pid()`.
    pub fn signal_backend(&self, pid: i32, signal: Signal) {
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Makes a standby a primary, and waits until it is one.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t");
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of the cluster.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}/{database}", self.address)
    }

    /// An empty database of the caller's own.
    pub fn database(&self) -> PostgresDatabase<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        PostgresDatabase { server: self, name }
    }

    /// Runs a script in a database. Returns the rows that it printed, their columns separated by `|`.
    pub fn psql(&self, database: &str, script: &str) -> String {
        self.try_psql(database, script)
            .unwrap_or_else(|error| panic!("psql: {error}\nof the script: {script}"))
    }

    /// The same. Fails with the texts of the first error.
    pub fn try_psql(&self, database: &str, script: &str) -> Result<String, String> {
        psql_at(&self.url(database), script)
    }

    /// Waits until a condition of SQL is true, as it stands behind SELECT.
    pub fn wait_until(&self, database: &str, condition: &str) {
        let (mut session, deadline) = (Session::open(&self.url(database)), Instant::now() + PATIENCE);
        while session.run(&format!("SELECT {condition};")) != "t" {
            assert!(Instant::now() < deadline, "it never comes true: {condition}");
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.lock().unwrap().take() {
            // A stopped process takes no other signal.
            let _ = kill_process(Pid::from_child(&child), Signal::CONT);
            let _ = kill_process(Pid::from_child(&child), Signal::QUIT);
            let _ = child.wait();
        }
    }
}

/// A database of one test; dropped with it.
pub struct PostgresDatabase<'server> {
    pub server: &'server PostgresServer,
    pub name: String,
}

impl PostgresDatabase<'_> {
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// See [`PostgresServer::psql`].
    pub fn psql(&self, script: &str) -> String {
        self.server.psql(&self.name, script)
    }

    /// See [`PostgresServer::try_psql`].
    pub fn try_psql(&self, script: &str) -> Result<String, String> {
        self.server.try_psql(&self.name, script)
    }

    /// See [`PostgresServer::wait_until`].
    pub fn wait_until(&self, condition: &str) {
        self.server.wait_until(&self.name, condition);
    }

    /// A session of psql that stays open.
    pub fn session(&self) -> Session {
        Session::open(&self.url())
    }
}

impl Drop for PostgresDatabase<'_> {
    fn drop(&mut self) {
        // A server that the test has stopped takes its databases with it, and so does one that waits for a standby.
        let patience = "SET statement_timeout = '20s'; SET synchronous_commit = local;";
        let drop = format!("{patience} DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = self.server.try_psql("postgres", &drop);
    }
}

fn expect_success(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}
