//! Behind a proxy that speaks the PROXY protocol, the client is the one that the proxy names; nobody else can name one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::mail::{Client, JOE, NAME, metric, plain, secured, wait_for_metric};
use crate::common::sink::{Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, PATIENCE};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const SESSIONS: &str = "gatepost_smtp_sessions";

struct Site {
    gateway: Gateway,
    sink: Sink,
    authority: Authority,
}

/// Behind a proxy on this machine, or, where that isn't trusted, beside it.
fn site(trusted: bool, keys: &str) -> Site {
    let extensions =
        vec!["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "XCLIENT NAME ADDR PROTO HELO LOGIN"];
    let sink = Sink::start(Settings { extensions, ..Settings::default() });
    let authority = Authority::new();
    let keys = format!("proxy_protocol = true\nidentity = [\"xclient\"]\n{keys}");
    let proxy = if trusted { "127.0.0.1" } else { "192.0.2.250" };
    let server = format!("[server]\nthreads = 2\ntrusted_proxies = [\"{proxy}\"]\n");
    let gateway = secured(&authority, &[sink.url()], &keys, &server);
    gateway.account("email").credential(JOE, "email");
    Site { gateway, sink, authority }
}

impl Site {
    /// A connection that begins with these bytes.
    fn connect(&self, header: &[u8]) -> Client {
        let mut client = Client::connect(self.gateway.address("smtp.listen"));
        client.send(header);
        client
    }
}

#[test]
fn a_connection_without_a_byte_is_refused_nothing() {
    let site = site(true, "");
    let address = site.gateway.address("smtp.listen");
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
    }
    assert!(site.connect(b"EHLO client.test\r\n").is_closed());
    let listener = format!("\"listener\":\"{address}\"");
    site.gateway.log().wait_for(&["no valid PROXY protocol header", &listener]);
    assert_eq!(site.gateway.log().text().matches("no valid PROXY protocol header").count(), 1);
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = (addresses.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, addresses].concat()
}

fn ipv4(last: u8) -> Vec<u8> {
    version_2(0x21, 0x11, &[192, 0, 2, last, 198, 51, 100, 1, 0x1f, 0x90, 0, 25])
}

fn ipv6() -> Vec<u8> {
    let mut addresses = [0; 36];
    addresses[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    addresses[15] = 7;
    addresses[35] = 25;
    version_2(0x21, 0x21, &addresses)
}

/// Headers, and the client that each of them names.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let mut long = [0; 216];
    long[0] = b'/';
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::8 8080 25\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.3 ::1 8080 25\r\n".to_vec(), "192.0.2.3"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN 192.0.2.4 198.51.100.1 8080 25\r\n".to_vec(), "127.0.0.1"),
        (ipv4(5), "192.0.2.5"),
        (ipv6(), "2001:db8::7"),
        // With an extension behind the addresses; LOCAL, as for health checks; and a socket of another kind.
        (version_2(0x21, 0x11, &[192, 0, 2, 6, 198, 51, 100, 1, 1, 2, 0, 25, 4, 0, 2, 0, 0]), "192.0.2.6"),
        (version_2(0x20, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 0, 25]), "127.0.0.1"),
        (version_2(0x20, 0, &[]), "127.0.0.1"),
        (version_2(0x21, 0x31, &long), "127.0.0.1"),
    ]
}

/// The client is seen as `address` wherever it is told of.
fn is_seen(site: &Site, mut client: Client, address: &str) {
    assert_eq!(client.say("EHLO client.test").code, 250);
    let nobody = format!("nobody-{}:passw0rd-0", address.replace([':', '.'], "-"));
    assert_eq!(client.say(&plain(&nobody)).code, 535);
    site.gateway.log().wait_for(&["\"denied\"", &format!("\"{address}\"")]);
    assert_eq!(client.say(&plain(JOE)).code, 235);
    let before = site.sink.messages().len();
    assert_eq!(client.submit("a@test", "b@test", "Subject: x\r\n\r\nx\r\n").code, 250);
    let message = site.sink.messages().swap_remove(before);
    let tagged = if address.contains(':') { format!("IPv6:{address}") } else { address.to_owned() };
    let content = String::from_utf8_lossy(&message.content).into_owned();
    assert!(content.starts_with(&format!("Received: from client.test ([{tagged}])\r\n")), "{content}");
    let xclient = message.xclient.unwrap();
    let upper = if address.contains(':') { format!("IPV6:{address}") } else { address.to_owned() };
    assert!(xclient.contains(&format!(" ADDR={upper} ")), "{xclient}");
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let site = site(true, "");
    for (header, address) in headers() {
        let mut client = site.connect(&header);
        assert_eq!(client.answer().code, 220, "{}", header.escape_ascii());
        is_seen(&site, client, address);
    }
}

#[test]
fn a_header_may_come_in_pieces_and_with_what_follows_it() {
    let site = site(true, "");
    for (header, address) in [headers().swap_remove(0), headers().swap_remove(5)] {
        let mut client = site.connect(b"");
        for byte in &header {
            client.send(&[*byte]);
        }
        assert_eq!(client.answer().code, 220);
        is_seen(&site, client, address);
        let mut client = site.connect(&[&header[..], b"NOOP\r\n"].concat());
        assert_eq!(client.answer().code, 220);
        assert_eq!(client.answer().code, 250);
        is_seen(&site, client, address);
    }
}

#[test]
fn before_tls_comes_the_header() {
    let site = site(true, "");
    for (header, address) in [headers().swap_remove(1), headers().swap_remove(5)] {
        let mut client = Client::connect(site.gateway.address("smtp.tls_listen"));
        client.send(&header);
        let mut client = client.encrypt(site.authority.client(&[]), NAME);
        assert_eq!(client.answer().code, 220);
        is_seen(&site, client, address);
        let mut client = site.connect(&header);
        assert_eq!(client.answer().code, 220);
        assert_eq!(client.say("EHLO client.test").code, 250);
        is_seen(&site, client.start_tls(site.authority.client(&[])), address);
    }
    // Within TLS it is too late.
    let client = Client::connect(site.gateway.address("smtp.tls_listen"));
    let stream = client.into_stream();
    assert!(is_closed_without_a_word(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"));
}

#[test]
fn failures_are_counted_for_the_client_that_is_named() {
    let site = site(true, "max_failed_logins = 1000\nmax_errors = 1000");
    let guess =
        |client: &mut Client, number: usize| client.say(&plain(&format!("guess-{number}:passw0rd-0"))).code;
    let open = |last: u8| {
        let mut client = site.connect(&ipv4(last));
        assert_eq!(client.answer().code, 220);
        assert_eq!(client.say("EHLO client.test").code, 250);
        client
    };
    let (mut guesser, mut other) = (open(1), open(2));
    assert_eq!(guess(&mut guesser, 0), 535);
    assert!((1..60).any(|number| guess(&mut guesser, number) == 454), "it may guess on");
    assert_eq!(guess(&mut other, 100), 535);
    assert_eq!(other.say(&plain(JOE)).code, 235);
    assert!(metric(&site.gateway, "gatepost_throttled_total{by=\"source\",entry=\"smtp\"}") >= 1);
    site.gateway.log().wait_for(&["throttled", "\"192.0.2.1\""]);
    assert!(!site.gateway.log().text().contains("\"127.0.0.1\""));
}

#[test]
fn connections_are_counted_for_the_client_that_is_named() {
    let site = site(true, "max_connections_per_source = 2");
    let greeted = |header: &[u8]| {
        let mut client = site.connect(header);
        (client.answer().code, client)
    };
    let held = [greeted(&ipv4(1)), greeted(&ipv4(1)), greeted(&ipv4(2)), greeted(&ipv6()), greeted(&ipv6())];
    assert!(held.iter().all(|(code, _)| *code == 220));
    let mut refused = site.connect(&ipv4(1));
    assert_eq!(refused.answer().text(), "421 4.7.0 Too many connections, try again later");
    assert!(refused.is_closed());
    assert_eq!(greeted(&ipv6()).0, 421);
    assert_eq!(metric(&site.gateway, "gatepost_smtp_limits_total{limit=\"source\"}"), 2);
    drop(held);
    wait_for_metric(&site.gateway, SESSIONS, 0);
    assert_eq!(greeted(&ipv4(1)).0, 220);
}

#[test]
fn who_is_trusted_can_be_changed_while_it_runs() {
    let site = site(false, "");
    is_greeted_as(&site, "127.0.0.1", |client| {
        assert_eq!(client.answer().code, 220);
    });
    let path = site.gateway.config();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("192.0.2.250", "127.0.0.1")).unwrap();
    site.gateway.signal("HUP");
    site.gateway.log().wait_for(&["configuration reloaded"]);
    is_greeted_as(&site, "192.0.2.9", |client| {
        client.send(&ipv4(9));
        assert_eq!(client.answer().code, 220);
    });
}

fn is_greeted_as(site: &Site, address: &str, begin: impl FnOnce(&mut Client)) {
    let mut client = site.connect(b"");
    begin(&mut client);
    is_seen(site, client, address);
}

/// Sends these bytes; whether the connection ends with nothing said.
fn is_closed_without_a_word(mut stream: TcpStream, bytes: &[u8]) -> bool {
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    // Where something was left unread, the end is a reset.
    let end = stream.read_to_end(&mut said);
    let ended = end.map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true);
    ended && said.is_empty()
}

#[test]
fn a_proxy_that_names_nobody_is_left() {
    let site = site(true, "command_timeout = \"300ms\"");
    let overlong = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    let cases: [&[u8]; 9] = [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 8080 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 99999\r\n",
        &overlong,
        &version_2(0x21, 0x11, &[0; 4000]),
        &version_2(0x21, 0x11, &[0; 4]),
        &version_2(0x2f, 0x11, &[0; 12]),
    ];
    for key in ["smtp.listen", "smtp.tls_listen"] {
        for bytes in cases {
            let stream = Client::connect(site.gateway.address(key)).into_stream();
            let began = Instant::now();
            assert!(is_closed_without_a_word(stream, bytes), "{}", bytes.escape_ascii());
            assert!(began.elapsed() < PATIENCE / 3);
        }
    }
    assert_eq!(metric(&site.gateway, SESSIONS), 0);
    assert!(!site.gateway.log().text().contains("\"192.0.2.1\""));
}

#[test]
fn a_proxy_that_takes_its_time_gets_no_more_than_that_of_a_command() {
    let site = site(true, "command_timeout = \"300ms\"");
    let ends = "gatepost_smtp_limits_total{limit=\"time\"}";
    let whole = ipv4(1);
    let halves: [&[u8]; 4] = [b"", b"PROXY TCP4 192.0.2.1 198", &whole[..12], &whole[..20]];
    for half in halves {
        let began = Instant::now();
        let stream = site.connect(b"").into_stream();
        assert!(is_closed_without_a_word(stream, half));
        assert!(began.elapsed() >= Duration::from_millis(270), "{:?}", began.elapsed());
    }
    wait_for_metric(&site.gateway, ends, 4);
    // Bytes that come one by one make it no longer.
    let began = Instant::now();
    let mut client = site.connect(b"PROXY UNKNOWN ");
    client.drip(b"x", Duration::from_millis(20));
    assert!(client.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(270) && began.elapsed() < PATIENCE / 3);
    wait_for_metric(&site.gateway, ends, 5);
}

#[test]
fn nobody_else_names_a_client() {
    let site = site(false, "");
    for (header, _) in headers() {
        let mut client = site.connect(b"");
        assert_eq!(client.answer().code, 220);
        client.send(&header);
        // As many commands as it has lines, and none of them is one; the rest of a binary header ends with the next line.
        client.send(b"\r\n");
        let lines = header.iter().filter(|byte| **byte == b'\n').count() + 1;
        for _ in 0..lines {
            assert_eq!(client.answer().code, 500, "{}", header.escape_ascii());
        }
        is_seen(&site, client, "127.0.0.1");
    }
    let mut client = site.connect(&[&ipv4(1), &b"\r\n"[..]].concat());
    assert_eq!(client.answer().code, 220);
    assert_eq!(client.answer().code, 500);
}
