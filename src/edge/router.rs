//! Which route a request takes: the configured ones in their order, then what is built in.

use http::Method;

use crate::config::{HttpEntry, Need};
use crate::domain::{Entry, Permission};
use crate::wire::path::{PatternError, RoutePattern};

/// The routes of one entry.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    entry: Entry,
    default: Need,
}

#[derive(Debug)]
struct Route {
    pattern: RoutePattern,
    methods: Option<Vec<Method>>,
    need: Need,
    group: usize,
}

impl Router {
    /// Compiles the routes of `settings`.
    ///
    /// # Errors
    /// Where a path isn't a pattern; names the route by its number from 1.
    pub fn new(settings: &HttpEntry) -> Result<Router, (usize, PatternError)> {
        let compile = |(number, route): (usize, &crate::config::Route)| {
            let pattern = RoutePattern::parse(&route.path).map_err(|e| (number + 1, e))?;
            Ok(Route { pattern, methods: route.methods.clone(), need: route.need, group: route.group })
        };
        let routes = settings.routes.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Router { routes, entry: settings.entry, default: settings.default_need() })
    }

    /// What a request needs, and the index of the group that it goes to. `path` must be plain.
    pub fn route(&self, method: &Method, path: &str) -> (Need, usize) {
        let takes = |route: &&Route| {
            route.methods.as_ref().is_none_or(|methods| methods.contains(method)) && route.pattern.matches(path)
        };
        match self.routes.iter().find(takes) {
            Some(route) => (route.need, route.group),
            None if self.entry == Entry::Api && sends_mail(path) => (Need::Permission(Permission::Email), 0),
            None => (self.default, 0),
        }
    }
}

/// Whether a backend might take this path for one that sends mail. Backends differ in case, trailing slashes, suffixes
/// and path parameters, so everything that begins like one counts.
fn sends_mail(path: &str) -> bool {
    const CLASSIC: &[u8] = b"/api/mail.send";
    const V3: &[u8] = b"/v3/mail/send";
    let begins = |prefix: &[u8]| {
        path.len() >= prefix.len() && path.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix)
    };
    let ends_there = || path.as_bytes().get(V3.len()).is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_');
    begins(CLASSIC) || begins(V3) && ends_there()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_backend_could_take_for_sending_needs_email() {
        for path in [
            "/api/mail.send.json",
            "/api/mail.send.xml",
            "/API/Mail.Send.JSON",
            "/api/mail.send.json/",
            "/api/mail.send",
            "/v3/mail/send",
            "/v3/mail/send/",
            "/V3/MAIL/SEND",
            "/v3/mail/send.json",
        ] {
            assert!(sends_mail(path), "{path}");
        }
        for path in ["/api/stats.get.json", "/v3/mail/sendlog", "/v3/mail", "/api/mail.s", "/"] {
            assert!(!sends_mail(path), "{path}");
        }
    }
}
