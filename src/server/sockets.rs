//! The sockets of all listeners of a configuration.

use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::domain::Entry;
use crate::edge::net::listener::{self, BindError};

/// The open sockets, from which nothing is accepted yet.
pub struct Sockets {
    /// Listeners of the HTTP entries, in the order of [`Config::http_entries`].
    pub http: Vec<HttpSockets>,
    /// The listeners of the SMTP entry, in the order of its listeners.
    pub mail: Vec<TcpListener>,
    /// The socket of the operators.
    pub ops: Option<TcpListener>,
    /// The key in the configuration and the address of each, with the port that was chosen for 0.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// The listeners of the addresses whose port was chosen for 0, so that nothing else tells it.
    pub chosen: Vec<SocketAddr>,
}

/// The sockets of one HTTP entry.
pub struct HttpSockets {
    /// Without TLS.
    pub clear: Vec<TcpListener>,
    /// With TLS.
    pub tls: Vec<TcpListener>,
}

impl Sockets {
    /// Opens all of them.
    ///
    /// # Errors
    /// The first socket that cannot be opened. None is open then.
    pub fn bind(config: &Config) -> Result<Sockets, BindError> {
        let (mut addresses, mut chosen) = (Vec::new(), Vec::new());
        let mut bind = |key, address: SocketAddr| {
            let listener = listener::bind(key, address)?;
            let bound = listener.local_addr().unwrap_or(address);
            addresses.push((key, bound));
            chosen.extend((address.port() == 0).then_some(bound));
            Ok::<_, BindError>(listener)
        };
        let mut http = Vec::new();
        for settings in config.http_entries() {
            let (clear_key, tls_key) = keys(settings.entry);
            let clear = settings.listen.iter().map(|a| bind(clear_key, *a)).collect::<Result<_, _>>()?;
            let tls = settings.tls_listen.iter().map(|a| bind(tls_key, *a)).collect::<Result<_, _>>()?;
            http.push(HttpSockets { clear, tls });
        }
        let mail = config.smtp.iter().flat_map(|smtp| &smtp.listeners);
        let mail = mail.map(|listener| bind(listener.key, listener.address)).collect::<Result<_, _>>()?;
        let ops = config.ops.as_ref().map(|ops| bind("ops.listen", ops.listen)).transpose()?;
        Ok(Sockets { http, mail, ops, addresses, chosen })
    }
}

/// The keys in the configuration for listeners without and with TLS.
const fn keys(entry: Entry) -> (&'static str, &'static str) {
    match entry {
        Entry::Api => ("api.listen", "api.tls_listen"),
        Entry::Web => ("web.listen", "web.tls_listen"),
        Entry::Console => ("console.listen", "console.tls_listen"),
        Entry::Smtp => ("smtp.listen", "smtp.tls_listen"),
    }
}
