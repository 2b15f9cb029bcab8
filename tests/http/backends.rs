//! Backends that fail in every way: the client gets a clear answer, in time, and nothing is sent twice that mustn't be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::common::backend::{Backend, Received, read_header, read_request, swallowing};
use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, PATIENCE, nobody, open_api};

/// A backend that reads a request and sends these bytes, then closes.
fn saying(bytes: impl Into<Vec<u8>>) -> Backend {
    let bytes = bytes.into();
    Backend::handling(move |stream, received| {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        let _ = stream.get_mut().write_all(&bytes);
    })
}

/// An `[api]` section for these backends, all of it public.
fn several(upstreams: &[SocketAddr], keys: &str) -> String {
    let list: Vec<String> = upstreams.iter().map(|address| format!("\"http://{address}\"")).collect();
    let one = format!("\"http://{}\"", upstreams[0]);
    open_api(upstreams[0], keys).replace(&one, &list.join(", "))
}

fn until_closed(stream: &mut BufReader<TcpStream>) {
    let _ = stream.read(&mut [0; 64]);
}

#[test]
fn a_backend_that_is_down_is_502_at_once_and_is_used_when_it_is_back() {
    let address = nobody();
    let gateway = Gateway::start(&open_api(address, "health_interval = \"50ms\""));
    let started = Instant::now();
    for request in [get("/open/a"), request("POST", "/open/a").body("x"), request("HEAD", "/open/a")] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&request.bytes());
        let raw = String::from_utf8(connection.read_raw().unwrap()).unwrap();
        assert!(raw.starts_with("HTTP/1.1 502 "), "{raw}");
    }
    assert!(started.elapsed() < PATIENCE / 2);
    gateway.log().wait_for(&["the backend is down"]);
    let backend = Backend::on(TcpListener::bind(address).unwrap(), |stream, received| {
        while let Some(request) = read_request(stream) {
            let _ = received.send(request);
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback");
        }
    });
    gateway.log().wait_for(&["the backend is up"]);
    assert_eq!(get("/open/a").send(gateway.api()).text(), "back");
    assert_eq!(backend.next().target, "/open/a");
}

/// An interim response shows that a backend is at work.
#[test]
fn a_request_is_not_repeated_after_an_interim_response() {
    for interim in ["102 Processing", "103 Early Hints"] {
        let backends = [(); 2].map(|()| saying(format!("HTTP/1.1 {interim}\r\n\r\n")));
        let gateway = Gateway::start(&several(&[backends[0].address, backends[1].address], ""));
        assert_eq!(get("/open/a").send(gateway.api()).status, 502);
        let asked: usize = backends.iter().map(|backend| backend.drain().len()).sum();
        assert_eq!(asked, 1, "{interim}");
    }
    let works = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
    let backend = saying(format!("{works}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"));
    let gateway = Gateway::start(&open_api(backend.address, ""));
    assert_eq!(get("/open/a").send(gateway.api()).text(), "done");
}

#[test]
fn a_health_check_by_path_takes_a_backend_out_of_turn() {
    let sick = Backend::answering(|request| match request.target.as_str() {
        "/healthz" => b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick".to_vec(),
    });
    let well = Backend::hello();
    let keys = "health_interval = \"50ms\"\nhealth_check = \"/healthz\"";
    let gateway = Gateway::start(&several(&[sick.address, well.address], keys));
    gateway.log().wait_for(&["the backend is down", &sick.address.to_string()]);
    for _ in 0..10 {
        assert_eq!(get("/open/a").send(gateway.api()).text(), "hello");
    }
    let asked = sick.next();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/healthz"));
    assert!(sick.drain().iter().all(|request| request.target == "/healthz"));
}

#[test]
fn a_backend_that_says_nothing_is_504_in_time() {
    let backend = Backend::handling(|stream, received| {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        until_closed(stream);
    });
    let gateway = Gateway::start(&open_api(backend.address, "response_timeout = \"200ms\""));
    for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
        let started = Instant::now();
        assert_eq!(request.send(gateway.api()).status, 504);
        assert!(started.elapsed() >= Duration::from_millis(200));
        backend.next();
    }
    assert!(backend.drain().is_empty(), "a request that timed out was sent again");
}

#[test]
fn a_backend_that_takes_no_connection_is_504_in_time() {
    let (address, _full) = swallowing();
    let gateway = Gateway::start(&open_api(address, "connect_timeout = \"200ms\""));
    for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
        let started = Instant::now();
        assert_eq!(request.send(gateway.api()).status, 504);
        assert!(started.elapsed() >= Duration::from_millis(200));
    }
    gateway.log().wait_for(&["no connection to the backend", "no connection within 200ms"]);
}

#[test]
fn half_an_answer_header_is_502_or_504() {
    let closes = saying("HTTP/1.1 200 OK\r\nContent-Le");
    let gateway = Gateway::start(&open_api(closes.address, ""));
    for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
        assert_eq!(request.send(gateway.api()).status, 502);
    }
    let hangs = Backend::handling(|stream, _| {
        if read_request(stream).is_some() {
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
            until_closed(stream);
        }
    });
    let gateway = Gateway::start(&open_api(hangs.address, "response_timeout = \"200ms\""));
    for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
        assert_eq!(request.send(gateway.api()).status, 504);
    }
}

#[test]
fn garbage_and_101_that_nobody_asked_for_are_502() {
    let answers = [
        "\x15\x03\x01 this is not HTTP\r\n\r\n",
        "HTTP/1.1 OK 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "",
    ];
    for answer in answers {
        let backend = saying(answer);
        let gateway = Gateway::start(&open_api(backend.address, ""));
        for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
            let response = request.send(gateway.api());
            assert_eq!(response.status, 502, "{answer:?}");
            assert!(response.text().contains("\"errors\""), "{}", response.text());
        }
    }
}

#[test]
fn half_a_body_is_no_complete_answer() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ];
    for answer in answers {
        let backend = saying(answer);
        let gateway = Gateway::start(&open_api(backend.address, ""));
        for request in [get("/open/a"), request("POST", "/open/a").body("x")] {
            let mut connection = Connection::open(gateway.api());
            connection.write(&request.bytes());
            let whole = connection.try_response().map(|response| (response.status, response.text()));
            assert_eq!(whole, None, "{answer:?} arrived as if it were whole");
        }
    }
}

#[test]
fn a_body_that_stops_is_cut_in_time() {
    for answer in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let backend = Backend::handling(move |stream, _| {
            if read_request(stream).is_some() {
                let _ = stream.get_mut().write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
                until_closed(stream);
            }
        });
        let gateway = Gateway::start(&open_api(backend.address, "response_timeout = \"200ms\""));
        let mut connection = Connection::open(gateway.api());
        connection.write(&get("/open/a").bytes());
        assert!(connection.try_response().is_none());
    }
}

/// Answers the first request of each connection, and closes the connection when the second one has come.
fn closing_when_used(stream: &mut BufReader<TcpStream>, received: &Sender<Received>) {
    for kept in [true, false] {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        if kept {
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    }
}

#[test]
fn a_kept_connection_that_closes_just_as_it_is_used() {
    let one_thread = "[server]\nthreads = 1\n";
    for (method, body, status, times) in [
        ("GET", "", 200, 2),
        ("PUT", "", 200, 2),
        ("POST", "", 502, 1),
        ("POST", "x", 502, 1),
        ("PATCH", "x", 502, 1),
    ] {
        let backend = Backend::handling(closing_when_used);
        let gateway = Gateway::start(&format!("{one_thread}{}", open_api(backend.address, "")));
        assert_eq!(get("/open/first").send(gateway.api()).status, 200);
        backend.next();
        assert_eq!(request(method, "/open/second").body(body).send(gateway.api()).status, status, "{method}");
        for _ in 0..times {
            assert_eq!(backend.next().target, "/open/second");
        }
        assert!(backend.drain().is_empty(), "{method} was sent more than {times} times");
    }
}

#[test]
fn a_kept_connection_that_was_closed_before_is_not_used() {
    // The backend closes each connection after its first answer without saying so.
    let (closed, closes) = channel();
    let backend = Backend::handling(move |stream, received| {
        let Some(request) = read_request(stream) else { return };
        let _ = received.send(request);
        let stream = stream.get_mut();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let _ = stream.shutdown(Shutdown::Both);
        let _ = closed.send(());
    });
    // One worker, so that each request finds what the one before it left.
    let gateway = Gateway::start(&format!("[server]\nthreads = 1\n{}", open_api(backend.address, "")));
    for number in 0..20 {
        // Never sent a second time, so that each would be lost with a connection that is gone.
        let body = ["", "x"][number % 2];
        assert_eq!(request("POST", "/open/a").body(body).send(gateway.api()).status, 200);
        closes.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(backend.drain().len(), 20);
}

#[test]
fn requests_go_round() {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::hello()).collect();
    let addresses: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    let gateway = Gateway::start(&several(&addresses, ""));
    let mut connection = Connection::open(gateway.api());
    for _ in 0..30 {
        assert_eq!(connection.exchange(get("/open/a")).status, 200);
    }
    for backend in &backends {
        assert_eq!(backend.drain().len(), 10);
    }
}

#[test]
fn a_backend_that_is_down_is_passed_by_also_for_post() {
    let backend = Backend::hello();
    let gateway =
        Gateway::start(&several(&[nobody(), backend.address, nobody()], "health_interval = \"10m\""));
    for number in 0..12 {
        let request = match number % 3 {
            0 => get("/open/a"),
            1 => request("POST", "/open/a").body("body"),
            _ => request("POST", "/open/a").chunked("body"),
        };
        assert_eq!(request.send(gateway.api()).status, 200);
    }
    let received = backend.drain();
    assert_eq!(received.len(), 12);
    assert_eq!(received.iter().filter(|request| request.body == b"body").count(), 8);
}

#[test]
fn a_request_that_a_backend_has_seen_goes_to_another_only_if_it_may() {
    static BROKEN: AtomicUsize = AtomicUsize::new(0);
    let closes = || {
        Backend::handling(|stream, _| {
            if read_header(stream).is_some() {
                BROKEN.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let well = Backend::hello();
    let (first, second) = (closes(), closes());
    let addresses = [first.address, second.address, well.address];
    let gateway = Gateway::start(&several(&addresses, "health_interval = \"10m\""));
    for _ in 0..6 {
        assert_eq!(get("/open/a").send(gateway.api()).status, 200);
    }
    assert_eq!(well.drain().len(), 6);
    let before = BROKEN.load(Ordering::Relaxed);
    let answers: Vec<u16> =
        (0..6).map(|_| request("POST", "/open/a").body("x").send(gateway.api()).status).collect();
    let refused = answers.iter().filter(|status| **status == 502).count();
    assert_eq!(refused + well.drain().len(), 6);
    assert_eq!(BROKEN.load(Ordering::Relaxed) - before, refused, "{answers:?}");
    assert!(refused > 0);
}

#[test]
fn a_backend_by_name_is_known_at_once_and_after_a_reload() {
    let backend = Backend::hello();
    let config = open_api(backend.address, "").replace("http://127.0.0.1", "http://localhost");
    let gateway = Gateway::start(&config);
    assert_eq!(get("/open/a").send(gateway.api()).status, 200);
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    assert_eq!(get("/open/a").send(gateway.api()).status, 200);
}

/// Health checks that are never answered keep no other backend from being asked at its own interval.
#[test]
fn a_backend_that_lets_itself_be_waited_for_keeps_no_other_from_being_asked() {
    let silent: Vec<Backend> = (0..3)
        .map(|_| Backend::handling(|stream, _| drop(std::io::copy(stream, &mut std::io::sink()))))
        .collect();
    let backend = Backend::hello();
    let addresses: Vec<_> = silent.iter().map(|backend| backend.address).collect();
    let group = format!(
        "[[api.group]]\nname = \"other\"\nupstreams = [\"http://{}\"]\nhealth_interval = \"20ms\"\n",
        backend.address
    );
    let keys = "health_interval = \"10m\"\nconnect_timeout = \"10m\"\nhealth_check = \"/healthz\"";
    let _gateway = Gateway::start(&format!("{}{group}", several(&addresses, keys)));
    for _ in 0..5 {
        assert_eq!(backend.next().target, "/healthz");
    }
}

/// A byte now and then is no answer: its header as a whole has its time.
#[test]
fn an_answer_whose_header_drips_is_504() {
    let backend = Backend::handling(|stream, _| {
        if read_header(stream).is_none() {
            return;
        }
        let header = format!("HTTP/1.1 200 OK\r\nX-Long: {}", "x".repeat(10_000));
        stream.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for byte in header.bytes() {
            // In between, the gateway has time to go away.
            if stream.fill_buf().is_ok() || stream.get_mut().write_all(&[byte]).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::start(&open_api(backend.address, "response_timeout = \"300ms\""));
    for method in ["GET", "HEAD"] {
        let mut connection = Connection::open(gateway.api());
        connection.write(&request(method, "/open/a").bytes());
        let started = Instant::now();
        let answer = connection.read_within(PATIENCE).flatten().unwrap_or_default();
        assert!(answer.starts_with(b"HTTP/1.1 504 "), "{}", answer.escape_ascii());
        assert!(started.elapsed() >= Duration::from_millis(250));
    }
}
