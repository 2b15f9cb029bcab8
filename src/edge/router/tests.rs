//! Which route decides on which path.

use proptest::prelude::*;

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

/// What a path needs, in words.
fn need(router: &Router, method: Method, path: &str) -> &'static str {
    router.route(&method, path).map_or("refused", |routed| match routed.need {
        Need::Public => "public",
        Need::Permission(_) => routed.permissions().as_str(),
    })
}

fn group(router: &Router, method: Method, path: &str) -> Option<usize> {
    router.route(&method, path).map(|routed| routed.group)
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
    assert_eq!(need(&router, Method::GET, "/reports/a"), "web");
    assert_eq!(group(&router, Method::GET, "/reports/a"), Some(1));
    assert_eq!(need(&router, Method::POST, "/reports/a"), "email");
    assert_eq!(group(&router, Method::POST, "/reports/a"), Some(0));
    assert_eq!(need(&router, Method::POST, "/Reports/a/"), "email", "and a permission is asked for loosely");
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

fn routes(routes: &[(&str, &str)]) -> Router {
    let table =
        |(path, need): &(&str, &str)| format!("[[api.route]]\npath = \"{path}\"\npermission = \"{need}\"\n");
    router(&routes.iter().map(table).collect::<String>())
}

#[test]
fn a_suffix_needs_what_its_base_needs() {
    let router = routes(&[
        ("/send.php", "email"),
        ("/v1/send", "email"),
        ("/v1/send/status", "api"),
        ("/v1/send/open/*", "public"),
        ("/v1/*.json", "public"),
        ("/v1/*.csv", "web"),
        ("/v1/*", "api"),
        ("/v2/*/send", "email"),
        ("/v2/users", "web"),
        ("/open", "public"),
        ("/", "web"),
    ]);
    let cases = [
        ("/send.php/x", "email"),
        ("/send.php;x", "email"),
        ("/SEND.PHP%3bx", "email"),
        ("/send.php%00.json", "email"),
        ("/send.phps", "api"),
        ("/v1/send/x", "email"),
        ("/v1/send/x/y", "email"),
        ("/v1/send,1", "email"),
        ("/v1/send::$DATA", "email"),
        ("/v1/send.", "email"),
        ("/v1/send%20", "email"),
        ("/v1/send%0a", "email"),
        ("/v1/send%2Fstatus", "email"),
        ("/v1/send;/status", "email"),
        // What a route names is its own, and so is what extends that.
        ("/v1/send/status", "api"),
        ("/v1/Send/STATUS/", "api"),
        ("/v1/send/status/4", "api"),
        ("/v1/send/status.json", "api"),
        ("/v1/send/open/a", "public"),
        ("/v1/send/open", "email"),
        ("/v1/send/Open/a", "email"),
        ("/v1/send/statuses", "email"),
        // A wildcard names nothing that extends a route; one that says more than the route does still counts.
        ("/v1/send.json", "email"),
        ("/v1/send.csv", "email,web"),
        ("/v1/stats.json", "public"),
        ("/v1/sender", "api"),
        ("/v1/stats/x", "api"),
        ("/v1;x", "api"),
        ("/v2/users/x", "web"),
        ("/v2/users/send", "email,web"),
        ("/v2/a/send/x", "email"),
        ("/v2/a/b", "api"),
        // Public is exactly what it says.
        ("/open", "public"),
        ("/open/x", "api"),
        ("/open.json", "api"),
        // The root has few suffixes.
        ("/;x", "web"),
        ("/x", "api"),
        ("/.well-known/x", "api"),
    ];
    for (path, expected) in cases {
        assert_eq!(need(&router, Method::GET, path), expected, "{path}");
    }
}

#[test]
fn the_order_of_routes_and_their_methods_count_for_the_base() {
    let first = routes(&[("/v1/*", "api"), ("/v1/send", "email"), ("/w/*", "public"), ("/w/send", "email")]);
    // The route of the base is the first one, which is not `/v1/send`.
    for (path, expected) in
        [("/v1/send", "api"), ("/v1/send/x", "api"), ("/w/send/x", "public"), ("/W/send/x", "email")]
    {
        assert_eq!(need(&first, Method::GET, path), expected, "{path}");
    }
    let wide = routes(&[("/*/x", "api"), ("/a/*", "email"), ("/a/*/y", "web")]);
    for (path, expected) in [("/a/x", "api"), ("/a/b/y", "email"), ("/b/x/z", "api"), ("/a.b/x", "email,api")]
    {
        assert_eq!(need(&wide, Method::GET, path), expected, "{path}");
    }
    let posts = router(
        "[[api.route]]\npath = \"/later\"\nmethods = [\"POST\"]\npermission = \"email\"\ngroup = \"other\"\n\
         [[api.route]]\npath = \"/later/status\"\nmethods = [\"GET\"]\npermission = \"web\"\n\
         [[api.route]]\npath = \"/seen\"\nmethods = [\"GET\"]\npermission = \"email\"\n",
    );
    for (method, path, expected, place) in [
        (Method::POST, "/later/x", "email", 1),
        (Method::GET, "/later/x", "api", 0),
        (Method::GET, "/later/status", "web", 0),
        (Method::POST, "/later/status", "email", 1),
        (Method::HEAD, "/seen.json", "email", 0),
        (Method::POST, "/seen.json", "api", 0),
    ] {
        assert_eq!(need(&posts, method.clone(), path), expected, "{method} {path}");
        assert_eq!(group(&posts, method.clone(), path), Some(place), "{method} {path}");
    }
}

#[test]
fn what_sends_mail_is_a_base_as_well() {
    let mail = routes(&[
        ("/api/*/x", "public"),
        ("/api/*.x", "public"),
        ("/v3/mail/send/beta", "api"),
        ("/v3/*/*/y", "web"),
        ("/api", "web"),
        ("/api/mail.send", "api"),
    ]);
    for (path, expected) in [
        ("/api/mail.send.json/x", "email"),
        ("/api/mail.send.json.x", "email"),
        ("/API/mail.send.xml/x", "email"),
        ("/api/stats.get.json/x", "public"),
        ("/api/stats.get.json/y", "web"),
        ("/v3/mail/send/beta", "api"),
        ("/v3/mail/send/beta/2", "api"),
        ("/v3/mail/send/y", "email,web"),
        ("/v3/mail/send~", "email"),
        ("/api/mail.send.json", "email"),
        ("/api/mail.send.yaml", "email"),
        ("/api/mail.send/now", "email"),
    ] {
        assert_eq!(need(&mail, Method::POST, path), expected, "{path}");
    }
    // A route that decides on the path itself decides on what extends it.
    let opened = router("[[api.route]]\npath = \"/v3/mail/send\"\npermission = \"web\"\ngroup = \"other\"\n");
    assert_eq!(need(&opened, Method::POST, "/v3/mail/send/x"), "web");
    assert_eq!(group(&opened, Method::POST, "/v3/mail/send/x"), Some(1));
}

/// The same rule, found the slow way: by the words of patterns and paths, and by examples of what a pattern matches.
mod model {
    use super::*;

    #[derive(Clone, Debug)]
    pub struct Route {
        pub pattern: String,
        pub need: &'static str,
        pub method: Option<&'static str>,
    }

    impl Route {
        fn permission(&self) -> Option<Permission> {
            Permission::from_name(self.need)
        }

        /// Whether it matches a decoded path.
        fn takes(&self, method: &str, path: &str) -> bool {
            let (pattern, path) = match self.need {
                "public" => (self.pattern.clone(), path.to_owned()),
                _ => (self.pattern.to_ascii_lowercase(), path.trim_end_matches('/').to_ascii_lowercase()),
            };
            let loose = self.need != "public";
            let (named, below) = match pattern.strip_suffix("/*") {
                Some(named) => (named, true),
                None => (if loose { pattern.trim_end_matches('/') } else { &pattern[..] }, false),
            };
            let (named, given): (Vec<_>, Vec<_>) = (named.split('/').collect(), path.split('/').collect());
            let long_enough = match below {
                true => given.len() > named.len() || loose && given.len() == named.len(),
                false => given.len() == named.len(),
            };
            let same = |(named, given): (&&str, &&str)| match named.split_once('*') {
                None => named == given,
                Some((before, after)) => {
                    given.len() >= (before.len() + after.len()).max(1)
                        && given.starts_with(before)
                        && given.ends_with(after)
                }
            };
            self.method.is_none_or(|named| named == method)
                && long_enough
                && named.iter().zip(&given).all(same)
        }

        fn extended_by(&self, path: &str) -> bool {
            bases(path).any(|base| self.takes("POST", base) || self.takes("GET", base))
        }

        /// Paths that it matches, of every kind that matters here.
        fn examples(&self) -> Vec<String> {
            let mut examples = vec![self.pattern.clone()];
            if let Some(named) = self.pattern.strip_suffix("/*") {
                examples = ["/q", "/q.json", "/a/b", "/b", "/c/a/b"]
                    .iter()
                    .map(|end| format!("{named}{end}"))
                    .collect();
            }
            while examples.iter().any(|example| example.contains('*')) {
                let fill =
                    |text: &String| ["q", "a", "b", "b.c", "q.b"].map(|fill| text.replacen('*', fill, 1));
                examples = examples.iter().flat_map(fill).collect();
            }
            examples
        }

        fn lies_below(&self, other: &Route) -> bool {
            let is_below = |path: &String| other.takes_any(path) || other.extended_by(path);
            self.examples().iter().all(is_below)
        }

        fn contains(&self, other: &Route) -> bool {
            other.examples().iter().all(|path| self.takes_any(path))
        }

        fn takes_any(&self, path: &str) -> bool {
            ["GET", "POST"].iter().any(|method| self.takes(method, path))
        }
    }

    /// Each part of a decoded path that a suffix follows.
    fn bases(path: &str) -> impl Iterator<Item = &str> {
        let starts = |at: &usize| *at > 1 && "/.;,:&".contains(&path[*at..=*at]);
        (1..path.len()).filter(starts).map(|at| &path[..at])
    }

    fn first(routes: &[Route], method: &str, path: &str) -> Option<usize> {
        routes.iter().position(|route| route.takes(method, path))
    }

    /// What is wrong with a decision, where anything is.
    pub fn fault(routes: &[Route], method: &str, path: &str, routed: &Routed) -> Option<String> {
        let granted = routed.permissions();
        let matching = first(routes, method, path);
        let holds = |index: usize| routes[index].permission().is_none_or(|need| granted.contains(need));
        let mut replaced = matching.is_none();
        for base in bases(path) {
            let Some(holder) = first(routes, method, base) else { continue };
            if routes[holder].need == "public" || routes[holder].takes(method, path) {
                continue;
            }
            let longer = bases(path).filter(|other| other.len() > base.len()).chain([path]);
            let mut naming = longer.filter_map(|other| {
                let found = first(routes, method, other)?;
                (other == path || routes[found].need != "public").then_some(found)
            });
            let named = naming.any(|naming| routes[naming].lies_below(&routes[holder]));
            let replaced_here = bases(path).filter_map(|other| first(routes, method, other)).any(|other| {
                let counts = routes[other].need != "public" && !routes[other].takes(method, path);
                other != holder && counts && routes[holder].contains(&routes[other])
            });
            if !named && !replaced_here && !holds(holder) {
                return Some(format!("{base} needs {}", routes[holder].need));
            }
            replaced |= matching.is_some_and(|matching| routes[matching].contains(&routes[holder]));
        }
        if routed.need == Need::Public && matching.is_none_or(|matching| routes[matching].need != "public") {
            return Some("it is public".to_owned());
        }
        let kept = matching.is_none_or(|matching| replaced || holds(matching));
        (!kept).then(|| format!("it loses what '{}' needs", routes[matching.unwrap_or(0)].pattern))
    }
}

fn any_route() -> impl Strategy<Value = model::Route> {
    let segment = prop::sample::select(vec!["a", "b", "c", "b.c", "a:b", "A", "*", "a*", "*c", "b*c"]);
    let needs = prop::sample::select(vec!["public", "email", "api", "web"]);
    let methods = prop::sample::select(vec![None, None, None, Some("GET"), Some("POST")]);
    (prop::collection::vec(segment, 1..4), needs, methods, prop::bool::weighted(0.2)).prop_map(
        |(segments, need, method, slash)| {
            let ends_in_star = segments.last() == Some(&"*");
            let end = if slash && !ends_in_star { "/" } else { "" };
            model::Route { pattern: format!("/{}{end}", segments.join("/")), need, method }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No path that extends one that a route decides on is let through with less than that route needs, unless a route names
    /// it; and no suffix takes a permission away, but that of a wildcard that contains the route.
    #[test]
    fn no_suffix_gets_past_a_permission(
        list in prop::collection::vec(any_route(), 1..6),
        words in prop::collection::vec((
            prop::sample::select(vec!["a", "b", "c", "A", "q"]),
            prop::sample::select(vec!["/", "/", "/", ".", ";", ",", ":", "&", "%2F", "%3B", "%3a", "%2c", "%26"]),
        ), 1..6),
        ends in prop::sample::select(vec!["", "x", "c", "/"]),
        method in prop::sample::select(vec!["GET", "POST"]),
    ) {
        let text: String = words.iter().flat_map(|(word, seam)| [*word, *seam]).collect();
        let path = format!("/{}{ends}", text.strip_suffix('/').unwrap_or(&text));
        let tables = list.iter().map(|route| {
            let methods = route.method.map(|method| format!("methods = [\"{method}\"]\n")).unwrap_or_default();
            format!("[[api.route]]\npath = \"{}\"\npermission = \"{}\"\n{methods}", route.pattern, route.need)
        });
        let text = format!("[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:1\"]\n{}", tables.collect::<String>());
        // A route that an earlier one hides is an error.
        let Ok(config) = Config::parse(&text, "test") else { return Ok(()) };
        let compiled = Router::new(config.api.as_ref().unwrap());
        let routed = compiled.route_as_read(&Method::from_bytes(method.as_bytes()).unwrap(), &path);
        // An encoded slash is one to a backend that serves the base, and none to the segments of a pattern.
        if !path.contains("%2F") {
            let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap().into_owned();
            let fault = model::fault(&list, method, &decoded, &routed);
            prop_assert!(fault.is_none(), "{method} {path}: {routed:?}, and {}: {list:?}", fault.unwrap());
        }
    }
}
