//! Apache with virtual hosts, on a port of its own and with nothing of the system's configuration.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::tls::Authority;
use super::{PATIENCE, nobody};

/// The site that Apache chooses for a name that none has.
pub const FIRST_SITE: &str = "first.test";
/// The other site. Each has its name as its page, and the fields `X-Host` and `X-Forwarded` with what it was told.
pub const OTHER_SITE: &str = "shop.test";

/// A running Apache; ends with the test.
pub struct Apache {
    pub address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Apache {
    /// Starts one, with TLS if there is an authority, which issues the certificates of both sites.
    pub fn start(authority: Option<&Authority>) -> Apache {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        let address = nobody();
        let mut config = format!(
            "ServerRoot {path}\nPidFile {path}/pid\nErrorLog {path}/error.log\nServerName {FIRST_SITE}\nListen {address}\n\
             Mutex file:{path}\n",
            path = path.display()
        );
        for module in ["mpm_event", "authz_core", "headers", "dir", "ssl"] {
            config += &format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
        }
        // Started by root, it becomes nobody.
        config += "User #65534\nGroup #65534\nStartServers 1\nDirectoryIndex index.html\n\
                   Header always set X-Host \"expr=%{HTTP_HOST}\"\n\
                   Header always set X-Forwarded \"expr=%{HTTP:X-Forwarded-Host}\"\n";
        for site in [FIRST_SITE, OTHER_SITE] {
            config += &site_of(path, address, site, authority);
        }
        // Only this site is well.
        std::fs::write(path.join(OTHER_SITE).join("healthz"), "well").unwrap();
        std::fs::write(path.join("httpd.conf"), config).unwrap();
        let mut child = Command::new("/usr/sbin/apache2")
            .arg("-X")
            .arg("-f")
            .arg(path.join("httpd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("apache2: {error}; `make test` installs it"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().unwrap();
            let log = std::fs::read_to_string(path.join("error.log"));
            assert!(ended.is_none() && Instant::now() < deadline, "apache2: {ended:?}: {log:?}");
            std::thread::yield_now();
        }
        Apache { address, child, _directory: directory }
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn site_of(path: &Path, address: SocketAddr, site: &str, authority: Option<&Authority>) -> String {
    let root = path.join(site);
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("index.html"), site).unwrap();
    let tls = authority.map_or(String::new(), |authority| {
        let keys = path.join(format!("{site}.keys"));
        std::fs::create_dir(&keys).unwrap();
        authority.issue(site).write(&keys);
        // Where the sites' settings for TLS differ, Apache answers 421 to a name that isn't that of the handshake.
        let protocol = if site == FIRST_SITE { "-all +TLSv1.2" } else { "-all +TLSv1.2 +TLSv1.3" };
        let keys = keys.display();
        format!(
            "SSLEngine on\nSSLCertificateFile {keys}/cert.pem\nSSLCertificateKeyFile {keys}/key.pem\nSSLProtocol {protocol}\n"
        )
    });
    let root = root.display();
    format!("<VirtualHost {address}>\nServerName {site}\nDocumentRoot {root}\n{tls}</VirtualHost>\n")
}
