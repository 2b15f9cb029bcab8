//! A secret is nowhere it need not be: not with the backend, in no log line, metric, answer or file.

use std::time::Instant;

use crate::common::backend::Backend;
use crate::common::forms::{MULTIPART, URLENCODED, form, text_fields};
use crate::common::http::{Connection, Request, get, request};
use crate::common::{Gateway, PATIENCE, api};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Every secret of these tests has this in it, so that none is missed.
const MARK: &str = "Hush4711";

fn start(backend: &Backend, more: &str) -> Gateway {
    let rest = format!(
        "[auth]\nbcrypt_cost = 4\nthrottle = false\n{}spool_memory = \"64KiB\"\nspool_directory = \"DIR\"\n{more}\
         [ops]\nlisten = \"127.0.0.1:0\"\n",
        api(backend.address)
    );
    Gateway::start(&rest)
}

/// A login with a secret of its own; `+` and `%` have to be encoded in a form.
fn login(name: &str) -> String {
    format!("{name}:{MARK}+{name}%1")
}

fn key(name: &str) -> String {
    login(name).split_once(':').unwrap().1.to_owned()
}

fn pair(name: &str) -> String {
    format!("api_user={name}&api_key={}", key(name).replace('%', "%25").replace('+', "%2B"))
}

/// Returns true if the bytes contain a part of a secret, in any of the spellings in which it was sent.
fn tells(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    // As the beginning of a secret stands in base64, by where in a group of three it begins.
    let encoded = (0..3).map(|shift| {
        let padded = STANDARD.encode(format!("{}{MARK}", "-".repeat(shift)));
        padded.trim_end_matches('=')[(shift * 4).div_ceil(3)..10].to_owned()
    });
    let mut encoded = encoded;
    text.contains(MARK) || encoded.any(|encoded| text.contains(&encoded))
}

#[test]
fn the_search_finds_what_it_is_for() {
    for name in ["a", "ab", "abc", "abcd"] {
        let basic = get("/").basic(&login(name)).bytes();
        assert!(tells(&basic), "{}", basic.escape_ascii());
        assert!(tells(pair(name).as_bytes()));
    }
    assert!(!tells(&get("/").basic("joe:another-secret").bytes()));
}

/// All the ways in which a secret comes in, good and bad, and then a look everywhere.
#[test]
fn no_trace_of_any_secret() {
    let backend = Backend::hello();
    let gateway = start(&backend, "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n");
    let names = ["acme", "cred-1", "cred-22", "cred-333"];
    let output = gateway.command(&["account", "add", "acme", "--password-stdin"], &key("acme"));
    assert!(output.status.success(), "{output:?}");
    let mut seen: Vec<(String, Vec<u8>)> =
        vec![("account add".into(), [output.stdout, output.stderr].concat())];
    let mut note = |what: &str, bytes: &[u8]| seen.push((what.to_owned(), bytes.to_vec()));
    let mut connection = Connection::open(gateway.api());
    let mut ask = |what: &str, request: Request, expected: u16| {
        let response = connection.exchange(request);
        assert_eq!(response.status, expected, "{what}: {}", response.text());
        note(what, format!("{:?}", response.headers).as_bytes());
        note(what, &response.body);
    };
    for (number, name) in names.iter().enumerate().skip(1) {
        let parameters = format!("username={name}&password={}", pair(name).rsplit_once('=').unwrap().1);
        let add = match number {
            1 => get(&format!("/api/credentials/add.json?{parameters}&{}", pair("acme"))),
            2 => form("/api/credentials/add.xml", URLENCODED, format!("{parameters}&{}", pair("acme"))),
            _ => form(
                "/api/credentials.add.json",
                MULTIPART,
                text_fields(&[
                    ("username", name),
                    ("password", &key(name)),
                    ("api_user", "acme"),
                    ("api_key", &key("acme")),
                ]),
            ),
        };
        ask("add", add, 200);
    }
    ask(
        "edit",
        get(&format!("/api/credentials/edit.json?username=cred-1&password={MARK}short"))
            .basic(&login("acme")),
        200,
    );
    ask(
        "edit back",
        get(&format!("/api/credentials/edit.json?username=cred-1&password={MARK}%2Bcred-1%251"))
            .basic(&login("acme")),
        200,
    );
    ask("get", get("/api/credentials/get.json").basic(&login("acme")), 200);
    for refused in [
        format!("/api/credentials/add.json?username=x&password={MARK}"),
        format!("/api/credentials/add.json?username=cred-1&password={MARK}abc"),
        format!("/api/credentials/add.json?username=bad%20name&password={MARK}abc"),
        format!("/api/credentials/add.json?username=good-name&password={MARK}%00"),
        format!("/api/credentials/add.json?username=good-name&password={MARK}&password={MARK}2"),
        format!("/api/credentials/add.json?api_key={MARK}&username=x"),
    ] {
        let request = get(&refused).basic(&login("acme"));
        let response = request.send(gateway.api());
        assert!((400..500).contains(&response.status), "{refused}: {}", response.status);
        seen.push((refused, response.body));
    }
    let mut connection = Connection::open(gateway.api());
    let mut note = |what: &str, bytes: &[u8]| seen.push((what.to_owned(), bytes.to_vec()));
    let mut ask = |what: &str, request: Request, expected: u16| {
        let response = connection.exchange(request);
        assert_eq!(response.status, expected, "{what}: {}", response.text());
        note(what, format!("{:?}", response.headers).as_bytes());
        note(what, &response.body);
    };
    for name in names {
        let (login, pair, key) = (login(name), pair(name), key(name));
        let urlencoded = format!("to=a&{pair}&text=b");
        let multipart = text_fields(&[
            ("to", "a"),
            ("api_user", name),
            ("api_key", &key),
            ("text", &"t".repeat(200_000)),
        ]);
        for (target, expected) in [("/v3/stats", 200), ("/open/a", 200)] {
            let with = format!("{target}?a=1&{pair}&b=2");
            ask("basic", get(target).basic(&login), expected);
            ask("query", get(&with), expected);
            ask("query, and basic", get(&with).basic(&login), expected);
            ask("urlencoded", form(target, URLENCODED, urlencoded.clone()), expected);
            ask("multipart", form(target, MULTIPART, multipart.clone()), expected);
            ask(
                "urlencoded, and basic",
                form(target, URLENCODED, urlencoded.clone()).basic(&login),
                expected,
            );
            ask("multipart, and basic", form(target, MULTIPART, multipart.clone()).basic(&login), expected);
            ask("urlencoded, and query", form(&with, URLENCODED, urlencoded.clone()), expected);
            ask("multipart, and query", form(&with, MULTIPART, multipart.clone()), expected);
            ask("all", form(&with, MULTIPART, multipart.clone()).basic(&login), expected);
            let chunked = request("POST", target)
                .header("Content-Type", MULTIPART)
                .basic(&login)
                .chunked(multipart.clone());
            ask("in chunks", chunked, expected);
        }
        // Wrong ones are somebody's secrets, too: often one letter away from the right one.
        let wrong = |text: &str| {
            text.replace(&format!("{MARK}+"), &format!("{MARK}-"))
                .replace(&format!("{MARK}%2B"), &format!("{MARK}-"))
        };
        ask("wrong basic", get("/v3/stats").basic(&wrong(&login)), 401);
        ask("wrong query", get(&format!("/v3/stats?{}", wrong(&pair))), 401);
        ask("wrong form", form("/v3/stats", URLENCODED, wrong(&pair)), 401);
        ask("wrong multipart", form("/v3/stats.xml", MULTIPART, wrong(&multipart)), 401);
        ask("unknown", get("/v3/stats").basic(&format!("unknown:{MARK}")), 401);
        ask(
            "not holder",
            get("/api/credentials/get.json").basic(&login),
            if name == "acme" { 200 } else { 403 },
        );
        ask("conflict", get(&format!("/v3/stats?{pair}")).basic(&wrong(&login)), 400);
        ask("half", get(&format!("/v3/stats?api_key={MARK}")), 400);
        ask("bearer", get("/v3/stats").header("Authorization", &format!("Bearer {MARK}")), 401);
        ask("not base64", get("/v3/stats").header("Authorization", &format!("Basic {MARK}!{MARK}")), 401);
        ask(
            "no colon",
            get("/v3/stats").header("Authorization", &format!("Basic {}", STANDARD.encode(MARK))),
            401,
        );
        ask("a bad path", get(&format!("/api%2fmail.send.json?{pair}")).basic(&login), 400);
        ask("a bad form", form("/v3/stats", MULTIPART, multipart.replace("--b--", "--b-")), 400);
    }
    // What isn't even a request.
    let basic = STANDARD.encode(login("acme"));
    for bytes in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nBad header\r\n\r\n"),
        format!("GET /?{} HTTP/9.9\r\nHost: a\r\n\r\n", pair("acme")),
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nContent-Length: x\r\n\r\n"),
        format!("GET http://acme:{MARK}@a/ HTTP/1.1\r\nHost: acme:{MARK}@a\r\n\r\n"),
        format!("GET http://acme:{MARK}@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nAuthorization: Basic {basic}\r\n\r\n"
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Type: {URLENCODED}\r\n\r\nx\r\napi_key={MARK}\r\n"
        ),
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(bytes.as_bytes());
        if let Some(response) = connection.try_response() {
            assert!((400..500).contains(&response.status), "{bytes}: {}", response.status);
            seen.push((bytes[..40].to_owned(), response.body));
        }
    }
    for received in backend.drain() {
        assert!(
            !tells(&received.raw),
            "at the backend: {}",
            received.raw[..received.raw.len().min(2000)].escape_ascii()
        );
        assert!(!received.target.contains("api_"), "{}", received.target);
        assert_eq!(received.header("authorization"), None);
        // Masked at the same length: x for each byte.
        if received.contains("name=\"api_key\"") {
            let masks: Vec<String> =
                names.iter().map(|name| format!("\r\n\r\n{}\r\n", "x".repeat(key(name).len()))).collect();
            assert!(
                masks.iter().any(|mask| received.contains(mask)),
                "{}",
                received.raw[..2000].escape_ascii()
            );
        }
    }
    seen.push(("metrics".into(), get("/metrics").send(gateway.address("ops.listen")).body));
    seen.push(("the log".into(), gateway.log().text().into_bytes()));
    for entry in std::fs::read_dir(gateway.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            seen.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    for process in ["cmdline", "environ"] {
        seen.push((
            process.into(),
            std::fs::read(format!("/proc/{}/{process}", gateway.child.id())).unwrap(),
        ));
    }
    assert!(seen.iter().any(|(what, _)| what.ends_with("gatepost.db")));
    for (what, bytes) in seen {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().find(|line| tells(line.as_bytes())).unwrap_or_default();
        assert!(!tells(&bytes), "{what}: {}", line.chars().take(500).collect::<String>());
    }
}

/// Where nobody has to present a credential, `api_key` may be somebody else's parameter: it doesn't arrive, and is no error.
#[test]
fn what_could_be_a_credential_is_taken_out_on_public_routes_and_not_judged() {
    let backend = Backend::hello();
    let gateway = start(&backend, "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n");
    let half = format!("a=1&api_key={MARK}&b=2");
    let contradicting = format!("api_user=a&api_user=b&api_key={MARK}&api_key={MARK}2&c");
    let long = format!("a=1&api_key={}&b=2", MARK.repeat(4096 / MARK.len() + 1));
    for parameters in [half, contradicting, format!("a=1;api_key={MARK}"), long] {
        let asked = [
            get(&format!("/open/a?{parameters}")),
            form("/open/a", URLENCODED, parameters.clone()),
            request("POST", "/open/a").header("Content-Type", URLENCODED).chunked(parameters.clone()),
        ];
        for request in asked {
            let response = request.send(gateway.api());
            assert_eq!(response.status, 200, "{}", response.text());
            let received = backend.next();
            assert!(!tells(&received.raw), "{}", received.raw.escape_ascii());
        }
    }
    // A form that some read and some don't could hide one.
    assert_eq!(form("/open/a", MULTIPART, "--b\nno form").send(gateway.api()).status, 400);
}

/// Unreadable parts of a backend's answer are not logged.
#[test]
fn a_garbled_answer_is_not_quoted() {
    let garbled = |line: &str| {
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: session={MARK}\r\n{line}\r\nContent-Length: 0\r\n\r\n")
    };
    let answers = ["no colon", "a name: x", "Transfer-Encoding: nonsense"].map(garbled);
    let backend = Backend::answering(move |request| {
        let number: usize = request.target[request.target.len() - 1..].parse().unwrap();
        answers[number].clone().into_bytes()
    });
    let gateway = start(&backend, "[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n");
    for number in 0..3 {
        for method in ["GET", "POST"] {
            let asked = request(method, &format!("/open/{number}")).send(gateway.api());
            assert!(asked.status == 502 || number > 0, "{method} {number}: {}", asked.status);
        }
    }
    gateway.log().wait_for(&["the backend failed"]);
    assert!(!tells(gateway.log().text().as_bytes()), "{}", gateway.log().text());
}

/// A body that is read before it is forwarded: the secret is masked before it is written to the temporary file.
#[test]
fn the_temporary_file_holds_no_secret() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    gateway.account("email,api,web").credential(&login("cred-1"), "api");
    let body =
        text_fields(&[("api_key", &key("cred-1")), ("file", &"t".repeat(300_000)), ("api_user", "cred-1")]);
    let bytes = form("/v3/stats", MULTIPART, body).bytes();
    let (most, rest) = bytes.split_at(bytes.len() - 20);
    let mut connection = Connection::open(gateway.api());
    connection.write(most);
    let descriptors = format!("/proc/{}/fd", gateway.child.id());
    let folder = gateway.directory.path().to_owned();
    let since = Instant::now();
    let spooled = loop {
        assert!(since.elapsed() < PATIENCE, "there is no temporary file");
        let open = std::fs::read_dir(&descriptors).unwrap().flatten().map(|entry| entry.path());
        let deleted = |path: &std::path::PathBuf| {
            std::fs::read_link(path)
                .is_ok_and(|to| to.starts_with(&folder) && to.to_string_lossy().ends_with("(deleted)"))
        };
        let contents = open.filter(deleted).find_map(|path| std::fs::read(path).ok());
        match contents {
            Some(contents) if contents.len() > 100_000 => break contents,
            _ => std::thread::yield_now(),
        }
    };
    assert!(!tells(&spooled), "{}", spooled[..200].escape_ascii());
    assert!(spooled.starts_with(b"--b\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\nxxxx"));
    connection.write(rest);
    assert_eq!(connection.read_response().status, 200);
}

/// What pingora says of requests and answers, headers and all, it says by way of the crate `log`. Our log hears nothing of
/// it as long as nothing carries that over, which the crate below does by itself as soon as it is there.
#[test]
fn nothing_carries_the_lines_of_libraries_into_the_log() {
    // Of the program alone: what its tests depend on may have that feature.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = std::process::Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let crates = String::from_utf8(output.stdout).unwrap();
    assert!(crates.contains("tracing-subscriber v"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!crates.contains("tracing-log v"), "tracing-subscriber has its feature `tracing-log`");
}

/// Two places with different values are refused, also where the second one streams past; the same value twice is fine.
#[test]
fn places_that_contradict_each_other() {
    let backend = Backend::hello();
    let gateway = start(&backend, "");
    gateway.account("email,api,web").credential(&login("cred-1"), "api").credential(&login("cred-2"), "api");
    let multipart =
        |user: &str, secret: &str| text_fields(&[("to", "a"), ("api_user", user), ("api_key", secret)]);
    let (one, two) = (login("cred-1"), pair("cred-2"));
    let query = |more: &str| format!("/v3/stats?{}{more}", pair("cred-1"));
    let chunked =
        |kind: &str, body: String| request("POST", "/v3/stats").header("Content-Type", kind).chunked(body);
    let large = format!("{}{}", "t=t&".repeat(9_000), two);
    let cases = [
        ("basic and query", get(&format!("/v3/stats?{two}")).basic(&one)),
        ("basic and the key in the query", get("/v3/stats?api_key=other").basic(&one)),
        ("basic and urlencoded", form("/v3/stats", URLENCODED, two.clone()).basic(&one)),
        ("basic and urlencoded, large", form("/v3/stats", URLENCODED, large).basic(&one)),
        ("basic and urlencoded, in chunks", chunked(URLENCODED, two.clone()).basic(&one)),
        (
            "basic and multipart",
            form("/v3/stats", MULTIPART, multipart("cred-2", &key("cred-2"))).basic(&one),
        ),
        ("basic and another key", form("/v3/stats", MULTIPART, multipart("cred-1", "other")).basic(&one)),
        (
            "basic and another user",
            form("/v3/stats", MULTIPART, multipart("cred-2", &key("cred-1"))).basic(&one),
        ),
        (
            "basic and multipart, in chunks",
            chunked(MULTIPART, multipart("cred-2", &key("cred-2"))).basic(&one),
        ),
        ("basic and no type", request("POST", "/v3/stats").basic(&one).body(two.clone())),
        ("basic and no type, in chunks", request("POST", "/v3/stats").basic(&one).chunked(two.clone())),
        ("query and no type", request("POST", &query("")).body(two.clone())),
        ("query and urlencoded", form(&query(""), URLENCODED, two.clone())),
        ("query and multipart", form(&query(""), MULTIPART, multipart("cred-2", &key("cred-2")))),
        ("twice in the query", get(&query(&format!("&{two}")))),
        ("twice in the query, the key", get(&query("&api_key=other"))),
        ("twice in a form", form("/v3/stats", URLENCODED, format!("{}&{two}", pair("cred-1")))),
        (
            "twice in a form, the user",
            form("/v3/stats", URLENCODED, format!("{}&api_user=cred-2", pair("cred-1"))),
        ),
        ("two headers", get("/v3/stats").basic(&one).basic(&login("cred-2"))),
        ("two headers, the same", get("/v3/stats").basic(&one).basic(&one)),
    ];
    for (what, request) in cases {
        let response = request.send(gateway.api());
        assert_eq!(response.status, 400, "{what}: {}", response.text());
        // What is half-way to the backend when it shows stays half a request.
        assert_eq!(get("/v3/sentinel").basic(&one).send(gateway.api()).status, 200);
        let reached: Vec<_> = std::iter::once(backend.next()).chain(backend.drain()).collect();
        let targets: Vec<&str> = reached.iter().map(|r| &r.target[..]).collect();
        assert_eq!(targets, ["/v3/sentinel"], "{what}: {reached:?}");
    }
    let agreeing = [
        get(&query("")).basic(&one),
        form(&query(""), URLENCODED, pair("cred-1")).basic(&one),
        request("POST", &query("")).body(pair("cred-1")).basic(&one),
        form("/v3/stats", MULTIPART, multipart("cred-1", &key("cred-1"))).basic(&one),
        get(&query(&format!("&{}", pair("cred-1")))),
        get(&query("")).basic("CRED-1:Hush4711+cred-1%1"),
    ];
    for (number, request) in agreeing.into_iter().enumerate() {
        let status = request.send(gateway.api()).status;
        // Whether names that differ in case are one or two places that differ is open; neither may tell a secret.
        assert!(status == 200 || number == 5 && status == 400, "{number}: {status}");
    }
    assert!(backend.drain().iter().all(|received| !tells(&received.raw)));
}
