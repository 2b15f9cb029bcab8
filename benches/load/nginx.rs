//! nginx in three parts: the backend, a plain proxy, and a proxy with `auth_request`, the latter two with TLS as well.
//!
//! Each is one process without a master, so that its CPU time is all there is; files go to the scratch folder, so
//! that it runs as any user.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::certificate;
use super::proc::{Children, free_address, nginx};

/// What the backend answers with: 25 bytes.
const ANSWER: &str = "exactly 25 bytes of text.";

/// As good as endless, so that no connection is closed while it is measured.
const ENDLESS: &str = "100000000";

/// Starts the backend.
///
/// # Errors
/// Where nginx can't be started.
pub fn start_backend(scratch: &Path, children: &Children) -> Result<SocketAddr> {
    let address = free_address()?;
    let servers = format!(
        "server {{ listen {address}; location / {{ default_type text/plain; return 200 \"{ANSWER}\"; }} }}"
    );
    start("backend", scratch, children, address, &servers)?;
    Ok(address)
}

/// Addresses on which a proxy listens: without TLS, with TLS for HTTP/2 and HTTP/1.1, and for browsers.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// Without TLS.
    pub clear: SocketAddr,
    /// With TLS.
    pub tls: SocketAddr,
    /// For browsers with a session, without TLS. Only Gatepost listens there.
    pub web: SocketAddr,
}

impl Listen {
    /// The directives of a server that listens on both. The cipher is the one that the client prefers, as with Gatepost, and the
    /// certificate is the same.
    fn directives(&self, scratch: &Path) -> String {
        let Listen { clear, tls, .. } = self;
        let (certificate, key) = certificate::files(scratch);
        format!(
            "listen {clear};
            listen {tls} ssl http2;
            ssl_certificate {};
            ssl_certificate_key {};
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_session_tickets on;",
            certificate.display(),
            key.display()
        )
    }
}

/// Starts a proxy that asks nobody. Gives its process id.
///
/// # Errors
/// Where nginx can't be started.
pub fn start_plain(scratch: &Path, children: &Children, listen: &Listen, backend: SocketAddr) -> Result<u32> {
    let servers = format!(
        "{}
        server {{
            {}
            location / {{ {FORWARD} }}
        }}",
        upstream(backend),
        listen.directives(scratch)
    );
    start("plain", scratch, children, listen.clear, &servers)
}

/// Starts a proxy that asks for each request whether it may pass, and remembers the answer for each `Authorization`.
/// The one that is asked allows all, and is the same process. Gives its process id.
///
/// # Errors
/// Where nginx can't be started.
pub fn start_auth(scratch: &Path, children: &Children, listen: &Listen, backend: SocketAddr) -> Result<u32> {
    let asked = free_address()?;
    let cache = scratch.join("auth/cache");
    // Cached answers are files: without open_file_cache each is opened and closed again for each request, which costs
    // a quarter more.
    let servers = format!(
        r#"proxy_cache_path {cache} levels=1:2 keys_zone=decisions:10m max_size=64m inactive=1h;
        open_file_cache max=10000 inactive=1h;
        open_file_cache_valid 1h;
        {upstream}
        server {{
            listen {asked};
            location / {{ add_header X-Account acme; default_type text/plain; return 200 "ok"; }}
        }}
        server {{
            {listen}
            location / {{
                auth_request /decide;
                auth_request_set $account $upstream_http_x_account;
                proxy_set_header Authorization "";
                proxy_set_header X-Account $account;
                {FORWARD}
            }}
            location = /decide {{
                internal;
                proxy_pass http://{asked};
                proxy_pass_request_body off;
                proxy_set_header Content-Length "";
                proxy_cache decisions;
                proxy_cache_key $http_authorization;
                proxy_cache_valid 200 1h;
            }}
        }}"#,
        cache = cache.display(),
        listen = listen.directives(scratch),
        upstream = upstream(backend),
    );
    start("auth", scratch, children, listen.clear, &servers)
}

const FORWARD: &str =
    r#"proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://backend; access_log off;"#;

fn upstream(backend: SocketAddr) -> String {
    format!("upstream backend {{ server {backend}; keepalive 512; keepalive_requests {ENDLESS}; }}")
}

fn start(name: &str, scratch: &Path, children: &Children, address: SocketAddr, servers: &str) -> Result<u32> {
    let folder = scratch.join(name);
    std::fs::create_dir_all(&folder)?;
    let home = folder.display();
    let configuration = format!(
        "daemon off;
        master_process off;
        pid {home}/nginx.pid;
        error_log {home}/error.log warn;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            keepalive_requests {ENDLESS};
            keepalive_timeout 1h;
            client_body_buffer_size 128k;
            client_max_body_size 0;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            uwsgi_temp_path {home}/uwsgi;
            scgi_temp_path {home}/scgi;
            {servers}
        }}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(nginx());
    command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    children.serve(name, &mut command, address).context("is nginx installed? (apt-get install nginx-light)")
}
