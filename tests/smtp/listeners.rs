//! Several listeners, each with rules of its own: TLS, the networks that may connect, and what a proxy says of them.

use crate::common::mail::{Client, JOE, NAME, plain, secured, wait_for_metric};
use crate::common::sink::Sink;
use crate::common::tls::Authority;
use crate::common::{Gateway, configured};
use std::process::Command;
use std::time::Duration;

const TURNED_AWAY: &str = "gatepost_smtp_limits_total{limit=\"network\"}";
const REFUSAL: &str = "554 5.7.1 Connections from your network are not accepted on this port";
/// With `listen` and `tls_listen` as short forms.
const PROXIES: &str = "[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\n";

fn site(keys: &str, server: &str) -> (Gateway, Sink, Authority) {
    let (sink, authority) = (Sink::good(), Authority::new());
    let gateway = secured(&authority, &[sink.url()], keys, server);
    gateway.account("email").credential(JOE, "email");
    (gateway, sink, authority)
}

fn is_turned_away(mut client: Client) {
    assert_eq!(client.answer().text(), REFUSAL);
    assert!(client.is_closed());
}

/// Says EHLO, and returns the extensions that are offered.
fn offered(client: &mut Client) -> String {
    assert_eq!(client.answer().code, 220);
    client.say("EHLO client.test").text()
}

// Case D11: a listener for devices beside 587 and 465.
#[test]
fn devices_need_no_tls_on_their_port_and_people_do_on_theirs() {
    let device = "require_tls = true\n[[smtp.listener]]\naddress = \"127.0.0.1:0\"\nrequire_tls = false\n\
                  networks = [\"127.0.0.0/8\"]\n";
    let (gateway, sink, authority) = site(device, "");
    let mut person = Client::connect(gateway.address("smtp.listen"));
    assert!(!offered(&mut person).contains("AUTH"));
    assert_eq!(person.say(&plain(JOE)).code, 538);
    let mut person = person.start_tls(authority.client(&[]));
    assert_eq!(person.say(&plain(JOE)).code, 235);
    let mut person = Client::connect(gateway.address("smtp.tls_listen")).encrypt(authority.client(&[]), NAME);
    assert!(offered(&mut person).contains("AUTH"));

    let mut device = Client::connect(gateway.address("smtp.listener"));
    let extensions = offered(&mut device);
    assert!(extensions.contains("AUTH") && extensions.contains("STARTTLS"), "{extensions}");
    assert_eq!(device.say(&plain(JOE)).code, 235);
    assert_eq!(device.submit("a@test", "b@test", "Subject: x\r\n\r\nx\r\n").code, 250);
    assert_eq!(sink.messages().len(), 1);
    let line = gateway.log().wait_for(&["listening", "\"smtp.listener\""]);
    assert!(line.contains("\"require_tls\":false") && line.contains("127.0.0.0/8"), "{line}");
}

// Case D11: a device that fails at STARTTLS is not offered it.
#[test]
fn a_listener_can_do_without_starttls() {
    let keys = "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\ntls = \"none\"\n";
    let (gateway, _sink, _) = site(keys, "");
    let mut device = Client::connect(gateway.address("smtp.listener"));
    let extensions = offered(&mut device);
    assert!(extensions.contains("AUTH") && !extensions.contains("STARTTLS"), "{extensions}");
    assert_eq!(device.say("STARTTLS").code, 502);
    assert_eq!(device.say(&plain(JOE)).code, 235);
}

// Case D11: who is not in the networks is told so, logged and counted.
#[test]
fn a_client_from_elsewhere_is_greeted_with_the_reason() {
    let keys = "networks = [\"192.0.2.0/24\", \"127.0.0.7\"]\n";
    let (gateway, _sink, authority) = site(keys, "");
    is_turned_away(Client::connect(gateway.address("smtp.listen")));
    // It hears that within TLS if that begins the connection.
    let client = Client::connect(gateway.address("smtp.tls_listen"));
    is_turned_away(client.encrypt(authority.client(&[]), NAME));
    // One that speaks at once gets the reason, and no reset.
    let mut eager = Client::connect(gateway.address("smtp.listen"));
    eager.send(b"EHLO client.test\r\nNOOP\r\n");
    is_turned_away(eager);
    wait_for_metric(&gateway, TURNED_AWAY, 3);
    let line = gateway.log().wait_for(&["\"refused\"", "not in the networks", "\"127.0.0.1\""]);
    assert!(line.contains("INFO") && line.contains("\"smtp.listen\""), "{line}");
}

// Case D11: who is turned away within TLS costs a bounded number of handshakes.
#[test]
fn few_handshakes_at_once_are_for_clients_that_are_turned_away() {
    let (gateway, _sink, _) = site("networks = [\"192.0.2.0/24\"]\n", "");
    // Each of them awaits a handshake that does not begin, but for one.
    let mut clients: Vec<Client> =
        (0..17).map(|_| Client::connect(gateway.address("smtp.tls_listen"))).collect();
    wait_for_metric(&gateway, TURNED_AWAY, 1);
    gateway.log().wait_for(&["\"refused\"", "not in the networks", "\"smtp.tls_listen\""]);
    let closed = clients.iter_mut().filter_map(|client| {
        (!client.hears_nothing_for(Duration::from_millis(20))).then(|| client.is_closed())
    });
    assert_eq!(closed.collect::<Vec<_>>(), [true]);
}

// Case D11: the address that a trusted proxy names is judged, and nobody else can name one.
#[test]
fn behind_a_proxy_the_address_that_it_names_is_judged() {
    let keys = "proxy_protocol = true\nnetworks = [\"192.0.2.0/24\", \"2001:db8::/48\"]\n";
    let (gateway, _sink, authority) = site(keys, PROXIES);
    let connect = |key, header: &str| {
        let mut client = Client::connect(gateway.address(key));
        client.send(header.as_bytes());
        client
    };
    let from = |address| format!("PROXY TCP4 {address} 198.51.100.1 8080 25\r\n");
    let mut admitted = connect("smtp.listen", &from("192.0.2.9"));
    assert!(offered(&mut admitted).contains("AUTH"));
    let inside = "PROXY TCP6 2001:db8::7 2001:db8::8 8080 25\r\n";
    let mut admitted = connect("smtp.tls_listen", inside).encrypt(authority.client(&[]), NAME);
    assert!(offered(&mut admitted).contains("AUTH"));
    // IPv4 in IPv6 is IPv4.
    let mapped = "PROXY TCP6 ::ffff:192.0.2.3 ::1 8080 25\r\n";
    assert_eq!(connect("smtp.listen", mapped).answer().code, 220);

    is_turned_away(connect("smtp.listen", &from("198.51.100.7")));
    is_turned_away(connect("smtp.listen", "PROXY TCP6 2001:db8:1::7 2001:db8::8 8080 25\r\n"));
    let outside = connect("smtp.tls_listen", &from("198.51.100.7"));
    is_turned_away(outside.encrypt(authority.client(&[]), NAME));
    // The proxy itself is no exception.
    is_turned_away(connect("smtp.listen", "PROXY UNKNOWN\r\n"));
    wait_for_metric(&gateway, TURNED_AWAY, 4);
    gateway.log().wait_for(&["not in the networks", "\"198.51.100.7\""]);
}

// Case D11: a claim of somebody who is not a trusted proxy counts for nothing.
#[test]
fn no_client_can_claim_an_address() {
    let keys = "proxy_protocol = true\nnetworks = [\"192.0.2.0/24\"]\n";
    let server = "[server]\nthreads = 2\ntrusted_proxies = [\"192.0.2.250\"]\n";
    let (gateway, _sink, _) = site(keys, server);
    let mut client = Client::connect(gateway.address("smtp.listen"));
    client.send(b"PROXY TCP4 192.0.2.9 198.51.100.1 8080 25\r\n");
    is_turned_away(client);
}

// Case D11: one listener expects the header of a proxy, and the other one doesn't.
#[test]
fn a_listener_beside_the_one_for_the_proxy_expects_no_header() {
    let keys = "[[smtp.listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    let (gateway, _sink, _) = site(keys, PROXIES);
    assert_eq!(Client::connect(gateway.address("smtp.listen")).answer().code, 220);
    let mut proxied = Client::connect(gateway.address("smtp.listener"));
    proxied.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\r\n");
    assert_eq!(proxied.answer().code, 220);
    proxied.say("EHLO client.test");
    assert_eq!(proxied.say(&plain("nobody:passw0rd-0")).code, 535);
    gateway.log().wait_for(&["\"denied\"", "\"192.0.2.1\""]);
}

// Case D11: `gatepost check` says what to add to a listener that anyone could send passwords to.
#[test]
fn check_asks_for_the_networks() {
    let smtp =
        "[smtp]\nupstreams = [\"smtp://127.0.0.1:2600\"]\nrequire_tls = false\nlisten = [\"0.0.0.0:2525\"]\n";
    let check = |text: &str| {
        let directory = configured(text);
        let file = directory.path().join("gatepost.toml");
        let output =
            Command::new(env!("CARGO_BIN_EXE_gatepost")).arg("check").arg("--config").arg(file).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (accepted, text) = check(smtp);
    let advice = "smtp.listen: 0.0.0.0:2525 would accept unencrypted passwords from every network: add networks = \
                  [\"192.168.7.0/24\"] with those that may connect, or set require_tls = true";
    assert!(!accepted && text.contains(advice), "{text}");
    let (accepted, text) = check(&format!("{smtp}networks = [\"192.168.7.0/24\"]\n"));
    assert!(accepted && !text.contains("unencrypted"), "{text}");
}
