//! Fields of a request that reach a backend, and those that only some clients, or none, may set.

use crate::common::Gateway;
use crate::common::backend::Backend;
use crate::common::callers::{API, with_caller};
use crate::common::http::{Connection, get, request};
use crate::common::open_api;

// Case A7: only the header that carried the credential is removed.
#[test]
fn an_authorization_that_is_no_credential_is_the_backends() {
    let backend = Backend::hello();
    let gateway = with_caller(&backend, "");
    let mut connection = Connection::open(gateway.api());
    let query = "/v2/a?api_user=caller&api_key=passw0rd-call";
    for value in
        ["Bearer x", "bearer a.b.c", "Digest username=\"a\"", "AWS4-HMAC-SHA256 Credential=x", "Token t"]
    {
        assert_eq!(connection.exchange(get(query).header("Authorization", value)).status, 200, "{value}");
        assert_eq!(backend.next().header("authorization"), Some(value));
        let body = "api_user=caller&api_key=passw0rd-call";
        let kind = "application/x-www-form-urlencoded";
        let form =
            request("POST", "/v2/a").header("Content-Type", kind).header("Authorization", value).body(body);
        assert_eq!(connection.exchange(form).status, 200, "{value}");
        assert_eq!(backend.next().header("authorization"), Some(value));
    }
    for way in [get("/v2/a").basic(API), get(query).basic(API)] {
        assert_eq!(connection.exchange(way).status, 200);
        let received = backend.next();
        assert!(received.header("authorization").is_none() && !received.contains("passw0rd"));
    }
    assert_eq!(connection.exchange(get("/v2/a").header("Authorization", "Bearer x")).status, 401);
}

/// The names that reach a backend of a client that sends them all.
fn reaching(gateway: &Gateway, backend: &Backend, names: &[String]) -> Vec<String> {
    let request = names.iter().fold(get("/open/a"), |request, name| request.header(name, "192.0.2.66"));
    assert_eq!(request.send(gateway.api()).status, 200, "{names:?}");
    let received = backend.next();
    let from_client = received.headers.iter().filter(|(_, value)| value == "192.0.2.66");
    from_client.map(|(name, _)| name.clone()).collect()
}

/// A name as it is, and with other characters for its hyphens.
fn spellings(name: &str) -> Vec<String> {
    let mut all: Vec<_> = ["_", ".", "~"].iter().map(|other| name.replace('-', other)).collect();
    all.push(name.to_ascii_uppercase());
    all.push(name.to_owned());
    all
}

const OF_PROXIES: [&str; 24] = [
    "X-ProxyUser-Ip",
    "X-Original-Remote-Addr",
    "Ali-CDN-Real-IP",
    "X-Vercel-Forwarded-For",
    "X-Any-Proxy-Client-IP",
    "X-Custom-IP-Authorization",
    "Fastly-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Forward-For",
    "WL-Proxy-Client-IP",
    "Proxy-Client-IP",
    "Cluster-Client-IP",
    "X-Originating-IP",
    "X-Remote-Addr",
    "X-Remote-IP",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Forwarded-For",
    "Fly-Client-IP",
    "X-Original-Host",
    "X-Host",
    "Front-End-Https",
];

// Case A14: fields of proxies, in any spelling, are removed from clients that are not trusted.
#[test]
fn fields_of_proxies_come_from_trusted_ones_alone() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, ""));
    let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let trusting = Gateway::start(&format!("{trusting}{}", open_api(backend.address, "")));
    for name in OF_PROXIES {
        assert_eq!(reaching(&gateway, &backend, &spellings(name)), Vec::<String>::new(), "{name}");
        assert_eq!(reaching(&trusting, &backend, &[name.to_owned()]).len(), 1, "{name}");
    }
}

// Case A14: fields that choose another path, proxy or framing are removed from everybody.
#[test]
fn fields_that_redirect_a_request_come_from_nobody() {
    let backend = Backend::hello();
    let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    for rest in ["", trusting] {
        let gateway = Gateway::start(&format!("{rest}{}", open_api(backend.address, "")));
        for name in
            ["X-Override-URL", "X-HTTP-DestinationURL", "X-Original-URL", "X-HTTP-Method-Override", "Proxy"]
        {
            assert_eq!(reaching(&gateway, &backend, &spellings(name)), Vec::<String>::new(), "{name}");
        }
        for name in [
            "Transfer_Encoding",
            "Content_Length",
            "Content.Length",
            "Transfer.Encoding",
            "Content_Type",
            "Content_Encoding",
            "Proxy_Authorization",
        ] {
            assert_eq!(reaching(&gateway, &backend, &[name.to_owned()]), Vec::<String>::new(), "{name}");
        }
        for name in [
            "X-Proxy",
            "Proxy-Status",
            "X-Client-Version",
            "X-Real",
            "Content-Language",
            "X_Custom",
            "Cookie2",
            "Priority",
        ] {
            assert_eq!(reaching(&gateway, &backend, &[name.to_owned()]).len(), 1, "{name}");
        }
    }
}

// Case A8: X-Forwarded-Port, -Prefix and -Server of a trusted proxy are believed.
#[test]
fn forwarded_fields_of_a_trusted_proxy_are_passed_on() {
    let backend = Backend::hello();
    let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    for (rest, believed) in [("", false), (trusting, true)] {
        let gateway = Gateway::start(&format!("{rest}{}", open_api(backend.address, "")));
        for (name, value) in [
            ("X-Forwarded-Port", "8443"),
            ("X-Forwarded-Prefix", "/app"),
            ("X-Forwarded-Server", "edge-1"),
            ("X-Forwarded-Ssl", "on"),
            ("X-Forwarded-Scheme", "https"),
        ] {
            assert_eq!(get("/open/a").header(name, value).send(gateway.api()).status, 200);
            assert_eq!(backend.next().header(name), believed.then_some(value), "{name}");
            // A spelling that a backend takes for the same never arrives.
            let spelt = name.replace('-', "_");
            assert_eq!(get("/open/a").header(&spelt, value).send(gateway.api()).status, 200);
            assert_eq!(backend.next().header(&spelt), None, "{spelt}");
        }
        for name in ["X-Forwarded-User", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Email"] {
            assert_eq!(get("/open/a").header(name, "x").send(gateway.api()).status, 200);
            assert_eq!(backend.next().header(name), None, "{name}");
        }
    }
}
