//! The source of failures and of connections over HTTP: the client that a trusted proxy names, otherwise the peer of the connection.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::common::accounts::add_account;
use crate::common::backend::{Backend, Received};
use crate::common::http::{Connection, get};
use crate::common::mail::metric;
use crate::common::{Gateway, HOLDER, PATIENCE, open_api};

/// A gateway behind proxies at these addresses.
fn behind(proxies: &str) -> (Gateway, Backend) {
    let backend = Backend::hello();
    let server = format!(
        "[server]\nthreads = 2\ntrusted_proxies = [\"{proxies}\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n"
    );
    let gateway = Gateway::start(&format!("{server}{}", open_api(backend.address, "")));
    gateway.account("email,api,web");
    (gateway, backend)
}

/// A guess at somebody's password, never the same, sent on for this client; its status.
fn guess(gateway: &Gateway, forwarded_for: &str, number: usize) -> u16 {
    let login = format!("guess-{number}:passw0rd-0");
    get("/api/a.json").basic(&login).header("X-Forwarded-For", forwarded_for).send(gateway.api()).status
}

const BY_SOURCE: &str = "gatepost_throttled_total{by=\"source\",entry=\"api\"}";

#[test]
fn who_is_no_proxy_names_nobody() {
    let (gateway, _backend) = behind("192.0.2.250");
    let throttled = (0..60).any(|number| guess(&gateway, &format!("192.0.2.{number}"), number) == 429);
    assert!(throttled, "another name each time, and it may guess on");
    assert!(metric(&gateway, BY_SOURCE) >= 1);
    gateway.log().wait_for(&["\"throttled\"", "\"source\":\"127.0.0.1\""]);
    assert!(!gateway.log().text().contains("\"source\":\"192.0.2."));
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let (gateway, _backend) = behind("127.0.0.1");
    // What the client itself said before the proxy did is no name, and changes nothing.
    let guesser = |number: usize| format!("198.51.100.{number}, 192.0.2.1");
    assert_eq!(guess(&gateway, &guesser(0), 0), 401);
    assert!((1..60).any(|number| guess(&gateway, &guesser(number), number) == 429), "it may guess on");
    assert!(metric(&gateway, BY_SOURCE) >= 1);
    gateway.log().wait_for(&["\"throttled\"", "\"source\":\"192.0.2.1\""]);
    // Others behind the same proxy have their own failures.
    assert_eq!(guess(&gateway, "192.0.2.2", 100), 401);
    gateway.log().wait_for(&["\"guess-100\"", "\"unknown\"", "\"source\":\"192.0.2.2\""]);
    let right = get("/api/a.json").basic(HOLDER).header("X-Forwarded-For", "192.0.2.2").send(gateway.api());
    assert_eq!(right.status, 200);
    assert!(!gateway.log().text().contains("\"source\":\"127.0.0.1\""));
}

/// What could not be read as a request has the same source, if its fields could be read.
#[test]
fn a_trusted_proxy_names_the_client_of_an_invalid_request() {
    let (gateway, _backend) = behind("127.0.0.1");
    for (beginning, source) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a", "192.0.2.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x", "192.0.2.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\nb", "127.0.0.1"),
    ] {
        let mut connection = Connection::open(gateway.api());
        connection.write(format!("{beginning}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n").as_bytes());
        let response = connection.read_response();
        assert_eq!(response.status, 400);
        let id = response.header("x-request-id").unwrap();
        for target in ["refusal", "access"] {
            let line = gateway.log().wait_for(&[id, &format!("\"target\":\"{target}\"")]);
            assert!(line.contains(&format!("\"source\":\"{source}\"")), "{line}");
        }
    }
}

/// An answer without what differs each time.
fn answer(gateway: &Gateway, from: &str, login: &str) -> (u16, BTreeMap<String, String>, String) {
    let response = get("/api/a.json").basic(login).header("X-Forwarded-For", from).send(gateway.api());
    let mut headers: BTreeMap<_, _> =
        response.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    headers.remove("date");
    let id = headers.remove("x-request-id").expect("each answer has an ID");
    (response.status, headers, response.text().replace(&id, "ID"))
}

// Case F6: no answer tells of a name, from a source that is throttled or not.
#[test]
fn answers_are_the_same_for_all_names() {
    let (gateway, _backend) = behind("127.0.0.1");
    gateway.credential("joe:passw0rd-0", "api");
    add_account(&gateway.config(), "asleep", "passw0rd-0", "api");
    assert!(gateway.command(&["account", "suspend", "asleep"], "").status.success());
    let shared = "192.0.2.1";
    assert_eq!(answer(&gateway, shared, "joe:passw0rd-0").0, 200);
    let logins = ["joe:guess", "acme:guess", "nobody:guess", "no body:guess", "asleep:passw0rd-0"];
    let all = |from: &str, round: usize| {
        std::thread::scope(|scope| {
            let answers = logins.map(|login| {
                let (gateway, login) = (&gateway, format!("{login}-{round}").replace("0-1", "0"));
                scope.spawn(move || answer(gateway, from, &login))
            });
            answers.map(|answer| answer.join().unwrap())
        })
    };
    let answers = all("192.0.2.2", 1);
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // Until the delay is that of several seconds.
    let delayed = |number| {
        let guess = format!("guess-{number}:passw0rd-0");
        let (status, headers, _) = answer(&gateway, shared, &guess);
        status == 429 && headers["retry-after"].parse::<u64>().unwrap() >= 3
    };
    assert!((0..200).any(delayed), "it may guess on");
    let mut answers = all(shared, 1);
    assert_eq!(answers[0].0, 429);
    for (_, headers, _) in &mut answers {
        // They were not asked at the same moment.
        assert!((2..5).contains(&headers.remove("retry-after").unwrap().parse::<u64>().unwrap()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    // And who knows the password is let in all the same.
    assert_eq!(answer(&gateway, shared, "joe:passw0rd-0").0, 200);
}

// Case F2: idle connections of one source up to the limit of all.
#[test]
fn one_source_leaves_connections_for_others() {
    let backend = Backend::hello();
    let server = "[server]\nthreads = 2\nmax_connections = 60\n";
    let gateway = Gateway::start(&format!("{server}{}", open_api(backend.address, "")));
    let from = |last: u8| IpAddr::from([127, 0, 0, last]);
    let mut idle: Vec<Connection> = (0..60).map(|_| Connection::open_from(from(2), gateway.api())).collect();
    // A quarter of all is one source's share. The others are closed without an answer.
    assert!(idle[15..].iter_mut().all(Connection::is_closed));
    for source in [3, 4, 5] {
        let mut other = Connection::open_from(from(source), gateway.api());
        assert_eq!(other.exchange(get("/open/a")).status, 200);
    }
    assert_eq!(idle[0].exchange(get("/open/a")).status, 200);
    drop(idle);
    let began = Instant::now();
    loop {
        let mut again = Connection::open_from(from(2), gateway.api());
        again.write(&get("/open/a").bytes());
        if again.try_response().is_some_and(|response| response.status == 200) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the places of closed connections were never given away");
    }
}

// Case F2: a trusted proxy may have any number of connections, and each of its clients so many requests at once.
#[test]
fn clients_of_a_trusted_proxy_have_requests_in_place_of_connections() {
    let (arrived, arrivals) = channel();
    let released = Arc::new(Barrier::new(3));
    let release = released.clone();
    let backend = Backend::answering(move |request: &Received| {
        if request.target == "/open/slow" {
            arrived.send(()).unwrap();
            released.wait();
        }
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let server = "[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\nmax_connections_per_source = 2\n";
    let gateway = Gateway::start(&format!("{server}{}", open_api(backend.address, "")));
    let forwarded = |path: &str, client: &str| get(path).header("X-Forwarded-For", client);
    let mut connections: Vec<Connection> = (0..6).map(|_| Connection::open(gateway.api())).collect();
    for connection in &mut connections {
        assert_eq!(connection.exchange(forwarded("/open/a", "192.0.2.1")).status, 200);
    }
    let (slow, others) = connections.split_at_mut(2);
    for connection in slow.iter_mut() {
        connection.write(&forwarded("/open/slow", "192.0.2.1").bytes());
        arrivals.recv_timeout(PATIENCE).unwrap();
    }
    let refused = others[0].exchange(forwarded("/open/a", "192.0.2.1"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(others[1].exchange(forwarded("/open/a", "192.0.2.2")).status, 200);
    // The proxy's own requests name nobody.
    assert_eq!(others[2].exchange(get("/open/a")).status, 200);
    release.wait();
    for connection in slow.iter_mut() {
        assert_eq!(connection.read_response().status, 200);
    }
    assert_eq!(others[0].exchange(forwarded("/open/a", "192.0.2.1")).status, 200);
}

// Case F1: bodies over HTTP/1 that go on, to a public route
#[test]
fn uploads_of_one_source_leave_room_for_others() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&open_api(backend.address, "spool_memory_total = \"1MiB\"\n"));
    let from = |last: u8| Connection::open_from(IpAddr::from([127, 0, 0, last]), gateway.api());
    let begun = |connection: &mut Connection| {
        connection.write(b"POST /open/a HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\na");
    };
    let mut uploads: Vec<Connection> = (0..60).map(|_| from(2)).collect();
    uploads.iter_mut().for_each(begun);
    // A quarter of the least room, 2 MiB, for bodies that take 72 KiB each.
    let began = Instant::now();
    while uploads.len() > 7 {
        assert!(began.elapsed() < PATIENCE, "{} find room", uploads.len());
        uploads.retain_mut(|upload| match upload.read_within(Duration::from_millis(2)) {
            Some(answer) => {
                let answer = String::from_utf8(answer.unwrap()).unwrap().to_ascii_lowercase();
                assert!(
                    answer.starts_with("http/1.1 503 ") && answer.contains("\r\nretry-after: 1\r\n"),
                    "{answer}"
                );
                false
            }
            None => true,
        });
    }
    for source in [2, 3] {
        assert_eq!(from(source).exchange(get("/open/a")).status, 200);
    }
    let mut other = from(3);
    begun(&mut other);
    uploads.push(other);
    for upload in &mut uploads {
        upload.write(&[b'x'; 89_999]);
        assert_eq!(upload.read_response().status, 200);
    }
}
