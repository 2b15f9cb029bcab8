//! Which route a request takes: the configured ones in their order, then what is built in.

use http::Method;

use crate::config::{HttpEntry, Need};
use crate::domain::{Entry, Permission};
use crate::wire::{RoutePattern, sends_mail};

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

impl Route {
    /// A backend may read a path more leniently than it is written, so a route that asks for a permission takes all that
    /// could be meant, and one that asks for nothing only what it says.
    fn takes(&self, path: &str) -> bool {
        match self.need {
            Need::Public => self.pattern.matches(path),
            Need::Permission(_) => self.pattern.covers(path),
        }
    }
}

impl Router {
    /// Compiles the routes of `settings`.
    pub fn new(settings: &HttpEntry) -> Router {
        let compile = |route: &crate::config::Route| Route {
            pattern: RoutePattern::new(&route.path),
            methods: route.methods.clone(),
            need: route.need,
            group: route.group,
        };
        let routes = settings.routes.iter().map(compile).collect();
        Router { routes, entry: settings.entry, default: settings.default_need() }
    }

    /// What a request needs, and the index of the group that it goes to. `path` must be plain.
    pub fn route(&self, method: &Method, path: &str) -> (Need, usize) {
        let takes = |route: &&Route| {
            route.methods.as_ref().is_none_or(|methods| methods.contains(method)) && route.takes(path)
        };
        match self.routes.iter().find(takes) {
            Some(route) => (route.need, route.group),
            None if self.entry == Entry::Api && sends_mail(path) => (Need::Permission(Permission::Email), 0),
            None => (self.default, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn router(routes: &str) -> Router {
        let text = format!(
            "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:1\"]\n\
             [[api.group]]\nname = \"other\"\nupstreams = [\"http://127.0.0.1:2\"]\n{routes}"
        );
        let config = Config::parse(&text, "test").unwrap();
        Router::new(config.api.as_ref().unwrap())
    }

    fn need(router: &Router, method: Method, path: &str) -> &'static str {
        router.route(&method, path).0.as_str()
    }

    #[test]
    fn the_first_match_wins_and_what_is_built_in_comes_last() {
        let router = router(
            "[[api.route]]\npath = \"/public/*\"\npermission = \"public\"\n\
             [[api.route]]\npath = \"/reports/*\"\nmethods = [\"GET\"]\npermission = \"web\"\ngroup = \"other\"\n\
             [[api.route]]\npath = \"/reports/*\"\npermission = \"email\"\n",
        );
        assert_eq!(need(&router, Method::GET, "/public/a"), "public");
        assert_eq!(need(&router, Method::GET, "/PUBLIC/a"), "api", "public is exactly what was written");
        assert_eq!(router.route(&Method::GET, "/reports/a"), (Need::Permission(Permission::Web), 1));
        assert_eq!(router.route(&Method::POST, "/reports/a"), (Need::Permission(Permission::Email), 0));
        assert_eq!(
            need(&router, Method::POST, "/Reports/a/"),
            "email",
            "and a permission is asked for loosely"
        );
        assert_eq!(need(&router, Method::POST, "/api/mail.send.json"), "email");
        assert_eq!(need(&router, Method::POST, "/API/Mail.Send.xml"), "email");
        assert_eq!(need(&router, Method::GET, "/api/stats.get.json"), "api");
    }
}
