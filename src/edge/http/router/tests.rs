//! Which route decides on which path.

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

/// The needs of a path, in words.
fn need(router: &Router, method: Method, path: &str) -> &'static str {
    judged(router, &method, path).map_or("refused", |routed| match routed.need {
        Need::Public => "public",
        Need::Permission(_) => routed.permissions().as_str(),
    })
}

fn group(router: &Router, method: Method, path: &str) -> Option<usize> {
    judged(router, &method, path).ok().map(|routed| routed.group)
}

/// The decision on a target's path with all of its readings.
fn judged(router: &Router, method: &Method, path: &str) -> Result<Routed, AmbiguousPath> {
    let readings = Readings::of(path.as_bytes(), path)?;
    router.route(method, path, &readings)
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
        // Without a route, a path needs `api`; its base adds to that.
        ("/send.php/x", "email,api"),
        ("/send.php;x", "email,api"),
        ("/SEND.PHP%3bx", "email,api"),
        ("/send.php%00.json", "email,api"),
        ("/send.phps", "api"),
        ("/v1/send/x", "email,api"),
        ("/v1/send/x/y", "email,api"),
        ("/v1/send,1", "email,api"),
        ("/v1/send::$DATA", "email,api"),
        ("/v1/send.", "email,api"),
        ("/v1/send%20", "email,api"),
        ("/v1/send%0a", "email,api"),
        ("/v1/send%2Fstatus", "email,api"),
        ("/v1/send;/status", "email,api"),
        // What a route names is its own, and so is what extends that.
        ("/v1/send/status", "api"),
        ("/v1/Send/STATUS/", "api"),
        ("/v1/send/status/4", "api"),
        ("/v1/send/status.json", "api"),
        ("/v1/send/open/a", "public"),
        ("/v1/send/open", "email,api"),
        ("/v1/send/Open/a", "email,api"),
        ("/v1/send/statuses", "email,api"),
        // A wildcard names nothing that extends a route.
        ("/v1/send.json", "email"),
        ("/v1/send.csv", "email,web"),
        ("/v1/stats.json", "public"),
        ("/v1/sender", "api"),
        ("/v1/stats/x", "api"),
        ("/v1;x", "api"),
        ("/v2/users/x", "api,web"),
        ("/v2/users/send", "email,web"),
        ("/v2/a/send/x", "email,api"),
        ("/v2/a/b", "api"),
        // Public is exactly what it says.
        ("/open", "public"),
        ("/open/x", "api"),
        ("/open.json", "api"),
        // The root has few suffixes.
        ("/;x", "api,web"),
        ("/x", "api"),
        ("/.well-known/x", "api"),
    ];
    for (path, expected) in cases {
        assert_eq!(need(&router, Method::GET, path), expected, "{path}");
    }
}

#[test]
fn a_suffix_takes_no_permission_away() {
    let mail = routes(&[("/v3/mail", "email")]);
    assert_eq!(need(&mail, Method::POST, "/v3/mail"), "email");
    assert_eq!(need(&mail, Method::POST, "/v3/mail/batch"), "email,api");
    let table = "[[api.route]]\npath = \"/files/report\"\npermission = \"api\"\n\
                 [[api.route]]\npath = \"/files/*\"\npermission = \"web\"\ngroup = \"other\"\n";
    let files = router(table);
    for (path, expected, place) in
        [("/files/report", "api", 0), ("/files/report.pdf", "api,web", 1), ("/files/a.pdf", "web", 1)]
    {
        assert_eq!(need(&files, Method::GET, path), expected, "{path}");
        assert_eq!(group(&files, Method::GET, path), Some(place), "{path}");
    }
}

#[test]
fn each_base_counts_also_where_a_wildcard_has_a_longer_one() {
    let router = routes(&[("/a/b", "email"), ("/*/b*", "web")]);
    assert_eq!(need(&router, Method::GET, "/a/b.c/d"), "email,api,web");
}

#[test]
fn the_same_permissions_in_another_order_are_no_ambiguity() {
    let router = routes(&[("/a/*.csv", "web"), ("/*/b", "email"), ("/*/b.x", "email"), ("/a", "web")]);
    // `web` as written and `email` for a base; up to the `?` it is the other way around.
    assert_eq!(need(&router, Method::GET, "/a/b.x%3F.csv"), "email,web");
    assert_eq!(need(&router, Method::GET, "/a/b.x"), "email,web");
    assert_eq!(need(&router, Method::GET, "/a/c.x%3F.csv"), "refused");
}

/// The steps of a search, for each of these routes, with `times` repetitions of a part of the path.
fn steps(table: &str, method: &Method, path: &str, times: usize) -> usize {
    let router = router(table);
    let (before, rest) = path.split_once('(').unwrap();
    let (repeated, end) = rest.split_once(')').unwrap();
    let path = format!("{before}{}{end}", repeated.repeat(times));
    crate::wire::steps_of(|| {
        let _ = router.route(method, &path, &Readings::default());
    })
}

const EXTENSIONS: &str = "/v1/a(.00.01.02.03.04.05.06.07.08.09.10.11.12.13.14.15.16.17.18.19)%2C.00.01.02.03.04.05.06.07.08.09%3F,";

#[test]
fn a_search_is_linear_in_the_path() {
    let route = |path: &str, rest: &str| format!("[[api.route]]\npath = \"{path}\"\n{rest}\n");
    let email = "permission = \"email\"";
    let posts = "permission = \"email\"\nmethods = [\"POST\"]";
    let json = [route("/v1/*", "permission = \"api\""), route("/v1/*.json", email)].concat();
    let reversed = [route("/v1/*.json", email), route("/v1/*", "permission = \"api\"")].concat();
    let tables = [
        // Of another method; the pattern covers the path.
        (route("/v1/send*", posts), "/v1/send(,)%2C"),
        (route("/v1/send*", email), "/v1/send(,)%2C"),
        (route("/v1/send*", email), "/v1/send(,)%2C/x"),
        (route("/v1/send*", email), "/v1/send(%2C)%3F%23"),
        (route("/v1/send*/*", email), "/v1/send(.a%2C)"),
        // An earlier route decides on each base.
        (json.clone(), "/v1/a(.json)%2C"),
        (json.clone(), "/v1/a(.json)%2C%3F,%23"),
        (json, "/v1/a(.json%2C)/x"),
        (reversed, "/v1/a(.json)%2C"),
        (route("/v1/*:", email), "/v1/a(%3A.)"),
        (route("/*/*/*/x", email), "/a/b/(%3A.)x;x"),
        (route("/v1/a", email), "/v1/a(/%3A)"),
        (route("/v1/*/c", email), "/v1/a(/c)"),
        (String::new(), "/v3/mail/send(.%2C)"),
        // Each route has many bases, and none of them matches those of another one.
        ((0..20).map(|number| route(&format!("/v1/*.{number:02}"), email)).collect(), EXTENSIONS),
    ];
    for (table, path) in tables {
        for method in [Method::GET, Method::POST] {
            let [short, long] = [100, 800].map(|times| steps(&table, &method, path, times));
            assert!(long <= 9 * short + 500, "{method} {path}: {short} steps, then {long}: {table}");
            let budget = 10 * (table.matches("path").count() + 4) * 800 * path.len();
            assert!(long <= budget, "{method} {path}: {long} steps of {budget}: {table}");
        }
    }
}

#[test]
fn the_order_of_routes_and_their_methods_count_for_the_base() {
    let first = routes(&[("/v1/*", "api"), ("/v1/send", "email"), ("/w/*", "public"), ("/w/send", "email")]);
    // The route of the base is the first one, which is not `/v1/send`.
    for (path, expected) in
        [("/v1/send", "api"), ("/v1/send/x", "api"), ("/w/send/x", "public"), ("/W/send/x", "email,api")]
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
        (Method::POST, "/later/x", "email,api", 1),
        (Method::GET, "/later/x", "api", 0),
        (Method::GET, "/later/status", "web", 0),
        (Method::POST, "/later/status", "email,api", 1),
        (Method::HEAD, "/seen.json", "email,api", 0),
        (Method::POST, "/seen.json", "api", 0),
    ] {
        assert_eq!(need(&posts, method.clone(), path), expected, "{method} {path}");
        assert_eq!(group(&posts, method.clone(), path), Some(place), "{method} {path}");
    }
    // `/b` and `/b/` would be served by `/b.c`, on which the public route decides.
    let hidden = routes(&[("/*c", "public"), ("/b.c", "email")]);
    for path in ["/b", "/b/"] {
        assert_eq!(need(&hidden, Method::GET, path), "api", "{path}");
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
        ("/api/stats.get.json/y", "api,web"),
        ("/v3/mail/send/beta", "api"),
        ("/v3/mail/send/beta/2", "email,api"),
        ("/v3/mail/send/y", "email,web"),
        ("/v3/mail/send~", "email"),
        ("/api/mail.send.json", "email"),
        ("/api/mail.send.yaml", "email,api"),
        ("/api/mail.send/now", "email,api"),
    ] {
        assert_eq!(need(&mail, Method::POST, path), expected, "{path}");
    }
    // A route that decides on the path itself adds to what extends it.
    let opened = router("[[api.route]]\npath = \"/v3/mail/send\"\npermission = \"web\"\ngroup = \"other\"\n");
    assert_eq!(need(&opened, Method::POST, "/v3/mail/send/x"), "email,web");
    assert_eq!(group(&opened, Method::POST, "/v3/mail/send/x"), Some(1));
}

mod model;
mod readings;
