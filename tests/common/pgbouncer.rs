//! pgbouncer, the usual pooler in front of PostgreSQL.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use super::postgres::{Afterwards, PostgresServer, directory_of_user, follow, give_to_user, unprivileged};
use super::{Log, nobody};

/// A running pgbouncer; ends with the test, or with the process of the tests.
pub struct PgBouncer {
    pub address: SocketAddr,
    child: Child,
    log: Arc<Log>,
    _afterwards: Afterwards,
}

impl PgBouncer {
    /// Starts one in front of all databases of a server. `mode` is `session`, `transaction` or `statement`; `settings` are
    /// further lines of its section `[pgbouncer]`.
    pub fn start(server: SocketAddr, mode: &str, settings: &str) -> PgBouncer {
        let (address, directory) = (nobody(), directory_of_user());
        let users = directory.join("users");
        let config = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 500\n\
             ignore_startup_parameters = extra_float_digits\n{settings}\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
            users.display(),
        );
        let file = directory.join("pgbouncer.ini");
        for (path, text) in [(&file, config.as_str()), (&users, "\"postgres\" \"\"\n")] {
            std::fs::write(path, text).unwrap();
            give_to_user(path, 0o600);
        }
        let mut command = unprivileged("/usr/sbin/pgbouncer");
        command.arg(file).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("pgbouncer: {error}; `make test` installs it"));
        let script = "kill -CONT \"$2\"; kill -QUIT \"$2\"; rm -rf \"$1\"";
        let afterwards = Afterwards::run(script, &[&directory, Path::new(&child.id().to_string())]);
        let log = Arc::default();
        assert!(follow(&mut child, &log, "process up"), "pgbouncer does not start:\n{}", log.text());
        PgBouncer { address, child, log, _afterwards: afterwards }
    }

    /// The URL of a database through the pooler.
    pub fn url(&self, server: &PostgresServer, database: &str) -> String {
        server.url(database).replace(&server.address().to_string(), &self.address.to_string())
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
