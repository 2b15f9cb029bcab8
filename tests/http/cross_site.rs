//! A login that a browser adds by itself does nothing for another site: no change, no mail, no WebSocket.

use crate::common::backend::Backend;
use crate::common::callers::{ALL, API, EMAIL, WEB, with_credentials};
use crate::common::curl::curl;
use crate::common::forms::{MULTIPART, URLENCODED, form, text_fields};
use crate::common::http::{Connection, Request, get, request};
use crate::common::http2::{ask, http2, whole};
use crate::common::mail::metric;
use crate::common::tls::Authority;
use crate::common::{Gateway, HOLDER, api, http2 as over_tls};
use bytes::Bytes;

/// The fields by which a browser says that a request comes from another site, or may come from one.
const FOREIGN: [&[(&str, &str)]; 17] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Origin", "https://evil.example")],
    &[("Origin", "null")],
    &[("Origin", "http://gate.test:8080")],
    &[("Origin", "http://gate.test.evil.example")],
    &[("Origin", "http://evil.example#gate.test")],
    &[("Origin", "http://gate.test@evil.example")],
    &[("Origin", "chrome-extension://gate.test")],
    &[("Origin", "")],
    &[("Origin", "http://gate.test, https://evil.example")],
    &[("Origin", "http://gate.test"), ("Origin", "https://evil.example")],
    &[("Origin", "http://gate.test"), ("Sec-Fetch-Site", "cross-site")],
    &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "")],
    &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-origin, Cross-Site")],
];

/// The fields of requests from the gateway's own origin, from a typed address, and from clients other than browsers.
const OWN: [&[(&str, &str)]; 11] = [
    &[],
    &[("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "none")],
    &[("Origin", "http://gate.test")],
    &[("Origin", "http://GATE.test:80")],
    // A proxy in front may have ended TLS.
    &[("Origin", "https://gate.test"), ("Sec-Fetch-Site", "same-origin")],
    &[("Origin", "https://gate.test:443")],
    // A form of a page with the referrer policy no-referrer, as Chromium sends it.
    &[("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
    // A page can't set Sec-Fetch-Site, so it decides: an extension, and a proxy that has rewritten Host.
    &[("Origin", "chrome-extension://abcdefgh"), ("Sec-Fetch-Site", "none")],
    &[("Origin", "https://dashboard.example"), ("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "")],
];

fn with(request: Request, fields: &[(&str, &str)]) -> Request {
    fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Both entries before one backend, and all credentials.
fn both(backend: &Backend, rest: &str) -> Gateway {
    let api = api(backend.address);
    let web = api.replace("[api]", "[web]");
    let open = "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n";
    let gateway = Gateway::start(&format!("{rest}{api}{open}{web}"));
    with_credentials(gateway.account("email,api,web"));
    gateway
}

// Case B4: a page of another site can't use a login that the browser adds, for management, mail, changes and WebSockets.
#[test]
fn another_site_manages_no_credentials() {
    let backend = Backend::hello();
    let gateway = both(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let add = "/api/credentials/add";
    let fields = "username=evil&password=evil-passw0rd";
    for foreign in FOREIGN {
        let ways = [
            get(&format!("{add}.json?{fields}")),
            form(&format!("{add}.json"), URLENCODED, fields),
            form("/api/credentials.edit.json", URLENCODED, "username=caller&permissions={\"web\":1}"),
            get("/api/credentials/remove.json?username=caller"),
            get("/api/credentials/get.json"),
        ];
        for way in ways {
            let response = connection.exchange(with(way.basic(HOLDER), foreign));
            assert_eq!(response.status, 403, "{foreign:?}: {}", response.text());
            let reason = response.json()["error"].as_str().unwrap().to_owned();
            assert!(reason.contains("Cross-site") && reason.contains("api_key instead of Basic"), "{reason}");
            assert_eq!(response.header("www-authenticate"), None);
        }
    }
    let xml = connection.exchange(with(get(&format!("{add}.xml?{fields}")).basic(HOLDER), FOREIGN[0]));
    assert!(xml.text().starts_with("<?xml") && xml.text().contains("error: Cross-site"), "{}", xml.text());
    gateway.log().wait_for(&[
        "\"action\":\"check\"",
        "\"actor\":\"acme\"",
        "cross-site",
        "\"outcome\":\"denied\"",
    ]);
    assert_eq!(gateway.manage("get", "username=evil").0, 404);
    assert_eq!(gateway.manage("get", "username=caller").0, 200);
    assert_eq!(connection.reopened, 0);
}

#[test]
fn the_own_site_and_other_clients_manage_credentials() {
    let backend = Backend::hello();
    let gateway = both(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let (user, key) = HOLDER.split_once(':').unwrap();
    let explicit = format!("api_user={user}&api_key={key}");
    for (number, own) in OWN.into_iter().enumerate() {
        let target = format!("/api/credentials/add.json?username=own-{number}&password=0wn-passw0rd");
        let response = connection.exchange(with(get(&target).basic(HOLDER), own));
        assert_eq!(response.status, 200, "{own:?}: {}", response.text());
    }
    // No other site knows a password, so one that the request itself carries was meant.
    for (number, foreign) in FOREIGN.into_iter().enumerate() {
        let fields = format!("username=other-{number}&password=0ther-passw0rd&{explicit}");
        let path = "/api/credentials/add.json";
        let again = format!("/api/credentials/edit.json?username=other-{number}&{explicit}");
        let ways = [
            form(path, URLENCODED, fields),
            get(&again),
            get(&again).basic(HOLDER),
            form("/api/credentials/edit.json", URLENCODED, again.split_once('?').unwrap().1).basic(HOLDER),
        ];
        for way in ways {
            let response = connection.exchange(with(way, foreign));
            assert_eq!(response.status, 200, "{foreign:?}: {}", response.text());
        }
    }
}

#[test]
fn another_site_sends_no_mail_and_changes_nothing() {
    let backend = Backend::hello();
    let gateway = both(&backend, "");
    let mut api = Connection::open(gateway.api());
    let mut web = Connection::open(gateway.address("web.listen"));
    for foreign in FOREIGN {
        for way in [
            get("/api/mail.send.json?to=a"),
            get("/v3/mail/send/x"),
            form("/api/mail.send.json", URLENCODED, "to=a"),
            form("/v3/stats", URLENCODED, "x=1"),
            form("/v3/stats", MULTIPART, text_fields(&[("to", "a")])),
            form("/v3/stats", "text/plain", "api_user=everything&api_key=passw0rd-all"),
            form("/v3/stats", "", "api_user=everything&api_key=passw0rd-all"),
            request("PUT", "/v3/stats"),
            request("DELETE", "/v3/stats"),
            request("get", "/v3/stats"),
            request("PROPFIND", "/v3/stats"),
        ] {
            let response = api.exchange(with(way.basic(ALL), foreign));
            assert_eq!(response.status, 403, "{foreign:?}: {}", response.text());
            let errors = response.json()["errors"][0].to_string();
            assert!(errors.contains("Cross-site") && errors.contains("api_key instead of Basic"), "{errors}");
        }
        for way in [form("/settings", URLENCODED, "x=1"), request("DELETE", "/settings"), upgrade()] {
            let response = web.exchange(with(way.basic(WEB), foreign));
            assert_eq!(response.status, 403, "web, {foreign:?}");
            assert!(response.text().contains("Cross-site") && !response.text().contains("api_key"));
        }
        assert_eq!(api.exchange(with(upgrade().basic(ALL), foreign)).status, 403, "{foreign:?}");
    }
    assert!(backend.drain().is_empty());
    gateway.log().wait_for(&["\"entry\":\"web\"", "\"actor\":\"viewer\"", "cross-site by Sec-Fetch-Site"]);
    gateway.log().wait_for(&["\"entry\":\"api\"", "\"actor\":\"everything\"", "cross-site by Origin"]);
}

fn upgrade() -> Request {
    get("/socket").header("Connection", "Upgrade").header("Upgrade", "websocket")
}

#[test]
fn what_another_site_may_ask_for() {
    let backend = Backend::hello();
    let gateway = both(&backend, "");
    let mut api = Connection::open(gateway.api());
    let mut web = Connection::open(gateway.address("web.listen"));
    for fields in FOREIGN.into_iter().chain(OWN) {
        for method in ["GET", "OPTIONS"] {
            assert_eq!(api.exchange(with(request(method, "/v3/stats").basic(API), fields)).status, 200);
            assert_eq!(web.exchange(with(request(method, "/").basic(WEB), fields)).status, 200);
        }
        assert_eq!(api.exchange(with(form("/open/a", URLENCODED, "x=1").basic(ALL), fields)).status, 200);
        let query = "?api_user=everything&api_key=passw0rd-all";
        let own = [("to", "a"), ("api_user", "everything"), ("api_key", "passw0rd-all")];
        for way in [
            form("/api/mail.send.json", URLENCODED, format!("to=a&{}", &query[1..])),
            get(&format!("/api/mail.send.json{query}")),
            get(&format!("/api/mail.send.json{query}")).basic(ALL),
            request("DELETE", &format!("/v3/stats{query}")).basic(ALL),
            // No other site knows the credential in its form, whatever the browser adds.
            form("/v3/stats", URLENCODED, &query[1..]).basic(ALL),
            form("/api/mail.send.json", MULTIPART, text_fields(&own)).basic(ALL),
        ] {
            assert_eq!(api.exchange(with(way, fields)).status, 200, "{fields:?}");
        }
    }
    for own in OWN {
        for way in [get("/api/mail.send.json").basic(EMAIL), form("/v3/stats", URLENCODED, "x=1").basic(API)]
        {
            assert_eq!(api.exchange(with(way, own)).status, 200, "{own:?}");
        }
        assert_eq!(web.exchange(with(form("/", URLENCODED, "x=1").basic(WEB), own)).status, 200, "{own:?}");
    }
}

/// Refused before the login is looked at, so that the answer and its time say nothing about it.
#[test]
fn a_guess_from_another_site_learns_nothing() {
    let backend = Backend::hello();
    let gateway = both(&backend, "[ops]\nlisten = \"127.0.0.1:0\"\n");
    let mut connection = Connection::open(gateway.api());
    for login in [HOLDER, ALL, "acme:wrong-passw0rd", "nobody-knows:wrong-passw0rd", "x:"] {
        for way in [form("/v3/stats", URLENCODED, "x=1"), get("/api/credentials/get.json")] {
            let response = connection.exchange(with(way.basic(login), FOREIGN[0]));
            assert_eq!((response.status, response.header("retry-after")), (403, None), "{login}");
            assert!(response.text().contains("Cross-site"), "{login}");
        }
    }
    for outcome in ["right", "wrong"] {
        assert_eq!(metric(&gateway, &format!("gatepost_password_checks_total{{outcome=\"{outcome}\"}}")), 0);
    }
    for result in ["hit", "miss", "other"] {
        assert_eq!(metric(&gateway, &format!("gatepost_cache_lookups_total{{result=\"{result}\"}}")), 0);
    }
}

#[test]
fn a_trusted_proxy_says_which_origin_is_the_own_one() {
    let backend = Backend::hello();
    let gateway = both(&backend, "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let mut connection = Connection::open(gateway.api());
    let cases: [(&[(&str, &str)], u16); 14] = [
        (&[("X-Forwarded-Host", "api.example"), ("Origin", "https://api.example")], 200),
        (&[("X-Forwarded-Host", "api.example:8443"), ("Origin", "https://api.example:8443")], 200),
        (&[("X-Forwarded-Host", "api.example, inner"), ("Origin", "https://api.example")], 200),
        (&[("X-Forwarded-Host", "api.example"), ("Origin", "http://gate.test")], 403),
        (&[("X-Forwarded-Host", "api.example"), ("Origin", "https://evil.example")], 403),
        (&[("X-Forwarded-Proto", "https"), ("Origin", "https://gate.test")], 200),
        (&[("X-Forwarded-Proto", "https, http"), ("Origin", "https://gate.test:443")], 200),
        (&[("X-Forwarded-Proto", "https"), ("Origin", "http://gate.test")], 403),
        (&[("X-Forwarded-Port", "8443"), ("Origin", "https://gate.test:8443")], 200),
        (&[("X-Forwarded-Port", "8443"), ("Origin", "https://gate.test:8444")], 403),
        (&[("Origin", "https://gate.test")], 200),
        (&[("Origin", "http://gate.test")], 200),
        // A proxy that sends a Host of its own, as nginx does unless it is told otherwise: the browser knows better.
        (&[("Origin", "https://api.example"), ("Sec-Fetch-Site", "same-origin")], 200),
        (&[("Origin", "https://api.example")], 403),
    ];
    for (fields, expected) in cases {
        let response = connection.exchange(with(request("DELETE", "/v3/stats").basic(API), fields));
        assert_eq!(response.status, expected, "{fields:?}");
    }
    // No other proxy is believed. Behind one that rewrites Host, as nginx does unless told otherwise, pages of the own site work.
    let gateway = both(&backend, "");
    let mut connection = Connection::open(gateway.address("web.listen"));
    for (site, expected) in [("same-origin", 200), ("same-site", 403), ("cross-site", 403)] {
        let fields = [("Origin", "https://dashboard.example"), ("Sec-Fetch-Site", site)];
        let response = connection.exchange(with(form("/settings", URLENCODED, "x=1").basic(WEB), &fields));
        assert_eq!(response.status, expected, "{site}");
    }
    let mut connection = Connection::open(gateway.api());
    for (name, value) in [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "8443")] {
        let fields = [(name, value), ("Origin", "https://evil.example:8443")];
        let response = connection.exchange(with(request("DELETE", "/v3/stats").basic(API), &fields));
        assert_eq!(response.status, 403, "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_over_http2() {
    let backend = Backend::hello();
    let authority = Authority::new();
    let gateway = over_tls::start(&authority, backend.address, "");
    gateway.account("email,api,web");
    let mut client = http2(&gateway, &authority).await;
    let basic = ("authorization", "Basic YWNtZTpob2xkZXItcGFzc3cwcmQ=");
    let cases: [(&[(&str, &str)], u16); 8] = [
        (&[], 200),
        (&[("sec-fetch-site", "same-origin"), ("origin", "https://gate.test")], 200),
        (&[("origin", "https://gate.test:443")], 200),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null"), ("sec-fetch-site", "cross-site")], 403),
        // With TLS the scheme is known.
        (&[("origin", "http://gate.test")], 403),
        (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-site")], 403),
    ];
    for (fields, expected) in cases {
        let fields: Vec<_> = [basic].iter().chain(fields).copied().collect();
        for (method, path) in [
            ("GET", "/api/credentials/get.json"),
            ("POST", "/api/credentials/get.json"),
            ("GET", "/v3/mail/send"),
            ("POST", "/v3/stats"),
        ] {
            let (response, mut body) = ask(&mut client, method, path, &fields, method == "GET");
            if method == "POST" {
                body.send_data(Bytes::from_static(b""), true).unwrap();
            }
            let (status, text) = whole(response.await.unwrap()).await.unwrap();
            assert_eq!(status, expected, "{method} {path} {fields:?}: {}", text.escape_ascii());
        }
    }
}

#[test]
fn curl_with_the_fields_of_a_browser() {
    let backend = Backend::hello();
    let gateway = both(&backend, "");
    let url = |path: &str| format!("http://{}{path}", gateway.api());
    let add = url("/api/credentials/add.json?username=evil&password=evil-passw0rd");
    // An image of another site, as Chromium asks for it.
    let image =
        ["-H", "Sec-Fetch-Site: cross-site", "-H", "Sec-Fetch-Mode: no-cors", "-H", "Sec-Fetch-Dest: image"];
    let fetched = curl(&[&["-u", HOLDER, &add][..], &image].concat());
    assert_eq!(fetched.status, 403, "{}", fetched.text());
    // A form of another site, and one of the own.
    let sending = url("/api/mail.send.json");
    let own = format!("Origin: http://{}", gateway.api());
    for (origin, status) in [("Origin: https://evil.example", 403), (&own, 200)] {
        let fetched = curl(&["-u", ALL, "-d", "to=a", "-H", origin, &sending]);
        assert_eq!(fetched.status, status, "{origin}: {}", fetched.text());
    }
    assert_eq!(curl(&["-u", HOLDER, &add]).status, 200);
}
