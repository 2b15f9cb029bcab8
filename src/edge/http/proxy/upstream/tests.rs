use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::config::Config;

#[tokio::test]
async fn a_slow_address_is_asked_once_while_the_rounds_continue() {
    let [slow, good] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [&slow, &good].map(|listener| listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in good.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let text = "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://backend.invalid:1\"]\n\
                health_check = \"/healthz\"\nconnect_timeout = \"10m\"\n";
    let text = format!("[store]\nurl = \"sqlite:///unused.db\"\n{text}");
    let config = Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let settings = &config.api.as_ref().unwrap().groups[0];
    let gauges = UpstreamGauges::new(&Metrics::new(), Entry::Api);
    let group = UpstreamGroup::new(settings, 1, 1, Duration::ZERO, &gauges).unwrap();
    group.servers[0].addresses.set(addresses.to_vec());
    let mut checks = group.checks(0);
    for _ in 0..5 {
        checks.round().await;
        assert!(group.servers[0].is_up());
    }
    let running: Vec<_> = checks.running.iter().map(|(address, _)| *address).collect();
    assert_eq!((running, group.servers[0].addresses.failed()), (vec![addresses[0]], vec![]));
    slow.set_nonblocking(true).unwrap();
    assert_eq!((0..2).filter(|_| slow.accept().is_ok()).count(), 1);
}
