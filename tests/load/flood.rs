//! A flood of wrong passwords: verified credentials do not notice it, and the queue is bounded. How long things take
//! meanwhile is measured by `cargo bench --bench flood`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::common::backend::Backend;
use crate::common::http::{Connection, get};
use crate::common::{Gateway, HOLDER, PATIENCE, api};

const CONNECTIONS: usize = 200;
const QUEUE: u64 = 16;

fn flooded(throttle: bool) {
    crate::common::allow_descriptors(4096);
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!(
        "[auth]\nbcrypt_cost = 10\nhash_threads = 1\nhash_queue = {QUEUE}\nthrottle = {throttle}\n\
         {}[ops]\nlisten = \"127.0.0.1:0\"\n",
        api(backend.address)
    ));
    gateway.account("email,api,web");
    assert_eq!(get("/api/a.json").basic(HOLDER).send(gateway.api()).status, 200);

    let over = AtomicBool::new(false);
    let (denied, put_off) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for guesser in 0..CONNECTIONS {
            let (gateway, over, denied, put_off) = (&gateway, &over, &denied, &put_off);
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.api());
                let mut guess = 0;
                while !over.load(Ordering::Relaxed) {
                    guess += 1;
                    // The account's own name, others that exist or don't, never the same password.
                    let name = ["acme", "nobody", "somebody-else"][guess % 3];
                    let login = format!("{name}:guess-{guesser}-{guess}");
                    let response = connection.exchange(get("/api/a.json").basic(&login));
                    match response.status {
                        401 => denied.fetch_add(1, Ordering::Relaxed),
                        429 | 503 => {
                            assert!(response.header("retry-after").is_some());
                            put_off.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("a guess was answered with {other}"),
                    };
                }
            });
        }
        // However this ends, the guessers end with it.
        let _over = Over(&over);
        let mut owner = Connection::open(gateway.api());
        let ops = gateway.address("ops.listen");
        // Until guesses were checked, put off and seen to wait, and long enough to be among them.
        let (mut answered, mut most, began) = (0, 0, Instant::now());
        while answered < 30
            || denied.load(Ordering::Relaxed) == 0
            || put_off.load(Ordering::Relaxed) < 50
            || most == 0
        {
            assert!(began.elapsed() < PATIENCE, "{answered} answers, and {most} checks wait at most");
            assert_eq!(owner.exchange(get("/api/a.json").basic(HOLDER)).status, 200);
            answered += 1;
            if most == 0 || answered % 10 == 0 {
                let waiting = queue(&get("/metrics").send(ops).text());
                assert!(waiting <= QUEUE, "{waiting} checks wait");
                most = most.max(waiting);
            }
        }
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that wait, in the lane where most do: the bound is for each.
fn queue(metrics: &str) -> u64 {
    let lanes = metrics.lines().filter(|line| line.starts_with("gatepost_password_queue{"));
    lanes.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).max().unwrap()
}

#[test]
fn the_verified_are_always_served_with_throttle() {
    flooded(true);
}

#[test]
fn the_verified_are_always_served_without_throttle() {
    flooded(false);
}
