//! pgbouncer, the usual pooler in front of PostgreSQL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use super::postgres::{Afterwards, PostgresServer, directory_of_user, follow, give_to_user, unprivileged};
use super::psql::psql_at;
use super::{Log, nobody};

/// A running pgbouncer; ends with the test, or with the process of the tests.
pub struct PgBouncer {
    pub address: SocketAddr,
    child: Child,
    log: Arc<Log>,
    file: PathBuf,
    /// The file without its first section, which names the server.
    section: String,
    _afterwards: Afterwards,
}

impl PgBouncer {
    /// Starts one in front of all databases of a server. `mode` is `session`, `transaction` or `statement`; `settings` are
    /// further lines of its section `[pgbouncer]`.
    pub fn start(server: SocketAddr, mode: &str, settings: &str) -> PgBouncer {
        let (address, directory) = (nobody(), directory_of_user());
        let users = directory.join("users");
        let section = format!(
            "[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\nadmin_users = postgres\n\
             auth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 500\n\
             ignore_startup_parameters = extra_float_digits\n{settings}\n",
            address.ip(),
            address.port(),
            users.display(),
        );
        let file = directory.join("pgbouncer.ini");
        let config = databases(server) + &section;
        for (path, text) in [(&file, config.as_str()), (&users, "\"postgres\" \"\"\n")] {
            std::fs::write(path, text).unwrap();
            give_to_user(path, 0o600);
        }
        let mut command = unprivileged("/usr/sbin/pgbouncer");
        command.arg(&file).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("pgbouncer: {error}; `make test` installs it"));
        let script = "kill -CONT \"$2\"; kill -QUIT \"$2\"; rm -rf \"$1\"";
        let afterwards = Afterwards::run(script, &[&directory, Path::new(&child.id().to_string())]);
        let log = Arc::default();
        assert!(follow(&mut child, &log, "process up"), "pgbouncer does not start:\n{}", log.text());
        PgBouncer { address, child, log, file, section, _afterwards: afterwards }
    }

    /// The URL of a database through the pooler.
    pub fn url(&self, server: &PostgresServer, database: &str) -> String {
        server.url(database).replace(&server.address().to_string(), &self.address.to_string())
    }

    /// Serves all later transactions by another server. Its clients stay connected, and aren't told.
    pub fn lead_to(&self, server: SocketAddr) {
        std::fs::write(&self.file, databases(server) + &self.section).unwrap();
        let console = format!("postgres://postgres@{}/pgbouncer", self.address);
        psql_at(&console, "RELOAD;\nRECONNECT;\nWAIT_CLOSE;\n").unwrap();
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// The section of the file that leads all databases to a server.
fn databases(server: SocketAddr) -> String {
    format!("[databases]\n* = host={} port={}\n", server.ip(), server.port())
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
