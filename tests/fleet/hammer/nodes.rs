//! Three real gateways on one real PostgreSQL, each behind networks of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::network::Network;
use crate::common::backend::Backend;
use crate::common::http::{self, Response};
use crate::common::postgres::PostgresServer;
use crate::common::{Gateway, api, binary, command, configured};

pub const NODES: usize = 3;
/// The password of every account holder.
pub const HOLDER_PASSWORD: &str = "holder-passw0rd";
/// The time for which a call is repeated before the hammer takes it for stuck.
const STUCK: Duration = Duration::from_secs(60);

/// A gateway that is perhaps being started again.
pub struct Node {
    gateway: RwLock<Gateway>,
    config: PathBuf,
    /// The networks of its pool and of its direct connection.
    pub pool: Arc<Network>,
    pub direct: Arc<Network>,
}

/// All of them.
pub struct Nodes {
    pub server: PostgresServer,
    pub database: String,
    pub nodes: Vec<Node>,
    backend: Backend,
}

impl Nodes {
    /// Starts them on an empty database of `server`. `pool` is where their pools connect to: the server, or a pooler.
    pub fn start(server: PostgresServer, pool: SocketAddr, keys: &str) -> Nodes {
        let database = "hammer".to_owned();
        server.psql("postgres", &format!("CREATE DATABASE {database}"));
        let backend = Backend::hello();
        let nodes = (0..NODES).map(|_| Node::start(&server, pool, &database, backend.address, keys));
        let nodes = nodes.collect();
        Nodes { server, database, nodes, backend }
    }

    /// Forgets the requests that the backend has received so far.
    pub fn forget_requests(&self) {
        self.backend.drain();
    }

    pub fn psql(&self, script: &str) -> Result<String, String> {
        self.server.try_psql(&self.database, script)
    }
}

impl Node {
    fn start(
        server: &PostgresServer,
        pool: SocketAddr,
        database: &str,
        backend: SocketAddr,
        keys: &str,
    ) -> Node {
        let (pool, direct) = (Network::to(pool), Network::to(server.address()));
        let directory = configured(&format!("[auth]\nbcrypt_cost = 4\nthrottle = false\n{}", api(backend)));
        let url = |network: &Network| {
            format!("postgres://postgres@{}/{database}?sslmode=disable", network.address())
        };
        let file = directory.path().join("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let sqlite = text.lines().find(|line| line.starts_with("url = ")).unwrap().to_owned();
        let urls = format!("url = \"{}\"\ndirect_url = \"{}\"\n{keys}", url(&pool), url(&direct));
        std::fs::write(&file, text.replacen(&sqlite, &urls, 1)).unwrap();
        let gateway = Gateway::start_by(directory, Command::new(binary()));
        let config = gateway.config();
        Node { gateway: RwLock::new(gateway), config, pool, direct }
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The address of its API; `None` while it is being started.
    pub fn address(&self) -> Option<SocketAddr> {
        self.gateway.try_read().ok().map(|gateway| gateway.api())
    }

    /// Kills it, and starts it again.
    pub fn kill(&self) {
        let mut gateway = self.gateway.write().unwrap();
        gateway.kill();
        gateway.restart();
    }

    pub fn signal(&self, name: &str) {
        self.gateway.read().unwrap().signal(name);
    }

    /// Calls the management API as an account holder. `None` if there was no whole answer in time.
    pub fn manage(&self, account: &str, action: &str, parameters: &str) -> Option<Response> {
        let request = http::request("POST", &format!("/api/credentials/{action}.json"))
            .basic(&format!("{account}:{HOLDER_PASSWORD}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("connection", "close")
            .body(parameters);
        super::checks::exchange(self.address()?, &request.bytes())
    }

    /// Runs a command with its configuration.
    pub fn command(&self, arguments: &[&str], input: &str) -> Output {
        command(&self.config, arguments, input)
    }
}

/// Repeats a call until it succeeds. Returns the number of attempts.
pub fn repeat(what: &str, mut call: impl FnMut() -> Result<(), String>) -> u32 {
    let began = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        match call() {
            Ok(()) => return attempts,
            Err(last) => {
                assert!(began.elapsed() < STUCK, "{what}: no success after {attempts} attempts: {last}")
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
