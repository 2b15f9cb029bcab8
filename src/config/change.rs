//! The changes of a reloaded configuration that need a restart.

use super::{Config, HttpEntry};

impl Config {
    /// Returns the keys and sections that differ in `new` and that only a restart can change.
    ///
    /// A running gateway applies the rest: everything in `[api]`, `[web]` and `[console]` except their listeners,
    /// `server.trusted_proxies`, and the certificate.
    pub fn restart_needed(&self, new: &Config) -> Vec<&'static str> {
        let (server, new_server) = (&self.server, &new.server);
        let changes = [
            ("store", self.store != new.store),
            ("server.threads", server.threads != new_server.threads),
            ("server.shutdown_deadline", server.shutdown_deadline != new_server.shutdown_deadline),
            ("server.max_connections", server.max_connections != new_server.max_connections),
            (
                "server.max_connections_per_source",
                server.max_connections_per_source != new_server.max_connections_per_source,
            ),
            ("log", self.log != new.log),
            // A certificate with another path is reloaded. Turning TLS on or off concerns the listeners.
            ("tls", self.tls.is_some() != new.tls.is_some()),
            ("auth", self.auth != new.auth),
            ("api", self.api.is_some() != new.api.is_some()),
            ("api.listen", differ(self.api.as_ref(), new.api.as_ref(), |entry| &entry.listen)),
            ("api.tls_listen", differ(self.api.as_ref(), new.api.as_ref(), |entry| &entry.tls_listen)),
            ("web", self.web.is_some() != new.web.is_some()),
            ("web.listen", differ(self.web.as_ref(), new.web.as_ref(), |entry| &entry.listen)),
            ("web.tls_listen", differ(self.web.as_ref(), new.web.as_ref(), |entry| &entry.tls_listen)),
            ("console", self.console.is_some() != new.console.is_some()),
            ("console.listen", differ(self.console(), new.console(), |entry| &entry.listen)),
            ("console.tls_listen", differ(self.console(), new.console(), |entry| &entry.tls_listen)),
            ("smtp", self.smtp != new.smtp),
            ("ops", self.ops != new.ops),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

impl Config {
    fn console(&self) -> Option<&HttpEntry> {
        self.console.as_ref().map(|console| &console.http)
    }
}

/// Returns true if an entry that both configurations have differs in `value`.
fn differ<T: PartialEq>(
    old: Option<&HttpEntry>,
    new: Option<&HttpEntry>,
    value: impl Fn(&HttpEntry) -> &T,
) -> bool {
    old.zip(new).is_some_and(|(old, new)| value(old) != value(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n";

    fn config(text: &str) -> Config {
        Config::parse(text, "test.toml").unwrap()
    }

    #[test]
    fn routes_groups_and_limits_need_no_restart() {
        let routes = format!(
            "{BASE}health_interval = '1s'\nheader_timeout = '1s'\nmax_form_body = '1MiB'\n\
             [[api.group]]\nname = 'mail'\nupstreams = ['http://127.0.0.1:2']\n\
             [[api.route]]\npath = '/m/*'\npermission = 'email'\ngroup = 'mail'\n\
             [server]\ntrusted_proxies = ['10.0.0.0/8']\n"
        );
        let other = BASE.replace("127.0.0.1:1'", "127.0.0.1:3'");
        assert!(config(BASE).restart_needed(&config(&routes)).is_empty());
        assert!(config(BASE).restart_needed(&config(&other)).is_empty());
    }

    #[test]
    fn what_only_moved_within_the_file_is_no_change() {
        let mail = "[smtp]\nrequire_tls = false\nlisten = ['127.0.0.1:0']\nupstreams = ['smtps://127.0.0.1:1']\nupstream_ca = 'a.pem'\n";
        let moved = format!("{BASE}\n# One more line.\n{mail}");
        assert!(config(&format!("{BASE}{mail}")).restart_needed(&config(&moved)).is_empty());
    }

    #[test]
    fn a_changed_listener_is_named() {
        let mail = |key: &str| {
            format!(
                "{BASE}[smtp]\nupstreams = ['smtp://127.0.0.1:1']\n[[smtp.listener]]\naddress = '127.0.0.1:0'\n\
                 require_tls = false\n{key}"
            )
        };
        assert!(config(&mail("")).restart_needed(&config(&mail("tls = 'starttls'"))).is_empty());
        for key in [
            "tls = 'none'",
            "networks = ['10.0.0.0/8']",
            "bare_newline = 'normalize'",
            "proxy_protocol = true",
        ] {
            assert_eq!(config(&mail("")).restart_needed(&config(&mail(key))), ["smtp"], "{key}");
        }
    }

    #[test]
    fn all_else_is_named() {
        let more = format!("{BASE}[ops]\n[auth]\nthrottle = false\n[server]\nthreads = 3\n");
        assert_eq!(config(BASE).restart_needed(&config(&more)), ["server.threads", "auth", "ops"]);
        assert_eq!(config(BASE).restart_needed(&config("[ops]")), ["api", "ops"]);
        let listen = BASE.replace("127.0.0.1:0", "127.0.0.2:0");
        assert_eq!(config(BASE).restart_needed(&config(&listen)), ["api.listen"]);
    }
}
