//! What a running gateway can take over from a reread configuration, and what it can't.

use super::{Config, HttpEntry};

impl Config {
    /// The keys and sections in which `new` differs from this one and which only a restart can change. Routes, groups
    /// with their upstreams, and the certificate are taken over at once and aren't named.
    pub fn restart_needed(&self, new: &Config) -> Vec<String> {
        let sections = [
            ("store", self.store != new.store),
            ("server", self.server != new.server),
            ("log", self.log != new.log),
            // Another path is one more certificate to read; TLS at all goes with the listeners.
            ("tls", self.tls.is_some() != new.tls.is_some()),
            ("auth", self.auth != new.auth),
            ("ops", self.ops != new.ops),
        ];
        let mut changed: Vec<_> =
            sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect();
        compare("api", self.api.as_ref(), new.api.as_ref(), &mut changed);
        compare("web", self.web.as_ref(), new.web.as_ref(), &mut changed);
        changed
    }
}

fn compare(name: &str, old: Option<&HttpEntry>, new: Option<&HttpEntry>, changed: &mut Vec<String>) {
    let (old, new) = match (old, new) {
        (None, None) => return,
        (Some(old), Some(new)) => (old, new),
        _ => return changed.push(name.to_owned()),
    };
    let keys = [
        ("listen", old.listen != new.listen),
        ("tls_listen", old.tls_listen != new.tls_listen),
        ("max_form_body", old.forms.max_body != new.forms.max_body),
        ("spool_memory", old.forms.memory != new.forms.memory),
        ("spool_directory", old.forms.directory != new.forms.directory),
        ("header_timeout", old.timeouts.header != new.timeouts.header),
        ("body_timeout", old.timeouts.body != new.timeouts.body),
        ("keepalive_timeout", old.timeouts.keepalive != new.timeouts.keepalive),
        ("write_timeout", old.timeouts.write != new.timeouts.write),
        ("response_timeout", old.timeouts.response != new.timeouts.response),
        ("tunnel_idle_timeout", old.timeouts.tunnel_idle != new.timeouts.tunnel_idle),
        ("upstream_keepalive", old.upstream_keepalive != new.upstream_keepalive),
        ("upstream_idle_connections", old.upstream_idle_connections != new.upstream_idle_connections),
    ];
    changed.extend(keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| format!("{name}.{key}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:1']\n";

    fn config(text: &str) -> Config {
        Config::parse(text, "test.toml").unwrap()
    }

    #[test]
    fn routes_and_groups_need_no_restart() {
        let routes = format!(
            "{BASE}health_interval = '1s'\n[[api.group]]\nname = 'mail'\nupstreams = ['http://127.0.0.1:2']\n\
             [[api.route]]\npath = '/m/*'\npermission = 'email'\ngroup = 'mail'\n"
        );
        let other = BASE.replace("127.0.0.1:1'", "127.0.0.1:3'");
        assert_eq!(config(BASE).restart_needed(&config(&routes)), Vec::<String>::new());
        assert_eq!(config(BASE).restart_needed(&config(&other)), Vec::<String>::new());
    }

    #[test]
    fn all_else_is_named() {
        let ops =
            format!("{BASE}header_timeout = '1s'\nmax_form_body = '1MiB'\n[ops]\n[auth]\nthrottle = false\n");
        let expected = ["auth", "ops", "api.max_form_body", "api.header_timeout"];
        assert_eq!(config(BASE).restart_needed(&config(&ops)), expected);
        assert_eq!(config(BASE).restart_needed(&config("[ops]")), ["ops", "api"]);
        let listen = BASE.replace("127.0.0.1:0", "127.0.0.2:0");
        assert_eq!(config(BASE).restart_needed(&config(&listen)), ["api.listen"]);
    }
}
