//! Where credentials may stand: what is not listed in `credentials` is the backend's, and reaches it as it came.

use crate::common::backend::Backend;
use crate::common::callers::{API, NO_DELAYS};
use crate::common::forms::{MULTIPART, URLENCODED, form};
use crate::common::http::{Connection, Request, get, request};
use crate::common::{Gateway, HOLDER, api};

/// A gateway with these keys of `[api]` and tables, that knows [`API`].
fn start(backend: &Backend, keys: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{NO_DELAYS}{}{keys}", api(backend.address)));
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

/// Bodies that only the backend understands, and parameters of its own.
const FOR_THE_BACKEND: [(&str, &str); 9] = [
    (MULTIPART, "--b\nContent-Disposition: form-data; name=\"a\"\n\n1\n--b--\n"),
    (MULTIPART, "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"),
    (MULTIPART, "--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n--b--\r\n"),
    (MULTIPART, "--b\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\nown\r\n--b--\r\n"),
    ("multipart/form-data", "no boundary"),
    ("multipart/form-data; boundary=a; boundary=b", "--a--"),
    (URLENCODED, "api_key=another-service&api_key=twice"),
    (URLENCODED, "api_user=somebody&api_key=else"),
    ("application/x-www-form-urlencoded; charset=utf-16", "a\0=\0"),
];

fn passes(backend: &Backend, gateway: &Gateway, way: Request, target: &str, body: &str) {
    let response = way.send(gateway.api());
    assert_eq!(response.status, 200, "{target} {body:?}: {}", response.text());
    let received = backend.next();
    assert_eq!((received.target.as_str(), received.body.as_slice()), (target, body.as_bytes()));
}

// Case B5: with Basic alone, no form and no parameter is read, judged or masked.
#[test]
fn what_only_the_backend_understands_passes_by_basic() {
    let backend = Backend::hello();
    let own = "?api_key=own&api_key=twice&[api_user]=x;api_key=y";
    let places = [
        ("/a", "credentials = [\"basic\"]\n"),
        (
            "/g/a",
            "[[api.group]]\nname = \"own\"\nupstreams = [\"http://BACKEND\"]\ncredentials = [\"basic\"]\n\
             [[api.route]]\npath = \"/g/*\"\npermission = \"api\"\ngroup = \"own\"\n",
        ),
        ("/r/a", "[[api.route]]\npath = \"/r/*\"\npermission = \"api\"\ncredentials = [\"basic\"]\n"),
        (
            "/r/a",
            "credentials = [\"query\"]\n[[api.group]]\nname = \"own\"\nupstreams = [\"http://BACKEND\"]\n\
             credentials = [\"form\"]\n[[api.route]]\npath = \"/r/*\"\npermission = \"api\"\ngroup = \"own\"\n\
             credentials = [\"basic\"]\n",
        ),
        (
            "/open/a",
            "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\ncredentials = [\"basic\"]\n",
        ),
    ];
    for (path, keys) in places {
        let keys =
            format!("max_form_body = \"1KiB\"\n{}", keys.replace("BACKEND", &backend.address.to_string()));
        let gateway = start(&backend, &keys);
        for (kind, body) in FOR_THE_BACKEND {
            let target = format!("{path}{own}");
            passes(&backend, &gateway, form(&target, kind, body).basic(API), &target, body);
            passes(
                &backend,
                &gateway,
                request("POST", path)
                    .header("Content-Type", kind)
                    .header("Content-Encoding", "gzip")
                    .basic(API)
                    .body(body),
                path,
                body,
            );
        }
        let long = format!("api_user=somebody&x={}", "y".repeat(300_000));
        passes(&backend, &gateway, form(path, URLENCODED, long.clone()).basic(API), path, &long);
        // Where every place is read, the same is refused.
        if path != "/a" && !keys.contains("credentials = [\"query\"]") {
            let refused = form(&format!("/all{own}"), URLENCODED, "api_key=a&api_key=b").basic(API);
            assert_eq!(refused.send(gateway.api()).status, 400);
        }
    }
}

// Case B5: a path that a backend could read as one with more places has those, and one that only begins like it has all.
#[test]
fn a_suffix_hides_no_credential() {
    let backend = Backend::hello();
    let routes = [
        "[[api.route]]\npath = \"/v1/send\"\npermission = \"email\"\n\
         [[api.route]]\npath = \"/v1/*\"\npermission = \"api\"\ncredentials = [\"basic\"]\n",
        "[[api.route]]\npath = \"/import\"\npermission = \"api\"\ncredentials = [\"basic\"]\n",
        "[[api.route]]\npath = \"/import.php\"\npermission = \"api\"\ncredentials = [\"basic\"]\n",
    ];
    let gateway = start(&backend, &routes.concat());
    gateway.credential("both:passw0rd-of-both", "email,api");
    let mut connection = Connection::open(gateway.api());
    for (path, expected) in [
        ("/v1/send/x", 400),
        ("/v1/stats/x", 200),
        ("/import", 200),
        ("/import.php", 200),
        ("/import/other", 400),
        ("/import.php/other", 400),
        ("/import.json", 400),
        ("/other", 400),
    ] {
        let way = get(&format!("{path}?api_user=victim&api_key=zzz")).basic("both:passw0rd-of-both");
        assert_eq!(connection.exchange(way).status, expected, "{path}");
        let received = backend.drain();
        assert_eq!(received.len(), usize::from(expected == 200), "{path}");
        assert!(received.iter().all(|received| received.target.ends_with("?api_user=victim&api_key=zzz")));
    }
}

// Case B5: a credential counts only in the places that are listed.
#[test]
fn a_credential_counts_where_it_may_stand() {
    let backend = Backend::hello();
    let pair = "api_user=caller&api_key=passw0rd-call";
    for list in 1..8_u8 {
        let words = ["basic", "query", "form"].into_iter().enumerate();
        let listed: Vec<_> = words.filter(|(bit, _)| list & (1 << bit) != 0).map(|(_, word)| word).collect();
        let gateway = start(&backend, &format!("credentials = {listed:?}\n"));
        let ways = [
            ("basic", get("/v2/a").basic(API)),
            ("query", get(&format!("/v2/a?{pair}&x=1"))),
            ("form", form("/v2/a", URLENCODED, format!("x=1&{pair}"))),
        ];
        for (place, way) in ways {
            let response = way.send(gateway.api());
            let counts = listed.contains(&place);
            assert_eq!(response.status, if counts { 200 } else { 401 }, "{place} of {listed:?}");
            if counts {
                assert!(!backend.next().contains("passw0rd-call"), "{place} of {listed:?}");
            }
            let challenge = response.header("www-authenticate").map(|value| value.starts_with("Basic "));
            assert_eq!(challenge, (!counts).then_some(listed.contains(&"basic")), "{place} of {listed:?}");
        }
        assert!(backend.drain().is_empty());
    }
}

// Case B5: without Basic among the places, the header is the backend's, whatever it holds.
#[test]
fn a_basic_login_that_is_not_read_reaches_the_backend() {
    let backend = Backend::hello();
    let gateway = start(&backend, "credentials = [\"query\"]\n");
    let mut connection = Connection::open(gateway.api());
    let query = "?api_user=caller&api_key=passw0rd-call";
    for value in ["Basic bWU6b3du", "Basic %%%", "Basic", "Bearer x"] {
        let response = connection.exchange(get(&format!("/v2/a{query}")).header("Authorization", value));
        assert_eq!(response.status, 200, "{value}");
        assert_eq!(backend.next().header("authorization"), Some(value));
    }
    // It is no ambient login either, so it doesn't matter who had it sent.
    let way = form(&format!("/v2/a{query}"), URLENCODED, "a=1").header("Authorization", "Basic bWU6b3du");
    assert_eq!(connection.exchange(way.header("Sec-Fetch-Site", "cross-site")).status, 200);
    assert_eq!(backend.next().body, b"a=1");
}

// Case B5: the entry's own places hold for the management of credentials, too.
#[test]
fn the_management_takes_a_credential_from_the_places_of_the_entry() {
    let backend = Backend::hello();
    let (user, key) = HOLDER.split_once(':').unwrap();
    let pair = format!("api_user={user}&api_key={key}");
    let path = "/api/credentials/get.json";
    let ways = || {
        [
            ("basic", get(path).basic(HOLDER)),
            ("query", get(&format!("{path}?{pair}"))),
            ("form", form(path, URLENCODED, pair.clone())),
        ]
    };
    for only in ["basic", "query", "form"] {
        let gateway = start(&backend, &format!("credentials = [\"{only}\"]\n"));
        for (place, way) in ways() {
            let response = way.send(gateway.api());
            let expected = if place == only { 200 } else { 401 };
            assert_eq!(response.status, expected, "{place}, where {only} counts: {}", response.text());
            if expected == 401 {
                let asks = response.header("www-authenticate").unwrap().starts_with("Basic ");
                assert_eq!(asks, only == "basic");
            }
        }
        // A parameter of that name elsewhere contradicts nothing.
        if only == "basic" {
            let way = form(&format!("{path}?api_key=x"), URLENCODED, "api_user=a&api_user=b").basic(HOLDER);
            assert_eq!(way.send(gateway.api()).status, 200);
        }
    }
}

// Case B5: an operator is warned of each place that is not read.
#[test]
fn check_warns_of_places_that_are_not_read() {
    let backend = Backend::hello();
    let gateway = start(
        &backend,
        "credentials = [\"basic\"]\n[[api.route]]\npath = \"/f\"\npermission = \"api\"\ncredentials = [\"form\"]\n",
    );
    let output = gateway.command(&["check"], "");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    for warning in
        ["api.credentials: without \"query\" and \"form\"", "api.route '/f': credentials: without \"basic\""]
    {
        assert!(said.contains(warning), "{said}");
    }
    gateway.log().wait_for(&["api.credentials: without"]);
}

/// A backend that rewrites a path into a query takes what stands behind a `&` for further parameters.
#[test]
fn a_path_has_no_credential_where_a_query_may_have_one() {
    let backend = Backend::hello();
    let open = "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n";
    let places = "[[api.route]]\npath = \"/basic/*\"\npermission = \"api\"\ncredentials = [\"basic\"]\n";
    let gateway = start(&backend, &format!("{open}{places}"));
    for end in [
        "&api_user=victim&api_key=zzz",
        "%26api_user=victim%26api_key=zzz",
        "%3Fapi_user=victim%26api_key=zzz",
        "%253Fapi_user%253Dvictim",
        ";api_key=zzz",
    ] {
        for path in ["/api/stats.get.json", "/open/a"] {
            let response = get(&format!("{path}{end}")).basic(API).send(gateway.api());
            assert_eq!(response.status, 400, "{path}{end}: {}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
    for path in ["/api/a&api_keys=1", "/api/api_key=1", "/api/a;v=1", "/basic/a&api_key=own"] {
        passes(&backend, &gateway, get(path).basic(API), path, "");
    }
}

/// A browser names the page that it comes from, with the credential that the page was asked for with.
#[test]
fn a_referer_has_no_credential_where_a_query_may_have_one() {
    for (keys, has) in [("", false), ("credentials = [\"basic\"]\n", true)] {
        let backend = Backend::hello();
        let gateway = start(&backend, keys);
        let page = "http://gate.test/r?a=1&api_user=x&api_key=y";
        let request = get("/r").basic(API).header("Referer", page);
        assert_eq!(request.send(gateway.api()).status, 200);
        let expected = if has { page } else { "http://gate.test/r?a=1" };
        assert_eq!(backend.next().header("referer"), Some(expected), "{keys}");
    }
}

// Case B5: a query that isn't read reaches the backend byte for byte.
#[test]
fn a_query_that_is_not_read_stays_as_it_is() {
    let backend = Backend::hello();
    let open = "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n";
    let gateway = start(&backend, &format!("credentials = [\"basic\"]\n{open}"));
    for path in ["/open/a", "/v2/a"] {
        for query in ["?", "?&&", "?api_key", "?api_user=%zz", "?a;api_user=b", "??x=[api_key]"] {
            let target = format!("{path}{query}");
            passes(&backend, &gateway, get(&target).basic(API), &target, "");
        }
    }
}
