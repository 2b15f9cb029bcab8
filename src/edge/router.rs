//! Which route a request takes: the configured ones in their order, then what is built in.

use http::Method;

use crate::config::{HttpEntry, Need};
use crate::domain::{Entry, Permission};
use crate::wire::{RoutePattern, cut_short, sends_mail};

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
    /// A backend may read a request more leniently than it is written, so a route that asks for a permission takes all that
    /// could be meant, and one that asks for nothing only what it says.
    fn takes(&self, method: &Method, path: &str) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|named| self.need.takes(named, method)))
            && match self.need {
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

    /// What a request needs, and the index of the group that it goes to. `path` must be plain. `None` where a backend that
    /// ends the path at an encoded `?` or `#` would serve what needs something else: there, no answer is right for all
    /// backends.
    pub fn route(&self, method: &Method, path: &str) -> Option<(Need, usize)> {
        let route = self.route_as_written(method, path);
        let mut shorter = cut_short(path);
        shorter.all(|path| self.route_as_written(method, path).0 == route.0).then_some(route)
    }

    fn route_as_written(&self, method: &Method, path: &str) -> (Need, usize) {
        match self.routes.iter().find(|route| route.takes(method, path)) {
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
        router.route(&method, path).map_or("refused", |(need, _)| need.as_str())
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
        assert_eq!(router.route(&Method::GET, "/reports/a"), Some((Need::Permission(Permission::Web), 1)));
        assert_eq!(router.route(&Method::POST, "/reports/a"), Some((Need::Permission(Permission::Email), 0)));
        assert_eq!(
            need(&router, Method::POST, "/Reports/a/"),
            "email",
            "and a permission is asked for loosely"
        );
        assert_eq!(need(&router, Method::POST, "/api/mail.send.json"), "email");
        assert_eq!(need(&router, Method::POST, "/API/Mail.Send.xml"), "email");
        assert_eq!(need(&router, Method::GET, "/api/stats.get.json"), "api");
    }

    #[test]
    fn a_method_in_another_spelling_slips_past_no_permission() {
        let router = router(
            "[[api.route]]\npath = \"/open\"\nmethods = [\"GET\"]\npermission = \"public\"\n\
             [[api.route]]\npath = \"/later\"\nmethods = [\"POST\"]\npermission = \"email\"\n\
             [[api.route]]\npath = \"/screen\"\nmethods = [\"GET\"]\npermission = \"web\"\n",
        );
        let cases = [
            ("POST", "/later", "email"),
            ("post", "/later", "email"),
            ("pOsT", "/later", "email"),
            ("POSTS", "/later", "api"),
            ("HEAD", "/later", "api"),
            ("HEAD", "/screen", "web"),
            ("head", "/screen", "web"),
            ("POST", "/screen", "api"),
            ("GET", "/open", "public"),
            ("get", "/open", "api"),
            ("HEAD", "/open", "api"),
        ];
        for (method, path, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(need(&router, method.clone(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_path_that_is_another_one_up_to_an_encoded_end_is_refused() {
        let router = router(
            "[[api.route]]\npath = \"/files/*.json\"\npermission = \"public\"\n\
             [[api.route]]\npath = \"/users/*/avatar\"\npermission = \"public\"\n\
             [[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n\
             [[api.route]]\npath = \"/reports/*.csv\"\npermission = \"web\"\n\
             [[api.route]]\npath = \"/reports/send\"\npermission = \"email\"\n\
             [[api.route]]\npath = \"/reports/*\"\npermission = \"web\"\n",
        );
        let cases = [
            ("/files/secret%3F.json", "refused"),
            ("/files/secret%23.json", "refused"),
            ("/files/a.json%3F.json", "public"),
            ("/files/a.json%3F.json%23.json", "public"),
            // Up to the first `?`, or up to the first `#`: either may be looked for alone.
            ("/files/a%23.json%3F.json", "refused"),
            ("/files/a%3F.json%23.json", "refused"),
            ("/users/4%3F/avatar", "refused"),
            ("/users/4%23/avatar", "refused"),
            ("/users/4/avatar", "public"),
            ("/open/what%3F", "public"),
            ("/open%3F/what", "api"),
            ("/reports/send%3F.csv", "refused"),
            ("/reports/send%3Fx", "refused"),
            ("/reports/what%3F.csv", "web"),
            ("/v3/mail/send%3Fx", "email"),
            ("/v3/mail%3F/send", "api"),
            ("/what%3F", "api"),
        ];
        for (path, expected) in cases {
            assert_eq!(need(&router, Method::GET, path), expected, "{path}");
        }
    }
}
