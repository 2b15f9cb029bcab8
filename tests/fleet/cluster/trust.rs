//! The end of trust of a gateway whose PostgreSQL is gone, and what its operator sees of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Instant;

use serde_json::Value;

use super::gateways::{add_credentials, check, gateway, ready, wait_for};
use crate::common::backend::{Backend, Handler, read_header};
use crate::common::http::get;
use crate::common::postgres::{PostgresServer, Stop};
use crate::common::{Gateway, PATIENCE};

/// The values of all series.
fn metrics(gateway: &Gateway) -> BTreeMap<String, f64> {
    let text = get("/metrics").send(gateway.address("ops.listen")).text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

/// Waits until a metric has such a value.
fn wait_until(gateway: &Gateway, name: &str, wanted: impl Fn(f64) -> bool) {
    let began = Instant::now();
    loop {
        let value = metrics(gateway)[name];
        if wanted(value) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{name} stays {value}");
    }
}

/// The names of metrics in the panels of the dashboard that are about PostgreSQL.
fn of_the_dashboard() -> BTreeSet<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let panels = panels.filter(|panel| panel["title"].as_str().unwrap().starts_with("PostgreSQL: "));
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named = |panel: &Value| {
        let text = panel["targets"].to_string();
        text.split(word).filter(|word| word.starts_with("gatepost_")).map(str::to_owned).collect::<Vec<_>>()
    };
    panels.flat_map(named).collect()
}

/// Switches protocols and takes what it gets until the end.
fn tunnels() -> Box<Handler> {
    Box::new(|stream, received| {
        use std::io::Write;
        let Some(request) = read_header(stream) else { return };
        let _ = received.send(request);
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let _ = stream.get_mut().write_all(switched.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[test]
fn without_its_database_a_gateway_decides_nothing_and_says_so() {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    let database = server.database();
    let one = gateway(&database.url(), &backend);
    one.account("email,api,web");
    add_credentials(&database, 1);
    assert_eq!((check(&one, "user0"), ready(&one)), (200, 200));

    let shown = metrics(&one);
    let names: BTreeSet<&str> = shown.keys().map(|series| series.split('{').next().unwrap()).collect();
    let missing: Vec<_> = of_the_dashboard().into_iter().filter(|name| !names.contains(&name[..])).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(shown["gatepost_lease_seconds"], 3.0);
    assert_eq!(shown["gatepost_database_timeline"], 1.0);
    assert!(shown["gatepost_database_start_time_seconds"] > 1.7e9);
    assert!((0.1..=2.7).contains(&shown["gatepost_trust_seconds"]), "{shown:?}");
    assert!(shown["gatepost_beat_age_seconds"] < 2.7);
    assert_eq!(shown["gatepost_change_lag"], 0.0);
    assert_eq!(shown["gatepost_decisions_without_trust_total"], 0.0);

    server.stop(Stop::Fast);
    // What is cached decides until trust ends, and nothing after that.
    wait_until(&one, "gatepost_trust_seconds", |trust| trust == 0.0);
    assert_eq!(check(&one, "user0"), 503);
    let readiness = get("/readyz").send(one.address("ops.listen"));
    assert_eq!((readiness.status, readiness.text()), (503, "cut off from the database\n".to_owned()));
    assert!(metrics(&one)["gatepost_decisions_without_trust_total"] >= 1.0);
    assert!(metrics(&one)["gatepost_beat_age_seconds"] >= 2.7);
    one.log().wait_for(&["cut off from the database", "\"code\":\"503\""]);

    server.start_again();
    wait_for(&one, "user0", 200);
    assert_eq!(ready(&one), 200);
    let after = metrics(&one);
    assert_eq!(after["gatepost_database_went_back_total"], 0.0);
    assert!(after["gatepost_database_start_time_seconds"] >= shown["gatepost_database_start_time_seconds"]);
    let appeared: Vec<_> = after.keys().filter(|series| !shown.contains_key(*series)).collect();
    assert!(appeared.is_empty(), "{appeared:?}");
}

#[test]
fn a_tunnel_ends_with_the_trust_of_its_gateway() {
    let (server, backend) = (PostgresServer::start(&[]), Backend::handling(tunnels()));
    let database = server.database();
    let one = gateway(&database.url(), &backend);
    one.account("email,api,web");
    add_credentials(&database, 1);
    let request = get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut tunnel = std::net::TcpStream::connect(one.api()).unwrap();
    tunnel.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut tunnel, &request.basic("user0:passw0rd-1").bytes()).unwrap();
    let mut first = [0; 12];
    tunnel.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 101");
    server.stop(Stop::Fast);
    wait_until(&one, "gatepost_trust_seconds", |trust| trust == 0.0);
    let ended = Instant::now();
    let _ = tunnel.read_to_end(&mut Vec::new());
    assert!(ended.elapsed() < PATIENCE / 2, "{:?}", ended.elapsed());
    one.log().wait_for(&["tunnel closed: its credential could not be checked"]);
}
