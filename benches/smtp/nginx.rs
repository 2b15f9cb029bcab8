//! nginx's mail proxy, with an `auth_http` that the same process answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::certificate::Certificate;
use super::proc::{Children, free_address, nginx};

/// Starts it in front of `sink`. Gives its process id.
///
/// # Errors
/// Where nginx can't be started, or has no mail module.
pub fn start(
    scratch: &Path,
    children: &Children,
    address: SocketAddr,
    sink: SocketAddr,
    certificate: &Certificate,
) -> Result<u32> {
    let folder = scratch.join("nginx");
    std::fs::create_dir_all(&folder)?;
    let (home, asked) = (folder.display(), free_address()?);
    // One process without a master, so that its CPU time is all there is. It says what the sink can, as it has to be told.
    let configuration = format!(
        r#"{module}
        daemon off;
        master_process off;
        pid {home}/nginx.pid;
        error_log {home}/error.log warn;
        events {{ worker_connections 4096; }}
        mail {{
            server_name gate.test;
            auth_http http://{asked}/;
            smtp_auth plain login;
            smtp_capabilities PIPELINING 8BITMIME ENHANCEDSTATUSCODES DSN "SIZE 31457280";
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            starttls on;
            server {{ listen {address}; protocol smtp; xclient off; }}
        }}
        http {{
            access_log off;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            uwsgi_temp_path {home}/uwsgi;
            scgi_temp_path {home}/scgi;
            server {{
                listen {asked};
                location / {{
                    add_header Auth-Status OK;
                    add_header Auth-Server {ip};
                    add_header Auth-Port {port};
                    return 204;
                }}
            }}
        }}
        "#,
        module = module().map(|path| format!("load_module {};", path.display())).unwrap_or_default(),
        certificate = certificate.chain.display(),
        key = certificate.key.display(),
        ip = sink.ip(),
        port = sink.port(),
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new(nginx());
    command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    children
        .serve("nginx", &mut command, address)
        .context("is nginx installed, with its mail module? (apt-get install nginx-light libnginx-mod-mail)")
}

/// Where Debian puts it; built in elsewhere.
fn module() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/lib/nginx/modules/ngx_mail_module.so");
    usual.exists().then_some(usual)
}
