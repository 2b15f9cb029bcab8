//! The addresses at which credentials are used, as the console tells them.

use std::net::SocketAddr;

use crate::config::{Config, SmtpListener, SmtpListenerTls};
use crate::domain::{Permission, Permissions};
use crate::edge::http::pages::views::ServerAddress;

/// The addresses of the entries that take credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Mail submission.
    pub smtp: Option<SmtpEndpoint>,
    /// The API.
    pub api: Option<HttpEndpoint>,
    /// The dashboard.
    pub web: Option<HttpEndpoint>,
}

/// The address of an HTTP entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// The host name, or the address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// True for HTTPS.
    pub is_encrypted: bool,
}

/// The address of mail submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpEndpoint {
    /// The host name, or the address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The encryption.
    pub tls: SmtpEndpointTls,
}

/// The encryption of mail submission, as clients name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpEndpointTls {
    /// STARTTLS.
    StartTls,
    /// From the first byte.
    Implicit,
    /// None.
    None,
}

impl SmtpEndpointTls {
    /// The words on the page.
    pub const fn as_str(self) -> &'static str {
        match self {
            SmtpEndpointTls::StartTls => "STARTTLS",
            SmtpEndpointTls::Implicit => "TLS",
            SmtpEndpointTls::None => "unencrypted",
        }
    }
}

impl HttpEndpoint {
    /// Returns the URL without a path.
    pub fn url(&self) -> String {
        let HttpEndpoint { host, port, is_encrypted } = self;
        match (is_encrypted, port) {
            (true, 443) => format!("https://{host}"),
            (false, 80) => format!("http://{host}"),
            (true, port) => format!("https://{host}:{port}"),
            (false, port) => format!("http://{host}:{port}"),
        }
    }

    fn shown(&self, entry: &str) -> ServerAddress {
        let scheme = if self.is_encrypted { "HTTPS" } else { "HTTP" };
        let port = format!("{}, {scheme}", self.port);
        ServerAddress { entry: entry.to_owned(), host: self.host.clone(), port }
    }
}

impl Endpoints {
    /// Returns the endpoints of a configuration. `addresses` are the key and the bound address of each listener, in the order of the
    /// configuration; `host` is the name of this machine for clients, if one is known.
    pub fn of(config: &Config, addresses: &[(&'static str, SocketAddr)], host: Option<&str>) -> Endpoints {
        let first = |key: &str| addresses.iter().find(|(of, _)| *of == key).map(|(_, address)| *address);
        let http = |clear, tls| {
            let (is_encrypted, address) = match (first(tls), first(clear)) {
                (Some(address), _) => (true, address),
                (None, Some(address)) => (false, address),
                (None, None) => return None,
            };
            Some(HttpEndpoint { host: host_of(address, host), port: address.port(), is_encrypted })
        };
        Endpoints {
            smtp: smtp(config, addresses, host),
            api: http("api.listen", "api.tls_listen"),
            web: http("web.listen", "web.tls_listen"),
        }
    }

    /// Returns the addresses of the entries that these effective permissions open, as a page shows them.
    pub fn servers(&self, permissions: Permissions) -> Vec<ServerAddress> {
        let smtp = self.smtp.as_ref().filter(|_| permissions.contains(Permission::Email));
        let api = self.api.as_ref().filter(|_| permissions.contains(Permission::Api));
        let web = self.web.as_ref().filter(|_| permissions.contains(Permission::Web));
        let smtp = smtp.map(|smtp| ServerAddress {
            entry: "Mail (SMTP)".to_owned(),
            host: smtp.host.clone(),
            port: format!("{}, {}", smtp.port, smtp.tls.as_str()),
        });
        let http = api.map(|api| api.shown("API")).into_iter().chain(web.map(|web| web.shown("Dashboard")));
        smtp.into_iter().chain(http).collect()
    }
}

/// The listener that most clients should use: with STARTTLS, else with TLS, else one for devices.
fn smtp(
    config: &Config,
    addresses: &[(&'static str, SocketAddr)],
    host: Option<&str>,
) -> Option<SmtpEndpoint> {
    let smtp = config.smtp.as_ref()?;
    let bound = addresses.iter().filter(|(key, _)| key.starts_with("smtp.")).map(|(_, address)| *address);
    let tls = |listener: &SmtpListener| match listener.tls {
        SmtpListenerTls::Implicit => SmtpEndpointTls::Implicit,
        SmtpListenerTls::StartTls if config.tls.is_some() => SmtpEndpointTls::StartTls,
        SmtpListenerTls::StartTls | SmtpListenerTls::Never => SmtpEndpointTls::None,
    };
    let rank = |listener: &SmtpListener| {
        let is_of_devices = !listener.rules.networks.is_empty();
        let kind = match tls(listener) {
            SmtpEndpointTls::StartTls => 0,
            SmtpEndpointTls::Implicit => 1,
            SmtpEndpointTls::None => 2,
        };
        (is_of_devices, kind)
    };
    let (listener, address) = smtp.listeners.iter().zip(bound).min_by_key(|(listener, _)| rank(listener))?;
    let name = smtp.hostname.as_deref().or(host);
    Some(SmtpEndpoint { host: host_of(address, name), port: address.port(), tls: tls(listener) })
}

/// The host by which clients reach an address. Only this machine reaches a loopback address, whatever its name.
fn host_of(address: SocketAddr, name: Option<&str>) -> String {
    let ip = address.ip().to_canonical();
    match name {
        Some(name) if !ip.is_loopback() => name.to_owned(),
        _ if ip.is_ipv6() => format!("[{ip}]"),
        _ => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(text: &str, addresses: &[(&'static str, &str)], host: Option<&str>) -> Endpoints {
        let config = Config::parse(text, "test").unwrap();
        let addresses: Vec<_> = addresses.iter().map(|(key, at)| (*key, at.parse().unwrap())).collect();
        Endpoints::of(&config, &addresses, host)
    }

    const UPSTREAM: &str = "upstreams = [\"http://127.0.0.1:9\"]\n";

    #[test]
    fn the_urls_of_the_entries() {
        let text = format!("[store]\nurl = \"sqlite://x\"\n[api]\nlisten = [\"0.0.0.0:80\"]\n{UPSTREAM}");
        let url = |bound: &[_], host| endpoints(&text, bound, host).api.unwrap().url();
        let bound = [("api.listen", "0.0.0.0:8080")];
        assert_eq!(url(&bound, Some("gate.test")), "http://gate.test:8080");
        assert_eq!(url(&bound, None), "http://0.0.0.0:8080");
        let bound = [("api.listen", "127.0.0.1:80")];
        assert_eq!(url(&bound, Some("gate.test")), "http://127.0.0.1");
        let bound = [("api.listen", "0.0.0.0:80"), ("api.tls_listen", "[2001:db8::1]:443")];
        assert_eq!(url(&bound, None), "https://[2001:db8::1]");
        let found = endpoints(&text, &bound, None);
        assert_eq!(found.web, None);
        assert_eq!(found.servers(Permissions::ALL).len(), 1);
        assert!(found.servers(Permissions::only(Permission::Email)).is_empty());
    }

    #[test]
    fn mail_is_submitted_where_most_clients_can() {
        let tls = "[store]\nurl = \"sqlite://x\"\n[tls]\ncertificate = \"c\"\nprivate_key = \"k\"\n";
        let smtp = "[smtp]\nlisten = [\"0.0.0.0:587\"]\ntls_listen = [\"0.0.0.0:465\"]\n\
                    upstreams = [\"smtp://127.0.0.1:25\"]\n";
        let bound = [("smtp.listen", "0.0.0.0:587"), ("smtp.tls_listen", "0.0.0.0:465")];
        let found = endpoints(&format!("{tls}{smtp}"), &bound, Some("mail.test")).smtp.unwrap();
        let expected = SmtpEndpoint { host: "mail.test".into(), port: 587, tls: SmtpEndpointTls::StartTls };
        assert_eq!(found, expected);
    }
}
