//! Forms that backends read in ways of their own: which boundary they take, and which names they take for a credential's.
//! Express, Rack, PHP and Werkzeug stand behind the gateway (tests/clients/install), and whatever they read as `api_user` or `api_key`
//! was judged.

use std::net::SocketAddr;
use std::process::Command;

use crate::common::backend::Backend;
use crate::common::forms::{MULTIPART, URLENCODED, form, text_fields};
use crate::common::http::{Connection, Request, get};
use crate::common::servers::{Server, script};
use crate::common::{Gateway, HOLDER, api, installed};

const CALLER: &str = "apionly:passw0rd-call";
const SECRET: &str = "passw0rd-call";
/// The other user's name that a field tries to bring in.
const OTHER: &str = "somebody-else";

fn gateway(upstream: SocketAddr) -> Gateway {
    let gateway = Gateway::start(&api(upstream));
    gateway.account("email,api,web").credential(CALLER, "api");
    gateway
}

/// A form of two fields and a file that nearly holds the boundary.
fn upload(boundary: &str, login: Option<(&str, &str)>) -> String {
    let part = |attributes: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; {attributes}\r\n\r\n{value}\r\n")
    };
    let file = part("name=\"f\"; filename=\"a\"", &format!("\0\u{fc}\r\n-{boundary}\r\n--"));
    let (user, key) = login.map_or(("", ""), |login| login);
    let credential = login.map(|_| part("name=\"api_user\"", user) + &part("name=\"api_key\"", key));
    part("name=\"to\"", "a@b") + &file + &credential.unwrap_or_default() + &format!("--{boundary}--\r\n")
}

#[test]
fn a_boundary_may_be_any_that_all_parsers_find() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let mut connection = Connection::open(gateway.api());
    for (attributes, boundary) in [
        ("boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
        ("charset=x; boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"),
        ("boundary=----geckoformboundaryX", "----geckoformboundaryX"),
        ("boundary=dart-http-boundary-x", "dart-http-boundary-x"),
        ("boundary=Boundary-X; charset=utf-8", "Boundary-X"),
        ("boundary=alamofire.boundary.x", "alamofire.boundary.x"),
        ("boundary=axios-1.21.1-boundary-x", "axios-1.21.1-boundary-x"),
        ("boundary=boundary", "boundary"),
        ("boundary=\"boundary\"", "boundary"),
        ("boundary=\"a boundary\"", "a boundary"),
        // Of Java and Android.
        ("boundary=----=_Part_0_123.456", "----=_Part_0_123.456"),
        ("boundary====1419161730====", "===1419161730===="),
        ("boundary=*****", "*****"),
        ("boundary=*****1419161730*****; charset=utf-8", "*****1419161730*****"),
        ("boundary=\"*****\"", "*****"),
        ("boundary=a'()+_-./:=?z", "a'()+_-./:=?z"),
        ("Boundary=\"----=_Part_1(2)'+_./:=?\" ; x=\"y;z\"", "----=_Part_1(2)'+_./:=?"),
    ] {
        let kind = format!("multipart/form-data; {attributes}");
        let body = upload(boundary, None);
        let response = connection.exchange(form("/api/a.json", &kind, body.clone()).basic(CALLER));
        assert_eq!(response.status, 200, "{kind}: {}", response.text());
        let received = backend.next();
        assert_eq!(received.header("content-type"), Some(kind.as_str()));
        assert!(received.body == body.as_bytes(), "{kind}");
        let body = upload(boundary, Some(("apionly", SECRET)));
        let response = connection.exchange(form("/api/a.json", &kind, body));
        assert_eq!(response.status, 200, "{kind}: {}", response.text());
        let masked = upload(boundary, Some(("xxxxxxx", "xxxxxxxxxxxxx")));
        assert!(backend.next().body == masked.as_bytes(), "{kind}");
        // A call of the management API is read by the same rule.
        let body = upload(boundary, None).replace("\"to\"", "\"username\"").replace("a@b", "nobody");
        let call = form("/api/credentials/get.json", &kind, body).basic(HOLDER);
        assert_eq!(connection.exchange(call).status, 404, "{kind}");
    }
    assert!(backend.drain().is_empty());
}

/// A credential that only the reader of the other boundary would see.
#[test]
fn a_boundary_that_parsers_find_differently_is_refused() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let mut connection = Connection::open(gateway.api());
    for attributes in [
        "boundary=AA; boundary=BB",
        "BOUNDARY=AA; boundary=BB",
        "boundary=BB; boundary*=utf-8''AA",
        "xboundary=AA; boundary=BB",
        "x=\"boundary=AA; \"; boundary=BB",
        "boundaryx=AA; boundary=BB",
        "BOUNDARY=geckoboundaryX; charset=AA",
        "boundary=BB; x=\"boundary=AA\"",
        "boundary=\"xboundary=AA\"",
        "boundary=\"AA,b\"",
        "boundary=AA,b",
        "boundary=\"A\\A\"",
        "boundary='AA'",
        "boundary= AA",
        "x=y",
    ] {
        let kind = format!("multipart/form-data; {attributes}");
        for path in ["/api/a.json", "/api/credentials/get.json"] {
            let body = upload("AA", Some((OTHER, "s")));
            let response = connection.exchange(form(path, &kind, body).basic(HOLDER));
            assert_eq!(response.status, 400, "{path} {kind}");
            assert!(response.text().contains("malformed form: "), "{kind}: {}", response.text());
        }
    }
    assert!(backend.drain().is_empty());
}

/// Lines that Werkzeug, which cuts a boundary without quotes, takes for the start of a part, wherever they stand.
#[test]
fn a_delimiter_of_a_cut_boundary_is_refused() {
    let python = installed("parsers/bin/python");
    let werkzeug = Server::start(Command::new(python).arg(script("fields.py")), 1);
    let werkzeug = SocketAddr::from(([127, 0, 0, 1], werkzeug.ports[0]));
    let gateway = gateway(werkzeug);
    let mut connection = Connection::open(gateway.api());
    let field = format!("Content-Disposition: form-data; name=\"api_user\"\r\n\r\n{OTHER}");
    let mut read = 0;
    for (boundary, short) in [("----=_Part_0_1.2", "----"), ("a:b", "a"), ("a(b", "a"), ("1419===", "1419")] {
        let delimiter = format!("--{short}");
        for start in ["\r\n{}\r\n", "\n{}\n", "\r{}\r", "\r\n{} \t\x0c\r\n", "x{}\r\n", "-{}\n"] {
            let hidden = format!("{start}{field}\r\n{{}}--\r\n").replace("{}", &delimiter);
            let to = "Content-Disposition: form-data; name=\"to\"\r\n\r\na@b\r\n";
            let end = format!("--{boundary}--\r\n");
            let note = "Content-Disposition: form-data; name=\"note\"\r\n\r\nx";
            let body = format!("--{boundary}\r\n{to}--{boundary}\r\n{note}{hidden}{end}");
            let kind = |quote| format!("multipart/form-data; boundary={quote}{boundary}{quote}");
            let (_, answer) =
                read_by(&mut Connection::open(werkzeug), form("/api/a.json", &kind(""), body.clone()));
            assert!(answer.contains(OTHER), "{hidden:?}: {answer}");
            read += 1;
            let request = |quote| form("/api/a.json", &kind(quote), body.clone()).basic(CALLER);
            let (status, answer) = read_by(&mut connection, request(""));
            assert_eq!(status, 400, "{body:?}");
            assert!(answer.contains("put the boundary in quotes"), "{answer}");
            let (status, answer) = read_by(&mut connection, request("\""));
            assert!(status == 200 && !answer.contains(OTHER), "{status} {answer}");
        }
        // Many dashes are the end of a form for Werkzeug, which reads nothing of it then.
        let head = "Content-Disposition: form-data; name=\"note\"";
        let note = format!("{head}\r\n\r\n---------- Forwarded message ----------\r\n{field}\r\n");
        let body = format!("--{boundary}\r\n{note}--{boundary}--\r\n");
        let kind = format!("multipart/form-data; boundary={boundary}");
        let (status, answer) = read_by(&mut connection, form("/api/a.json", &kind, body).basic(CALLER));
        assert!(status == 200 && !answer.contains(OTHER), "{status} {answer}");
    }
    assert_eq!(read, 24);
}

/// Werkzeug and Rack look for a header up to the next blank line, wherever a part begins without one.
#[test]
fn a_field_in_a_part_without_a_header_is_refused() {
    let python = installed("parsers/bin/python");
    let werkzeug = Server::start(Command::new(python).arg(script("fields.py")), 1);
    let ruby = Server::start(Command::new("ruby").arg(script("fields.rb")), 1);
    for port in [werkzeug.ports[0], ruby.ports[0]] {
        let backend = SocketAddr::from(([127, 0, 0, 1], port));
        let gateway = gateway(backend);
        let field = format!("Content-Disposition: form-data; name=\"api_user\"\r\n\r\n{OTHER}");
        let hidden = format!("--b\r\n\r\n{field}\r\n--b--\r\n");
        let request = || form("/api/a.json", MULTIPART, hidden.clone());
        let (_, answer) = read_by(&mut Connection::open(backend), request());
        assert!(answer.contains(OTHER), "{answer}");
        assert_eq!(request().basic(CALLER).send(gateway.api()).status, 400);
        let management = form("/api/credentials/get.json", MULTIPART, hidden.clone()).basic(HOLDER);
        let response = management.send(gateway.api());
        assert_eq!(response.status, 400);
        assert!(response.text().contains("outside of the header of a part"), "{}", response.text());
        let plain = form("/api/a.json", MULTIPART, "--b\r\n\r\ntext\r\n--b--\r\n").basic(CALLER);
        assert_ne!(plain.send(gateway.api()).status, 400);
    }
}

/// Django takes what stands before the first boundary, or after the last one, for a part.
#[test]
fn a_field_outside_of_the_boundaries_is_refused() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let form_of = |before: &str, after: &str| {
        let body = format!("{before}{}{after}", text_fields(&[("to", "a@b")]));
        form("/api/a.json", MULTIPART, body).basic(CALLER).send(gateway.api()).status
    };
    let field = format!("Content-Disposition: form-data; name=\"api_user\"\r\n\r\n{OTHER}\r\n");
    assert_eq!((form_of(&field, ""), form_of("", &field)), (400, 400));
    assert!(backend.drain().is_empty());
    assert_eq!(form_of("This is a message in several parts.\r\n\r\n", "and this its end\r\n"), 200);
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Query,
    Urlencoded,
    Multipart,
}

impl Place {
    /// A request with these fields, whose names are written as they are.
    fn request(self, path: &str, fields: &[(&str, &str)]) -> Request {
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        match self {
            Place::Query => get(&format!("{path}?{}", pairs.join("&"))),
            Place::Urlencoded => form(path, URLENCODED, pairs.join("&")),
            Place::Multipart => form(path, MULTIPART, text_fields(fields)),
        }
    }
}

/// The rule of docs/security.md, written once more: whether this name, as written, is a credential's. `;` separates, too.
fn is_recognized(written: &str, place: Place) -> bool {
    let mut names = written.split(|c| c == ';' && place != Place::Multipart);
    names.any(|name| {
        let mut name = decoded(name);
        if place == Place::Multipart {
            name = name.trim_matches([' ', '/', '\\', '\'', '"']).to_owned();
        }
        let name = name.trim_start_matches(['[', ']', '.', '?', ' ', '\n', '\u{feff}']).to_ascii_lowercase();
        let Some(rest) = name.strip_prefix("api").and_then(|rest| rest.strip_prefix(['_', '.', ' ', '[']))
        else {
            return false;
        };
        let Some(rest) = rest.strip_prefix("user").or_else(|| rest.strip_prefix("key")) else { return false };
        let after = rest.trim_start_matches([' ', '\n']);
        after.is_empty() || after.starts_with(['[', ']', '.', '\0'])
    })
}

fn decoded(name: &str) -> String {
    let mut rest = name;
    let mut bytes = Vec::new();
    while let Some(first) = rest.chars().next() {
        let digits =
            |at: usize, len: usize| rest.get(at..at + len).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let wide = rest.strip_prefix("%u").and(digits(2, 4)).and_then(char::from_u32);
        if let Some(byte) = digits(1, 2).filter(|_| first == '%') {
            bytes.push(byte as u8);
            rest = &rest[3..];
        } else if let Some(wide) = wide {
            bytes.extend(wide.to_string().bytes());
            rest = &rest[6..];
        } else {
            bytes.extend(first.to_string().replace('+', " ").bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names near `key`: with a token at each of its places, and instead of its `_`; and some more.
fn names_near(key: &str, place: Place) -> Vec<String> {
    const TOKENS: [&str; 26] = [
        "[",
        "%5B",
        "]",
        "%5D",
        "[]",
        "%5B%5D",
        "[x]",
        ".",
        "%2E",
        "+",
        "%20",
        "%00",
        "%0A",
        "?",
        "%3F",
        "%",
        "%25",
        "%u005b",
        "%5F",
        "_",
        "-",
        ";",
        "%C2%A0",
        "%EF%BB%BF",
        "x",
        "'",
    ];
    let mut names = Vec::new();
    for token in TOKENS {
        names.extend((0..=key.len()).map(|at| format!("{}{token}{}", &key[..at], &key[at..])));
        names.push(key.replace('_', token));
    }
    for template in [
        "{}",
        "%61{}",
        "[[{}]]",
        "[{}][x]",
        "{}[$ne]",
        "{}[x]y",
        "{}]x",
        "x[{}]",
        "[x][{}]",
        "my_{}",
        "{}s",
        "{}_id",
        "%u0061{}",
        "a=1;{}",
        "amp;{}",
        "??{}",
        "+[{}",
        "{}%00[x]",
        "\u{feff}{}",
        "[+{}]",
        "{}[x",
        ".[{}].x",
    ] {
        let rest = if template.ends_with("61{}") { &key[1..] } else { key };
        names.push(template.replace("{}", rest));
    }
    // PHP's server takes no target with such bytes.
    names.retain(|name| name.is_ascii() || place != Place::Query);
    names
}

/// The status of an answer, and what the backend says that it read.
fn read_by(connection: &mut Connection, request: Request) -> (u16, String) {
    let response = connection.exchange(request);
    (response.status, response.text())
}

/// Each name in each place: what the backend reads without the gateway, and what becomes of it behind it.
fn check_names(gateway: SocketAddr, backend: SocketAddr, path: &str, place: Place) -> [usize; 3] {
    let (mut direct, mut behind) = (Connection::open(backend), Connection::open(gateway));
    let [mut read, mut refused, mut passed] = [0; 3];
    let keys = [("api_user", "api_key", "apionly", SECRET), ("api_key", "api_user", SECRET, "apionly")];
    for (key, other_key, own, other_own) in keys {
        for name in names_near(key, place) {
            let what = format!("{path} {place:?} {name}");
            let contradicts = [(name.as_str(), OTHER), ("z", "1")];
            let (_, answer) = read_by(&mut direct, place.request(path, &contradicts));
            let is_read = answer.contains(OTHER);
            let (status, answer) = read_by(&mut behind, place.request(path, &contradicts).basic(CALLER));
            assert!(!answer.contains(OTHER), "{what}: {answer}");
            let is_refused = status == 400;
            assert_eq!(is_refused, is_recognized(&name, place), "{what}: {status} {answer}");
            read += usize::from(is_read);
            refused += usize::from(is_refused);
            passed += usize::from(!is_refused);
            if is_read {
                let agrees = [(name.as_str(), own), (other_key, other_own)];
                let (status, answer) = read_by(&mut behind, place.request(path, &agrees).basic(CALLER));
                assert!(
                    status == 400 || !answer.contains("apionly") && !answer.contains(SECRET),
                    "{what}: {answer}"
                );
                assert!(status == 200 || name.contains(';'), "{what}: {status} {answer}");
            }
        }
    }
    [read, refused, passed]
}

/// Names of fields, with brackets, dots, blanks and escapes where backends drop them: what one of them reads as `api_user` or
/// `api_key` is judged, and what none of them does passes.
#[test]
fn whatever_a_backend_reads_as_a_credential_is_judged() {
    let modules = installed("express/node_modules");
    let node = Server::start(Command::new("node").arg(script("fields.js")).arg(modules), 4);
    let ruby = Server::start(Command::new("ruby").arg(script("fields.rb")), 1);
    let php = Server::start(Command::new("php").args(["-S", "127.0.0.1:0"]).arg(script("fields.php")), 1);
    let ports = [&node.ports[..], &ruby.ports, &php.ports].concat();
    let backends: Vec<(String, SocketAddr)> =
        ["express4", "express4-plain", "express5", "express5-plain", "rack", "php"]
            .iter()
            .zip(&ports)
            .map(|(name, port)| (name.to_string(), SocketAddr::from(([127, 0, 0, 1], *port))))
            .collect();
    let mut config = api(backends[0].1);
    for (name, address) in &backends {
        config += &format!(
            "[[api.group]]\nname = \"{name}\"\nupstreams = [\"http://{address}\"]\n\
             [[api.route]]\npath = \"/{name}/*\"\npermission = \"api\"\ngroup = \"{name}\"\n"
        );
    }
    let gateway = Gateway::start(&config);
    gateway.account("email,api,web").credential(CALLER, "api");
    let address = gateway.api();
    let checks: Vec<_> = backends
        .into_iter()
        .map(|(name, backend)| {
            std::thread::spawn(move || {
                for place in [Place::Query, Place::Urlencoded, Place::Multipart] {
                    let [read, refused, passed] = check_names(address, backend, &format!("/{name}/x"), place);
                    println!("{name} {place:?}: {read} read, {refused} refused, {passed} passed");
                    assert!(read > 0 && refused > 0 && passed > 100, "{name} {place:?}");
                }
            })
        })
        .collect();
    let failed = checks.into_iter().map(|check| check.join()).filter(Result::is_err).count();
    assert_eq!(failed, 0, "backends that read what wasn't judged");
}

/// Fields that no backend reads as a credential arrive as they were written.
#[test]
fn names_that_only_resemble_a_credential_pass_unchanged() {
    let backend = Backend::hello();
    let gateway = gateway(backend.address);
    let mut connection = Connection::open(gateway.api());
    let mut passed = 0;
    for place in [Place::Query, Place::Urlencoded, Place::Multipart] {
        for name in names_near("api_user", place).iter().chain(&names_near("api_key", place)) {
            let fields = [(name.as_str(), OTHER), ("to", "a@b")];
            let response = connection.exchange(place.request("/api/a.json", &fields).basic(CALLER));
            assert_eq!(response.status == 400, is_recognized(name, place), "{place:?} {name}");
            if response.status != 400 {
                let received = backend.next();
                let expected = place.request("/api/a.json", &fields).bytes();
                assert!(expected.ends_with(&received.body), "{place:?} {name}");
                assert!(
                    expected[expected.iter().position(|b| *b == b' ').unwrap() + 1..]
                        .starts_with(received.target.as_bytes())
                );
                passed += 1;
            }
        }
    }
    assert!(passed > 900, "{passed}");
    // A fragment is cut off by some servers, and with it what ends the name.
    let response = connection.exchange(get("/api/a.json?api_user#x=1").basic(CALLER));
    assert_eq!(response.status, 400);
    assert!(backend.drain().is_empty());
}
