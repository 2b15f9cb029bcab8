//! Gateways on either database, a backend for them, and what they are asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::http::{Connection, get, request};
use crate::common::postgres::PostgresDatabase;
use crate::common::{Gateway, HOLDER, PATIENCE, accounts, api, configured};

/// The password of all credentials.
pub const PASSWORD: &str = "passw0rd-1";

/// The cost of the hashes, which is no part of any figure.
pub const HASH_COST: u32 = 4;

/// A way to start gateways.
pub struct Starter {
    program: PathBuf,
    backend: SocketAddr,
}

impl Starter {
    /// Gateways of that program, all before one backend.
    pub fn new(program: PathBuf) -> Starter {
        Starter { program, backend: backend() }
    }

    /// Starts a gateway on SQLite.
    pub fn on_sqlite(&self) -> Gateway {
        let directory = self.configured();
        accounts::create_database(directory.path());
        Gateway::start_by(directory, Command::new(&self.program))
    }

    /// Starts a gateway on a database of PostgreSQL.
    pub fn on_postgres(&self, database: &PostgresDatabase<'_>) -> Gateway {
        let directory = self.configured();
        let file = directory.path().join("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let sqlite = format!("sqlite://{}/gatepost.db", directory.path().display());
        std::fs::write(file, text.replace(&sqlite, &database.url())).unwrap();
        Gateway::start_by(directory, Command::new(&self.program))
    }

    fn configured(&self) -> tempfile::TempDir {
        let directory = configured(&format!(
            "{}[ops]\nlisten = \"127.0.0.1:0\"\n[auth]\nbcrypt_cost = {HASH_COST}\nthrottle = false\n[server]\nthreads = 1\n",
            api(self.backend)
        ));
        let file = directory.path().join("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text.replace("level = \"debug\"", "level = \"info\"")).unwrap();
        directory
    }
}

/// A backend that answers by itself, with a thread for each connection; ends with the process.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(|| answer(stream));
        }
    });
    address
}

/// Answers GET requests that do not share a packet.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 8192];
    let mut filled = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += count;
        if !buffer[..filled].ends_with(b"\r\n\r\n") {
            continue;
        }
        filled = 0;
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").is_err() {
            return;
        }
    }
}

/// The holder of an account, over a connection that stays open.
pub struct Holder {
    connection: Connection,
    login: String,
}

impl Holder {
    /// The holder of the account that [`Gateway::account`] makes.
    pub fn at(gateway: &Gateway) -> Holder {
        Holder { connection: Connection::open(gateway.api()), login: HOLDER.to_owned() }
    }

    /// Calls the management API. Returns the time until the answer, which has to be a success.
    pub fn call(&mut self, action: &str, parameters: &str) -> Duration {
        let request = request("POST", &format!("/api/credentials/{action}.json"))
            .basic(&self.login)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(parameters);
        self.connection.reopen_if_closing();
        let began = Instant::now();
        let response = self.connection.exchange(request);
        let took = began.elapsed();
        assert_eq!(response.status, 200, "{action} {parameters}: {}", response.text());
        took
    }

    /// Adds a credential.
    pub fn add(&mut self, name: &str) -> Duration {
        self.call("add", &format!("username={name}&password={PASSWORD}"))
    }
}

/// Waits until a gateway makes decisions.
pub fn wait_until_ready(gateway: &Gateway) {
    let began = Instant::now();
    while get("/readyz").send(gateway.address("ops.listen")).status != 200 {
        assert!(began.elapsed() < PATIENCE, "it is never ready");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until revocations wait for those nodes only, and no longer for nodes of an era before.
pub fn wait_until_settled(database: &PostgresDatabase<'_>, nodes: usize) {
    database.wait_until(&format!("count(*) = {nodes} AND min(settled) = 1 FROM node"));
}
