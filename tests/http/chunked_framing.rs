//! The chunked transfer coding is read strictly (RFC 9112 section 7.1), in requests and in backends' answers: a body that
//! deviates from it is never complete, and nothing behind it runs as a request or as an answer.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use crate::common::backend::{Backend, read_header};
use crate::common::callers::{API, BASIC_API, NO_DELAYS};
use crate::common::forms::URLENCODED;
use crate::common::http::{Connection, get};
use crate::common::http2::{ask, http2, whole};
use crate::common::tls::{self, Authority};
use crate::common::{Gateway, HOLDER, PATIENCE, configured};

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";

/// Invalid bytes in place of the next chunk size.
const DEVIATIONS: [&str; 37] = [
    "\r\n\r\n",
    "\r\n",
    ";x=1\r\n\r\n",
    " \r\n\r\n",
    "\t\t\r\n\r\n",
    " 0\r\n\r\n",
    "0 \r\n\r\n",
    "x\r\n\r\n",
    "-0\r\n\r\n",
    "0x0\r\n\r\n",
    "00000000000000000\r\n\r\n",
    "0\n\r\n",
    "0\r\n\n",
    "0\n\n",
    "0\r\r\n",
    "0;a\n\r\n",
    "0;a=b\nGET /smuggled HTTP/1.1\r\n\r\n",
    "0;a=\"b\r\n\r\n",
    "0;a=\"b\nc\"\r\n\r\n",
    "0;a\0\r\n\r\n",
    "0;a=\"\0\"\r\n\r\n",
    "0;\r\n\r\n",
    "0;a=\r\n\r\n",
    "0;=b\r\n\r\n",
    "0;a b\r\n\r\n",
    "0;a=b c\r\n\r\n",
    "0;a=\"b\"c\r\n\r\n",
    "0\r\nno field\r\n\r\n",
    "0\r\n: value\r\n\r\n",
    "0\r\nX-Sum : 1\r\n\r\n",
    "0\r\nX-Sum: 1\r\n folded\r\n\r\n",
    "0\r\nX-Sum: 1\n\r\n",
    "0\r\nX-Sum: \0\r\n\r\n",
    "1\r\nab\r\n0\r\n\r\n",
    "2\r\na\r\n0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\na\r\n0\r\n\r\n",
];

/// Valid bytes in that place: each ends the body.
const VARIANTS: [&str; 11] = [
    "0\r\n\r\n",
    "0000000000000000\r\n\r\n",
    "0;a\r\n\r\n",
    "0;a=b;c\r\n\r\n",
    "0 ;\ta = b ; c=\"d;\\\"e\\\\ f\"\r\n\r\n",
    "0;a=\"\"\r\n\r\n",
    "0\r\nX-Sum: 1\r\n\r\n",
    "0;a=b\r\nX-Sum: 1\r\nX-Empty:\r\nX-Blank: \t \r\n\r\n",
    "0000\r\nX-Sum: \u{e9}\r\n\r\n",
    "00\r\nGET: / HTTP/1.1\r\n\r\n",
    "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// A gateway with both kinds of listeners that knows [`API`].
fn gateway(authority: &Authority, upstream: &str) -> Gateway {
    let directory = configured(&format!(
        "{NO_DELAYS}[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n\
         [api]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\nupstreams = [\"{upstream}\"]\n\
         upstream_ca = \"DIR/ca.pem\"\n[[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n"
    ));
    authority.issue("gate.test").write(directory.path());
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential(API, "api");
    gateway
}

fn before(backend: &Backend, authority: &Authority) -> Gateway {
    gateway(authority, &format!("http://{}", backend.address))
}

/// The ways in which the same bytes can come.
const WAYS: [&str; 4] = ["at once", "byte by byte", "behind another request", "over TLS"];

/// Sends `bytes` in that way and reads to the end of the connection: the statuses, without that of another request in front.
fn statuses(gateway: &Gateway, authority: &Authority, way: &str, bytes: &[u8]) -> Vec<u16> {
    let mut answers = Vec::new();
    if way == "over TLS" {
        let address = gateway.address("api.tls_listen");
        let mut stream = tls::connect(address, "gate.test", authority.client(&["http/1.1"])).unwrap();
        let _ = stream.write_all(bytes);
        // An end without close_notify is one, too.
        let _ = stream.read_to_end(&mut answers);
    } else {
        let mut connection = Connection::open(gateway.api());
        match way {
            "byte by byte" => bytes.iter().for_each(|byte| connection.write(&[*byte])),
            "behind another request" => {
                connection.write(&[&get("/front").basic(API).bytes(), bytes].concat());
            }
            _ => connection.write(bytes),
        }
        answers = connection.read_to_end();
    }
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let mut statuses: Vec<u16> =
        answers.split("HTTP/1.1 ").skip(1).map(|a| a[..3].parse().unwrap()).collect();
    if way == "behind another request" {
        assert_eq!(statuses.remove(0), 200);
    }
    statuses
}

fn post(target: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: gate.test\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{body}")
        .into_bytes()
}

/// The targets that reached the backend as whole requests.
fn reached(gateway: &Gateway, backend: &Backend) -> Vec<String> {
    assert_eq!(get("/sentinel").basic(API).send(gateway.api()).status, 200);
    let mut targets = Vec::new();
    while targets.last().is_none_or(|last| last != "/sentinel") {
        targets.push(backend.next().target);
    }
    targets.retain(|target| target != "/front" && target != "/sentinel");
    targets
}

// Case A9: an empty line, an extension or blanks in place of a chunk size
#[test]
fn a_deviation_in_a_request_is_refused_and_nothing_behind_it_runs() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = before(&backend, &authority);
    for deviation in DEVIATIONS {
        for start in ["", "5\r\nhello\r\n"] {
            let bytes = post("/judged", BASIC_API, &format!("{start}{deviation}{HIDDEN}"));
            for way in WAYS {
                let answered = statuses(&gateway, &authority, way, &bytes);
                assert_eq!(answered, [400], "{start:?} {deviation:?} {way}");
            }
        }
    }
    assert!(reached(&gateway, &backend).is_empty());
}

/// The part of it that reaches the backend has no end.
#[test]
fn a_backend_never_gets_the_last_chunk_of_a_deviating_body() {
    let authority = Authority::new();
    let (sender, received) = channel();
    let (begun, begins) = channel();
    let backend = Backend::handling(move |stream, _| {
        // A health check ends here.
        let Some(header) = read_header(stream) else { return };
        let mut body = vec![0; "5\r\nhello\r\n".len()];
        stream.read_exact(&mut body).unwrap();
        begun.send(header.target).unwrap();
        let _ = stream.read_to_end(&mut body);
        sender.send(body).unwrap();
    });
    let gateway = before(&backend, &authority);
    for deviation in DEVIATIONS {
        let mut connection = Connection::open(gateway.api());
        connection.write(&post("/judged", BASIC_API, "5\r\nhello\r\n"));
        assert_eq!(begins.recv_timeout(PATIENCE).unwrap(), "/judged");
        connection.write(format!("{deviation}{HIDDEN}").as_bytes());
        assert_eq!(connection.read_response().status, 400, "{deviation:?}");
        assert!(connection.is_closed(), "{deviation:?}");
        let body = String::from_utf8(received.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert!(body.starts_with("5\r\nhello\r\n") && !body.contains("\r\n0\r\n"), "{deviation:?}: {body:?}");
    }
}

#[test]
fn a_deviation_in_a_form_with_the_credential_is_refused() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = before(&backend, &authority);
    let (user, key) = API.split_once(':').unwrap();
    let pair = format!("api_user={user}&api_key={key}&to=a");
    let kind = format!("Content-Type: {URLENCODED}\r\n");
    for deviation in DEVIATIONS {
        let body = format!("{:x}\r\n{pair}\r\n{deviation}{HIDDEN}", pair.len());
        for way in WAYS {
            let answered = statuses(&gateway, &authority, way, &post("/judged", &kind, &body));
            assert_eq!(answered, [400], "{deviation:?} {way}");
        }
    }
    assert!(reached(&gateway, &backend).is_empty());
}

// Case A9: a second chunk that names the permissions
/// A second chunk that names the permissions is not cut off: without it, everything would be granted.
#[test]
fn a_deviation_in_a_call_of_the_management_api_changes_nothing() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = before(&backend, &authority);
    let basic = String::from_utf8(get("/").basic(HOLDER).bytes()).unwrap();
    let basic = basic.lines().find(|line| line.starts_with("Authorization")).unwrap().to_owned();
    let fields = format!("{basic}\r\nContent-Type: {URLENCODED}\r\n");
    let added = "username=smuggled&password=passw0rd-smuggled";
    let rest = "&permissions={\"email\":0,\"api\":0,\"web\":0}";
    for deviation in DEVIATIONS {
        let body =
            format!("{:x}\r\n{added}\r\n{deviation}{:x}\r\n{rest}\r\n0\r\n\r\n", added.len(), rest.len());
        for way in WAYS {
            let call = post("/api/credentials/add.json", &fields, &body);
            let answered = statuses(&gateway, &authority, way, &call);
            assert_eq!(answered, [400], "{deviation:?} {way}");
        }
    }
    assert_eq!(gateway.manage("get", "username=smuggled").0, 404);
    // The same in its two chunks, well.
    let body = format!("{:x}\r\n{added}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", added.len(), rest.len());
    let mut connection = Connection::open(gateway.api());
    connection.write(&post("/api/credentials/add.json", &fields, &body));
    assert_eq!(connection.read_response().status, 200);
    assert!(gateway.manage("get", "username=smuggled").1.contains("\"api\":0"));
}

#[test]
fn every_variant_in_a_request_passes_and_the_next_request_is_read_behind_it() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = before(&backend, &authority);
    let last = post("/last", &format!("{BASIC_API}Connection: close\r\n"), "0\r\n\r\n");
    let chunks = "00005;a=\"b\"\r\nhello\r\n3 ; c\r\n\r\n\n\r\n";
    for variant in VARIANTS {
        for way in WAYS {
            let one = post("/judged", BASIC_API, &format!("{chunks}{variant}"));
            let all = [&one[..], &one, &last].concat();
            assert_eq!(statuses(&gateway, &authority, way, &all), [200, 200, 200], "{variant:?} {way}");
            if way == "behind another request" {
                assert_eq!(backend.next().target, "/front");
            }
            for _ in 0..2 {
                let request = backend.next();
                assert_eq!((&request.target[..], &request.body[..]), ("/judged", &b"hello\r\n\n"[..]));
            }
            assert_eq!(backend.next().target, "/last");
        }
    }
}

/// Many of them in one packet, so that each begins in what was read with the one before; and bodies larger than a buffer.
#[test]
fn chunked_requests_in_a_row_are_read_to_their_ends() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = before(&backend, &authority);
    let mut all = Vec::new();
    let bodies: Vec<usize> = (0..40).map(|number| number * number * 97 % 90_000).collect();
    for size in &bodies {
        let data = "x".repeat(*size);
        let chunk = if data.is_empty() { String::new() } else { format!("{size:x}\r\n{data}\r\n") };
        all.extend(post("/judged", BASIC_API, &format!("{chunk}0\r\n\r\n")));
        all.extend(get("/between").basic(API).bytes());
    }
    let mut connection = Connection::open(gateway.api());
    let mut writer = connection.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&all).unwrap());
    for size in bodies {
        assert_eq!((connection.read_response().status, connection.read_response().status), (200, 200));
        assert_eq!((backend.next().body.len(), &backend.next().target[..]), (size, "/between"));
    }
    writing.join().unwrap();
}

/// A backend that answers `/open/N/HOW` by the Nth of `bodies`: with its header at once, or once the client has that.
fn answering(bodies: Vec<String>) -> (Backend, Arc<Mutex<Option<Receiver<()>>>>) {
    let gate: Arc<Mutex<Option<Receiver<()>>>> = Arc::default();
    let opened = gate.clone();
    let handler = move |stream: &mut BufReader<TcpStream>, _: &_| {
        while let Some(request) = read_header(stream) {
            let Some(path) = request.target.strip_prefix("/open/") else { return };
            let (number, how) = path.split_once('/').unwrap();
            let body = &bodies[number.parse::<usize>().unwrap()];
            let mut head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            if how == "later" {
                stream.get_mut().write_all(head.as_bytes()).unwrap();
                let opened = opened.lock().unwrap().take().unwrap();
                opened.recv_timeout(PATIENCE).unwrap();
                head.clear();
            }
            let hidden = "HTTP/1.1 201 Smuggled\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.get_mut().write_all(format!("{head}{body}{hidden}").as_bytes());
        }
    };
    (Backend::handling(handler), gate)
}

fn bodies(ends: &[&str]) -> Vec<String> {
    ends.iter().flat_map(|end| [end.to_string(), format!("5\r\nhello\r\n{end}")]).collect()
}

// Case A9: the same in an answer
// Case C14: an empty size line in an answer
#[test]
fn a_deviation_in_an_answer_is_a_bad_gateway_or_breaks_it_off() {
    let bodies = bodies(&DEVIATIONS);
    let (authority, (backend, gate)) = (Authority::new(), answering(bodies.clone()));
    let gateway = before(&backend, &authority);
    for (number, body) in bodies.iter().enumerate() {
        // With its header: nothing of it is passed on.
        for method in ["GET", "POST"] {
            let mut connection = Connection::open(gateway.api());
            let fields = "Host: gate.test\r\nContent-Length: 0\r\nConnection: close\r\n";
            connection.write(format!("{method} /open/{number}/at-once HTTP/1.1\r\n{fields}\r\n").as_bytes());
            let answer = String::from_utf8(connection.read_to_end()).unwrap();
            assert!(answer.starts_with("HTTP/1.1 502 "), "{body:?}: {answer}");
            assert!(!answer.contains("Smuggled"), "{body:?}: {answer}");
        }
        // Behind its header: the connection ends without the last chunk.
        let (open, opened) = channel();
        *gate.lock().unwrap() = Some(opened);
        let mut connection = Connection::open(gateway.api());
        connection.write(&get(&format!("/open/{number}/later")).bytes());
        let mut answer = connection.read_raw().unwrap();
        open.send(()).unwrap();
        answer.extend(connection.read_to_end());
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{body:?}: {answer}");
        let (_, passed) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!passed.ends_with("0\r\n\r\n") && !passed.contains("Smuggled"), "{body:?}: {answer}");
    }
}

// Case C14: an empty size line in an answer, over HTTP/2
#[tokio::test(flavor = "multi_thread")]
async fn a_deviation_in_an_answer_over_http_2_resets_its_stream() {
    let bodies = bodies(&DEVIATIONS);
    let (authority, (backend, gate)) = (Authority::new(), answering(bodies.clone()));
    let gateway = before(&backend, &authority);
    let mut client = http2(&gateway, &authority).await;
    for (number, body) in bodies.iter().enumerate() {
        let at_once = ask(&mut client, "GET", &format!("/open/{number}/at-once"), &[], true).0.await.unwrap();
        assert_eq!(whole(at_once).await.unwrap().0, 502, "{body:?}");
        let (open, opened) = channel();
        *gate.lock().unwrap() = Some(opened);
        let later = ask(&mut client, "GET", &format!("/open/{number}/later"), &[], true).0.await.unwrap();
        open.send(()).unwrap();
        assert_eq!(later.status(), 200, "{body:?}");
        assert!(whole(later).await.is_err_and(|error| error.is_reset()), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_variant_in_an_answer_arrives() {
    let bodies = bodies(&VARIANTS);
    let (authority, (backend, _)) = (Authority::new(), answering(bodies.clone()));
    let gateway = before(&backend, &authority);
    let mut client = http2(&gateway, &authority).await;
    for (number, body) in bodies.iter().enumerate() {
        let expected = if body.contains("hello") { "hello" } else { "" };
        let path = format!("/open/{number}/at-once");
        let answer = get(&path).send(gateway.api());
        assert_eq!((answer.status, &answer.text()[..]), (200, expected), "{body:?}");
        let answer = ask(&mut client, "GET", &path, &[], true).0.await.unwrap();
        assert_eq!(whole(answer).await.unwrap(), (200, expected.as_bytes().to_vec()), "{body:?}");
    }
}

#[test]
fn a_deviation_in_an_answer_over_tls_is_a_bad_gateway() {
    let authority = Authority::new();
    let all = [bodies(&DEVIATIONS), bodies(&VARIANTS)].concat();
    let answers = all.clone();
    let backend: SocketAddr = authority.issue("127.0.0.1").backend_answering(move |request| {
        let number: usize = request.split(['/', ' ']).find_map(|word| word.parse().ok()).unwrap();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", answers[number])
    });
    let gateway = gateway(&authority, &format!("https://{backend}"));
    for (number, body) in all.iter().enumerate() {
        let mut connection = Connection::open(gateway.api());
        let fields = "Host: gate.test\r\nConnection: close\r\n";
        connection.write(format!("GET /open/{number} HTTP/1.1\r\n{fields}\r\n").as_bytes());
        let answer = String::from_utf8(connection.read_to_end()).unwrap();
        // The header and the body may come in two records.
        let broken = answer.starts_with("HTTP/1.1 502 ") || !answer.ends_with("0\r\n\r\n");
        assert_eq!(broken, number < 2 * DEVIATIONS.len(), "{body:?}: {answer}");
    }
}

/// The operators' listener takes no bodies: it closes the connection instead of looking for the end of one.
#[test]
fn nothing_behind_a_body_runs_at_the_operators_listener() {
    let gateway = Gateway::start("[ops]\nlisten = \"127.0.0.1:0\"\n");
    for body in ["\r\n\r\n", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
        let mut connection = Connection::open(gateway.address("ops.listen"));
        connection.write(&post("/healthz", "", body));
        assert_eq!(connection.read_response().status, 405);
        connection.write(HIDDEN.as_bytes());
        assert!(connection.is_closed(), "{body:?}");
    }
}
