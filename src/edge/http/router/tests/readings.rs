//! No path passes of which a server's reading needs what was not checked.

use proptest::prelude::*;

use super::*;

#[path = "../../../../../fuzz/src/readings_model.rs"]
mod readings_model;

/// Pattern, permission, and true for the other group.
type ModelRoute = (&'static str, &'static str, bool);

const ROUTES: [ModelRoute; 8] = [
    ("/send.php", "email", false),
    ("/v1/send", "email", false),
    ("/kiosk", "web", false),
    ("/open", "public", false),
    ("/img/*", "public", false),
    ("/files/*.json", "public", false),
    ("/reports/*", "api", true),
    ("/a/*/c", "web", false),
];

fn router_of(routes: &[ModelRoute]) -> Router {
    let table = |(path, need, other): &ModelRoute| {
        let group = if *other { "group = \"other\"\n" } else { "" };
        format!("[[api.route]]\npath = \"{path}\"\npermission = \"{need}\"\n{group}")
    };
    router(&routes.iter().map(table).collect::<String>())
}

/// The permission and group that a path needs, and whether a route says so. `path` is what a server has made of it.
fn needs(routes: &[ModelRoute], path: &[u8]) -> (Option<Permission>, usize, bool) {
    // An encoded slash separates nothing.
    let decoded = |segment: &[u8]| -> Vec<u8> {
        let decoded = readings_model::percent_decoded(segment);
        decoded.into_iter().map(|byte| if byte == b'/' { 1 } else { byte }).collect()
    };
    let segments =
        |path: &[u8]| -> Vec<Vec<u8>> { path[1..].split(|byte| *byte == b'/').map(decoded).collect() };
    let lower = |segments: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        segments.iter().map(|segment| segment.to_ascii_lowercase()).collect()
    };
    let takes = |(pattern, need, _): &&ModelRoute| {
        let (mut pattern, mut given) = (segments(pattern.as_bytes()), segments(path));
        if *need != "public" {
            while given.last().is_some_and(Vec::is_empty) {
                given.pop();
            }
            (pattern, given) = (lower(pattern), lower(given));
        }
        let below = pattern.last().is_some_and(|last| last == b"*");
        if below {
            pattern.pop();
        }
        let same = |(named, given): (&Vec<u8>, &Vec<u8>)| match named.iter().position(|byte| *byte == b'*') {
            None => named == given,
            Some(star) => {
                let (before, after) = (&named[..star], &named[star + 1..]);
                given.len() >= named.len().saturating_sub(1).max(1)
                    && given.starts_with(before)
                    && given.ends_with(after)
            }
        };
        let long_enough = match below {
            true => given.len() > pattern.len() || *need != "public" && given.len() == pattern.len(),
            false => given.len() == pattern.len(),
        };
        long_enough && pattern.iter().zip(&given).all(same)
    };
    if let Some((_, need, other)) = routes.iter().find(takes) {
        return (Permission::from_name(need), usize::from(*other), true);
    }
    let path = segments(path).join(&b'/').to_ascii_lowercase();
    let names = [&b"api/mail.send"[..], b"api/mail/send", b"v3/mail/send"];
    let ends =
        |rest: &[u8]| rest.first().is_none_or(|byte| !(byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
    match names.iter().any(|name| path.strip_prefix(*name).is_some_and(ends)) {
        true => (Some(Permission::Email), 0, true),
        false => (Some(Permission::Api), 0, false),
    }
}

/// The mistake in a decision, if there is one: by all functions of the model, in any order, up to three of them.
fn fault(routes: &[ModelRoute], path: &str, routed: &Routed) -> Option<String> {
    let granted = routed.permissions();
    for (reading, is_structural) in readings_model::compose(path.as_bytes(), 3, true)? {
        let (permission, group, is_named) = needs(routes, &reading);
        let lacks = permission.is_some_and(|needed| !granted.contains(needed));
        // A path that no route matches may go where a part of it goes.
        let elsewhere = is_structural && is_named && group != routed.group;
        if (is_structural || is_named) && lacks || elsewhere {
            return Some(format!("{} needs {permission:?} and group {group}", reading.escape_ascii()));
        }
    }
    None
}

fn any_path() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "api/mail.send.json",
        "api",
        "mail.send.json",
        "v3/mail/send",
        "v3",
        "mail",
        "send",
        "send.php",
        "v1/send",
        "v1",
        "kiosk",
        "open",
        "img",
        "files",
        "x.json",
        "reports",
        "x",
        "index.php",
        "a/b/c",
        "a",
        "c",
        "SEND",
        "%C5%BFend",
        "%E2%84%AAiosk",
        "k%C4%B1osk",
        "%73end",
        "%2573end",
    ]);
    let seam = prop::sample::select(vec![
        "/",
        "/",
        "/",
        "//",
        "%2f",
        "%252F",
        "\\",
        "%5c",
        ";",
        ";/",
        ";x/",
        "/..%2f",
        "/..;/",
        "/%2e/",
        "/x/%252e%252e/",
        "%3f",
        "%23",
        "&",
        "%26",
        "%3B",
        "%00",
        "%20",
        "%0a",
        "%09",
        "%0D",
        "%0c",
        "./",
        ".",
        ".json",
        "%u002f",
        "%c0%af",
        "%ff",
        ":/",
        "/.%00/",
        "%25",
        "%",
        ",",
        "~",
    ]);
    let start = prop::sample::select(vec![
        "/", "/", "/", "/", "//", "//x/", "/http:/", "/x.php/", "/%2f", "/;/", "/x/..;/", "/%20",
    ]);
    (start, prop::collection::vec((word, seam), 1..4), prop::sample::select(vec!["", "", "/", "x", "x.json"]))
        .prop_map(|(start, pieces, end)| {
            let mut path = start.to_owned();
            pieces.iter().for_each(|(word, seam)| path.extend([*word, *seam]));
            path + end
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    // Case B1: judged by an independent model.
    #[test]
    fn no_path_passes_of_which_a_reading_needs_more(path in any_path(), with_routes in any::<bool>()) {
        let Ok(normalized) = crate::wire::normalize(path.as_bytes()) else { return Ok(()) };
        let routes = if with_routes { &ROUTES[..] } else { &[] };
        let readings = Readings::of(path.as_bytes(), &normalized);
        let router = router_of(routes);
        let Ok(Ok(routed)) = readings.map(|readings| router.route(&Method::GET, &normalized, &readings)) else {
            return Ok(());
        };
        let fault = fault(routes, &normalized, &routed);
        prop_assert!(fault.is_none(), "{path}: {routed:?}, and {}", fault.unwrap());
    }
}

// Case B1: what ordinary products send.
#[test]
fn ordinary_products_pass_with_the_default_routes() {
    let router = router("");
    for path in [
        "/projects/group%2Frepo",
        "/@scope%2fname",
        "/api/queues/%2F/q",
        "/a%252Fb",
        "/zones/example.com.",
        "/Acme%20Inc./x",
        "/img/https://host/p.png",
        "/cal;v=1/x",
        "/p;jsessionid=1",
        "/a%5cb",
        "/a%00",
        "/%ff",
        "/100%",
        "/a%3Fb",
        "/users/a&b",
        "/x//y",
        "/index.php/users",
        "/%E6%97%A5%E6%9C%AC",
        "/proxy/https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%23d",
        "/odata/Users('a%2Fb')",
        "/search/50%25%20off",
        "/v1/projects/p:batch",
        "/r/a;b=1,c=2/x;d/y",
    ] {
        assert_eq!(need(&router, Method::GET, path), "api", "{path}");
    }
    // A server may drop the end before it resolves the dots.
    assert_eq!(need(&router, Method::GET, "/x/..;/v3/mail/send/..;/"), "email,api");
    for path in [
        "/api%2Fmail.send.json",
        "/x;/../api/mail.send.json",
        "//api/mail.send.json",
        "/x/..%2fapi/mail.send.json",
        "/x/..;/api/mail.send.json",
        "/api;a/mail.send.json",
        "/v3%5cmail%5csend",
        "/v3\\mail\\send",
        "/v3/mail%u002fsend",
        "/index.php/v3/mail/send",
        "//host/v3/mail/send",
        "/v3%2525252Fmail/send",
        "/http://h/v3/mail/send",
        "/v3./mail/send",
        "/v3/ma%0Ail/send",
        "/v3/x/.%09./mail/send",
        "/api/ma%0dil.send.json",
        "/v3/mail/se%250cnd",
    ] {
        let normalized = crate::wire::normalize(path.as_bytes()).unwrap();
        let readings = Readings::of(path.as_bytes(), &normalized).unwrap();
        let refused = router.route(&Method::GET, &normalized, &readings);
        assert!(matches!(refused, Err(AmbiguousPath::Sequence(_))), "{path}: {refused:?}");
    }
}

// Case B2: ends and case add a permission, and leave a public route as it is.
#[test]
fn suffixes_and_case_of_readings_add_permissions() {
    let router = routes(&[
        ("/send.php", "email"),
        ("/v1/send", "email"),
        ("/public/send.php", "web"),
        ("/public/*", "public"),
        ("/kiosk", "web"),
        ("/both.php", "email"),
        ("/both", "public"),
    ]);
    let cases = [
        ("/send", "email,api"),
        ("/send/x", "email,api"),
        ("/send;x", "email,api"),
        ("/send.txt", "api"),
        ("/v1%2Fsend.json", "email,api"),
        ("/v1%2Fsend", "refused"),
        ("/v1/%C5%BFend", "email,api"),
        ("/v1/%C5%BFend/x", "email,api"),
        ("/%E2%84%AAiosk", "api,web"),
        ("/k%C4%B1osk", "api,web"),
        ("/public/x.json", "public"),
        ("/public/a%2Fb", "public"),
        ("/public/a;b", "public"),
        ("/public/cal/index.php", "public"),
        ("/public/index.php/x", "public"),
        ("/public/index.php/kiosk", "refused"),
        ("/public/index.php/v3/mail/send", "refused"),
        ("/public/index.php/v1/send/x", "email"),
        ("/public%2Fx", "api"),
        ("/public/..%2Fx", "refused"),
        ("/public/.%0a./x", "refused"),
        ("/public/send", "web"),
        ("/public/send.php/x", "web"),
        ("/both", "public"),
        ("/both.php", "email"),
        ("/both/x", "email,api"),
    ];
    for (path, expected) in cases {
        assert_eq!(need(&router, Method::GET, path), expected, "{path}");
    }
}

// Case B1: a reading with other backends is an ambiguity as well.
#[test]
fn a_reading_of_another_group_is_refused() {
    let router = router(
        "[[api.route]]\npath = \"/git/*\"\npermission = \"api\"\ngroup = \"other\"\n\
         [[api.route]]\npath = \"/send.php\"\npermission = \"api\"\ngroup = \"other\"\n",
    );
    for (path, expected) in [
        ("/git/a%2Fb", Some(1)),
        ("/git%2Fa", Some(1)),
        ("/x%2F..%2Fgit%2Fa", None),
        ("/git/..%2Fa", None),
        ("/a%2Fb", Some(0)),
        ("/send.php;x", Some(1)),
        ("/send", Some(1)),
    ] {
        assert_eq!(group(&router, Method::GET, path), expected, "{path}");
    }
}

// Cases B1 and B5: where a backend could read a credential that was not checked, a path is not one of both kinds.
#[test]
fn a_reading_with_other_places_of_credentials_is_refused() {
    let router =
        router("[[api.route]]\npath = \"/raw/*\"\npermission = \"api\"\ncredentials = [\"basic\"]\n");
    for (path, expected) in
        [("/raw/a%2Fb", Some(0)), ("/raw/..%2Fa", None), ("/a%2F..%2Fraw%2Fb", None), ("/a%2Fb", Some(0))]
    {
        assert_eq!(group(&router, Method::GET, path), expected, "{path}");
    }
}

// Case B1: behind a script's name, only what a route or a built-in rule names counts.
#[test]
fn products_with_scripts_in_their_paths_pass_outside_of_the_defaults() {
    let route = |path: &str, rest: &str| format!("[[api.route]]\npath = \"{path}\"\n{rest}\n");
    let grouped = |path: &str| route(path, "permission = \"api\"\ngroup = \"other\"");
    let own = |path: &str| route(path, "permission = \"web\"\ncredentials = [\"basic\"]");
    let public = |path: &str| route(path, "permission = \"public\"");
    let cases = [
        (grouped("/nextcloud/*"), "/nextcloud/remote.php/dav/files/bob/a.txt", "api"),
        (grouped("/nextcloud/*"), "/nextcloud/ocs/v2.php/apps/x", "api"),
        (own("/nextcloud/*"), "/nextcloud/index.php/apps/files", "web"),
        (grouped("/index.php/*"), "/index.php/apps/files", "api"),
        (public("/w/index.php/*"), "/w/index.php/Main_Page", "public"),
        (public("/index.php/s/*"), "/index.php/s/Gx7%20a", "public"),
        (grouped("/api/v4/*"), "/api/v4/p/1/files/app%2Fmodels%2Fkey%2Erb/raw", "api"),
        (grouped("/api/v4/*"), "/api/v4/Rapptz/discord.py/issues", "api"),
        (grouped("/api/v4/*"), "/api/v4/zones/example.pl/records", "api"),
        (grouped("/api/v4/*") + &own("/issues"), "/api/v4/Rapptz/discord.py/issues", "api"),
        // A route for everything is a default.
        (public("/w/*") + &own("/*"), "/w/index.php/x", "public"),
        (public("/w/*") + &own("/*"), "/w/..%2Fx", "refused"),
        // What is named stays protected.
        (grouped("/nextcloud/*"), "/nextcloud/index.php/v3/mail/send", "refused"),
        (public("/w/*") + &own("/kiosk"), "/w/index.php/kiosk", "refused"),
        (public("/w/*") + &own("/kiosk"), "/w/cgi-bin/a.pl/kiosk", "refused"),
        (public("/w/*") + &own("/kiosk"), "/w/%43GI-bin%2Fa.py/kiosk", "refused"),
        (public("/a.pl/*") + &own("/kiosk"), "/a.pl/kiosk", "refused"),
        (public("/w/*") + &own("/kiosk"), "/w/a.pl/kiosk", "public"),
        (public("/w/*") + &own("/kiosk"), "/w/a.php/x/..%2Fkiosk", "refused"),
        // Its parameters would be read by nobody.
        (
            route("/w/*", "permission = \"api\"\ncredentials = [\"basic\"]") + &grouped("/v1/*"),
            "/w/a.php/v1/x",
            "refused",
        ),
    ];
    for (table, path, expected) in cases {
        assert_eq!(need(&router(&table), Method::GET, path), expected, "{path} of {table}");
    }
}

// Case B5: a backend that drops a suffix reads a credential where the base may have one.
#[test]
fn a_suffix_leaves_the_places_of_credentials_as_many_as_they_were() {
    let mail = "[[api.route]]\npath = \"/v1/send\"\npermission = \"email\"\n\
                [[api.route]]\npath = \"/v1/*\"\npermission = \"api\"\ncredentials = [\"basic\"]\n";
    let import = "[[api.route]]\npath = \"/import.php\"\npermission = \"api\"\ncredentials = [\"basic\"]\n";
    let cases = [
        (mail, "/v1/send", Some("all")),
        (mail, "/v1/send/x", Some("all")),
        (mail, "/v1/send.json", Some("all")),
        (mail, "/v1/send;x", Some("all")),
        (mail, "/v1/%C5%BFend/x", Some("all")),
        (mail, "/v1/%C5%BFend", Some("all")),
        (mail, "/v1/stats/x", Some("basic")),
        (mail, "/v1/stats%3Bx", Some("basic")),
        (mail, "/v1%2Fstats", Some("all")),
        (import, "/import.php", Some("basic")),
        (import, "/IMPORT.php/", Some("basic")),
        (import, "/import.php/other", Some("all")),
        (import, "/import.php;x", Some("all")),
        (import, "/import.php%2Fx", Some("all")),
        (import, "/import", Some("all")),
        (import, "/import/x", Some("all")),
        (import, "/import.php%3Fx", None),
        (import, "/other", Some("all")),
    ];
    for (table, path, expected) in cases {
        let places = judged(&router(table), &Method::GET, path).ok().map(|routed| routed.credentials);
        let found = places.map(|places| if places.query && places.form { "all" } else { "basic" });
        assert_eq!(found, expected, "{path} of {table}");
    }
}

/// The bytes that are examined for a path are bounded, however it is written and however many readings it has.
#[test]
fn no_path_is_expensive_to_route() {
    let router = router_of(&ROUTES);
    for piece in ["%25", ";/../", "//", "%2F", "a.php/", "/v1/send;", "/img/..%2f", "&.", "/send.a.b%00"] {
        for length in [500, 4_000, 8_000, 60_000] {
            let path = format!("/{}", piece.repeat(length / piece.len()));
            let Ok(normalized) = crate::wire::normalize(path.as_bytes()) else { continue };
            let steps = crate::wire::steps_of(|| {
                let readings = Readings::of(path.as_bytes(), &normalized);
                let _ = readings.map(|readings| router.route(&Method::GET, &normalized, &readings));
            });
            assert!(steps <= 8_000_000, "{length} bytes of {piece}: {steps}");
        }
    }
}
