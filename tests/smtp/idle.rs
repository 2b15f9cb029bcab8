//! Thousands of sessions that wait cost little, hinder nobody, and all end at once with their credential.

use std::time::{Duration, Instant};

use crate::common::mail::{CONTENT, Client, JOE, smtp, wait_for_metric};
use crate::common::sink::Sink;
use crate::common::{Gateway, HOLDER};

const SESSIONS: usize = 5_000;
/// Resident memory for each of them, in KiB.
const EACH: f64 = 24.0;

fn started(sink: &Sink) -> Gateway {
    // Each has two ends, and they are in two processes.
    crate::common::allow_descriptors(2 * SESSIONS as u64);
    let api = "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:9\"]\n[ops]\nlisten = \"127.0.0.1:0\"\n";
    let limits = format!("max_connections_per_source = {}\n", 2 * SESSIONS);
    let gateway = Gateway::start(&format!("{api}{}", smtp(&[sink.address], &limits)));
    gateway.account("email,api,web").credential(JOE, "email");
    gateway
}

/// So many sessions of Joe, idle after AUTH.
fn sessions(gateway: &Gateway, count: usize) -> Vec<Client> {
    let address = gateway.address("smtp.listen");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || (thread..count).step_by(4).map(|_| Client::login(address, JOE)).collect())
            })
            .collect();
        threads.into_iter().flat_map(|thread| -> Vec<Client> { thread.join().unwrap() }).collect()
    })
}

#[test]
fn thousands_of_idle_sessions_cost_little_and_end_with_their_credential() {
    let sink = Sink::good();
    let gateway = started(&sink);
    // All that is made once is made.
    drop(sessions(&gateway, 200));
    let mut beside = Client::login(gateway.address("smtp.listen"), HOLDER);
    assert_eq!(beside.submit("a@test", "b@test", CONTENT).code, 250);

    let before = gateway.resident();
    let idle = sessions(&gateway, SESSIONS);
    let after = gateway.resident();
    let each = after.saturating_sub(before) as f64 / 1024.0 / SESSIONS as f64;
    println!("{each:.2} KiB for each idle session: {} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(each <= EACH, "{each:.2} KiB for each idle session");

    for _ in 0..10 {
        assert_eq!(beside.submit("a@test", "b@test", CONTENT).code, 250);
        let mut new = Client::login(gateway.address("smtp.listen"), HOLDER);
        assert_eq!(new.submit("a@test", "b@test", CONTENT).code, 250);
    }
    assert_eq!(sink.messages().len(), 21);

    let (status, text) = gateway.manage("remove", "username=joe");
    let removed = Instant::now();
    assert_eq!(status, 200, "{text}");
    wait_for_metric(&gateway, "gatepost_sessions_cut_total{entry=\"smtp\"}", SESSIONS as u64);
    let took = removed.elapsed();
    println!("all were cut {took:?} after the removal was answered");
    assert!(took < Duration::from_secs(1), "{took:?}");
    for mut client in idle {
        assert!(client.answer().text().starts_with("421 4.7.0 "));
        assert!(client.is_closed());
    }
    assert_eq!(beside.submit("a@test", "b@test", CONTENT).code, 250);
}
