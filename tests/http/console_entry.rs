//! The entry of the console: a host of its own, and nothing behind it.

use crate::common::Gateway;
use crate::common::http::get;

fn start(keys: &str) -> Gateway {
    Gateway::start(&format!("[console]\nlisten = [\"127.0.0.1:0\"]\n{keys}"))
}

#[test]
fn only_its_own_host_is_answered() {
    let gateway = start("host = \"console.test\"\n");
    let at = gateway.address("console.listen");
    for host in ["console.test", "CONSOLE.test:8082"] {
        assert_ne!(get("/").for_host(host).send(at).status, 421, "{host}");
    }
    for host in ["gate.test", "console.test.evil.test", "xconsole.test", "console.testx", "127.0.0.1"] {
        let response = get("/").for_host(host).send(at);
        assert_eq!(response.status, 421, "{host}");
        assert!(response.text().contains("host name"), "{}", response.text());
    }
    gateway.log().wait_for(&["\"refusal\"", "host name of another entry", "\"console\""]);
}

#[test]
fn without_one_any_host_is_answered() {
    let gateway = start("");
    for host in ["console.test", "127.0.0.1:1", "localhost"] {
        assert_ne!(get("/").for_host(host).send(gateway.address("console.listen")).status, 421, "{host}");
    }
}

#[test]
fn the_host_can_change_by_a_reload() {
    let gateway = start("");
    let at = gateway.address("console.listen");
    assert_ne!(get("/").send(at).status, 421);
    let config = gateway.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}host = \"console.test\"\n")).unwrap();
    gateway.signal("HUP");
    gateway.log().wait_for(&["configuration reloaded"]);
    assert_eq!(get("/").send(at).status, 421);
}
