//! nginx and HAProxy of Debian before backends of the tests, each a process with a directory and sockets of its own.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::PATIENCE;

/// A process of one of them; ends with the test.
pub struct Proxy {
    directory: tempfile::TempDir,
    child: Child,
}

impl Proxy {
    /// nginx with a socket for each backend.
    pub fn nginx(backends: &[SocketAddr]) -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().display().to_string();
        let servers: String = backends
            .iter()
            .enumerate()
            .map(|(number, backend)| {
                format!(
                    "server {{ listen unix:{dir}/{number}.sock; location / {{ proxy_pass http://{backend}; }} }}\n"
                )
            })
            .collect();
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .collect();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/log;\n\
             events {{ worker_connections 1000; }}\nhttp {{\naccess_log off;\n{folders}\
             client_header_timeout 400ms;\nclient_body_timeout 400ms;\nkeepalive_timeout 400ms;\nlingering_close off;\n\
             proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_set_header Host $host;\n{servers}}}\n"
        );
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-e").arg(directory.path().join("log")).args(["-p", &dir, "-c"]);
        Proxy::start("nginx", directory, &config, &mut command)
    }

    /// HAProxy with a socket for each backend.
    pub fn haproxy(backends: &[SocketAddr]) -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().display().to_string();
        let servers: String = backends
            .iter()
            .enumerate()
            .map(|(number, backend)| {
                format!("listen l{number}\n  bind unix@{dir}/{number}.sock\n  server s {backend}\n")
            })
            .collect();
        let config = format!(
            "global\n  maxconn 1000\n  nbthread 1\ndefaults\n  mode http\n  http-reuse never\n  timeout connect 10s\n  \
             timeout client 400ms\n  timeout server 1s\n  timeout http-request 400ms\n  timeout http-keep-alive 400ms\n{servers}"
        );
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]);
        Proxy::start("haproxy", directory, &config, &mut command)
    }

    fn start(name: &'static str, directory: tempfile::TempDir, config: &str, command: &mut Command) -> Proxy {
        let file = directory.path().join("config");
        std::fs::write(&file, config).unwrap();
        let child = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs it"));
        let proxy = Proxy { directory, child };
        let began = Instant::now();
        // Neither says when it is ready.
        while UnixStream::connect(proxy.socket(0)).is_err() {
            let log = std::fs::read_to_string(proxy.directory.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{name} doesn't listen: {log}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        proxy
    }

    /// The socket of the backend of that number.
    pub fn socket(&self, number: usize) -> PathBuf {
        let directory: &Path = self.directory.path();
        directory.join(format!("{number}.sock"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
