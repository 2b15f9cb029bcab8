//! An attack on one username from many addresses: its owner gets in, also after a restart.

use std::net::SocketAddr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::common::backend::Backend;
use crate::common::mail::{metric, section};
use crate::common::sink::{Settings, Sink};
use crate::common::{Gateway, PATIENCE, api};
use crate::door::{Door, Doors};

const GUESSERS: usize = 110;

struct Attack {
    doors: RwLock<Doors>,
    over: AtomicBool,
    answered: AtomicUsize,
}

impl Attack {
    /// Guesses from one address as fast as it is answered, never the same password twice.
    fn guess(&self, from: &str, door: Door) {
        for nth in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let doors = *self.doors.read().unwrap();
            // While the gateway is restarted, nobody answers.
            match doors.try_login(door, from, &format!("joe:guess-{from}-{nth}")) {
                Some((200 | 235, _)) => panic!("a guess was right"),
                Some(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                None => std::thread::yield_now(),
            }
        }
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the username is throttled for most that guess.
fn wait_for_throttle(gateway: &Gateway) {
    let throttled = || -> u64 {
        let by = |entry| format!("gatepost_throttled_total{{by=\"username\",entry=\"{entry}\"}}");
        ["api", "smtp"].into_iter().map(|entry| metric(gateway, &by(entry))).sum()
    };
    let began = Instant::now();
    while throttled() < 2 * GUESSERS as u64 {
        assert!(began.elapsed() < 2 * PATIENCE, "the username is never throttled");
        std::thread::yield_now();
    }
}

fn doors(gateway: &Gateway) -> Doors {
    let of = |key| -> SocketAddr { gateway.address(key) };
    Doors { http: of("api.listen"), smtp: of("smtp.listen") }
}

// Case F3: 110 guesses a second for one username, each from another address.
#[test]
fn the_owner_gets_in_within_three_tries_while_110_addresses_guess() {
    crate::common::allow_descriptors(4096);
    let (backend, sink) = (Backend::hello(), Sink::start(Settings::default()));
    let smtp = section(&[sink.url()], "proxy_protocol = true\nmax_connections_per_source = 1000");
    let mut gateway = Gateway::start(&format!(
        "[auth]\nbcrypt_cost = 8\nhash_threads = 1\n[ops]\nlisten = \"127.0.0.1:0\"\n\
         [server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\nmax_connections_per_source = 1000\n{}{smtp}",
        api(backend.address)
    ));
    gateway.account("email,api,web").credential("joe:passw0rd-1", "email,api");
    // Once from each of two networks, by both protocols.
    assert_eq!(doors(&gateway).login(Door::Http, "203.0.113.5", "joe:passw0rd-1").0, 200);
    assert_eq!(doors(&gateway).login(Door::Smtp, "2001:db8:1::5", "joe:passw0rd-1").0, 235);

    let attack = Attack {
        doors: RwLock::new(doors(&gateway)),
        over: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for guesser in 0..GUESSERS {
            let door = if guesser % 5 == 0 { Door::Smtp } else { Door::Http };
            let attack = &attack;
            scope.spawn(move || attack.guess(&format!("198.18.{guesser}.1"), door));
        }
        let _over = Over(&attack.over);
        // Other addresses of these networks, a new password each time: nothing that the cache knows.
        let is_in = |gateway: &Gateway, door, from: &str, password: &str| {
            let mut tries = Vec::new();
            while tries.len() < 3 && !matches!(tries.last(), Some(200 | 235)) {
                tries.push(doors(gateway).login(door, from, &format!("joe:{password}")).0);
            }
            assert!(matches!(tries.last(), Some(200 | 235)), "{from}: {tries:?}");
            println!("{door:?} from {from}: {tries:?}");
        };
        wait_for_throttle(&gateway);
        assert_eq!(gateway.manage("edit", "username=joe&password=passw0rd-2").0, 200);
        is_in(&gateway, Door::Http, "203.0.113.77", "passw0rd-2");
        assert_eq!(gateway.manage("edit", "username=joe&password=passw0rd-3").0, 200);
        is_in(&gateway, Door::Smtp, "2001:db8:1:2::77", "passw0rd-3");

        gateway.signal("TERM");
        assert_eq!(gateway.wait(), Some(0));
        gateway.restart();
        *attack.doors.write().unwrap() = doors(&gateway);
        wait_for_throttle(&gateway);
        is_in(&gateway, Door::Http, "203.0.113.99", "passw0rd-3");
        assert_eq!(gateway.manage("edit", "username=joe&password=passw0rd-4").0, 200);
        is_in(&gateway, Door::Smtp, "2001:db8:1:3::99", "passw0rd-4");
        // A network in which nobody logged in has no such lane.
        let strangers = (1..10).map(|n| {
            assert_eq!(gateway.manage("edit", &format!("username=joe&password=passw0rd-5{n}")).0, 200);
            let from = format!("192.0.{n}.1");
            doors(&gateway).login(Door::Http, &from, &format!("joe:passw0rd-5{n}")).0
        });
        let strangers: Vec<u16> = strangers.collect();
        assert!(strangers.contains(&429), "{strangers:?}");
        let answered = attack.answered.load(Ordering::Relaxed);
        println!("{answered} guesses in {:?}; from unknown networks: {strangers:?}", began.elapsed());
    });
}
