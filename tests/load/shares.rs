//! Many at once, and others beside them: no account occupies the password hashing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::accounts::{add_account, add_credential};
use crate::common::backend::Backend;
use crate::common::http::{Connection, Request, request};
use crate::common::{Gateway, HOLDER, PATIENCE, api};

const CALLERS: usize = 300;
const OTHER: &str = "other:holder-passw0rd";

fn edit(login: &str, username: &str, change: &str) -> Request {
    request("POST", "/api/credentials/edit.json")
        .basic(login)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("username={username}&{change}"))
}

// Case F4: one account holder edits passwords with 300 threads, and another one edits one.
#[test]
fn an_account_that_hashes_all_the_time_refuses_nobody_else() {
    crate::common::allow_descriptors(4096);
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!(
        "[auth]\nbcrypt_cost = 8\nhash_threads = 1\nhash_queue = 64\n\
         [server]\nthreads = 2\nmax_connections_per_source = 1000\n{}",
        api(backend.address)
    ));
    gateway.account("email,api,web").credential("joe:passw0rd-0", "api");
    add_account(&gateway.config(), "other", "holder-passw0rd", "email,api,web");
    add_credential(&gateway.config(), "other", "ann", "passw0rd-0", "api");

    let over = AtomicBool::new(false);
    let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (gateway, over, done, refused) = (&gateway, &over, &done, &refused);
            scope.spawn(move || {
                let mut connection = Connection::open(gateway.api());
                for nth in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    // Every third one sets permissions only, which is written without a hash.
                    let call = match caller % 3 {
                        0 => edit(HOLDER, "joe", "permissions[api]=1"),
                        _ => edit(HOLDER, "joe", &format!("password=passw0rd-{caller}-{nth}")),
                    };
                    match connection.exchange(call).status {
                        200 => done.fetch_add(1, Ordering::Relaxed),
                        503 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("an edit was answered with {other}"),
                    };
                    connection.reopen_if_closing();
                }
            });
        }
        let _over = Over(&over);
        let began = Instant::now();
        while refused.load(Ordering::Relaxed) < 100 || done.load(Ordering::Relaxed) == 0 {
            assert!(began.elapsed() < PATIENCE, "the lane is never full");
            std::thread::yield_now();
        }
        let before = done.load(Ordering::Relaxed);
        let mut other = Connection::open(gateway.api());
        let mut longest = Duration::ZERO;
        for nth in 0..10 {
            let began = Instant::now();
            let response = other.exchange(edit(OTHER, "ann", &format!("password=passw0rd-{nth}")));
            assert_eq!(response.status, 200, "{nth}: {}", response.text());
            longest = longest.max(began.elapsed());
        }
        // Turns go round: one hash at a time, and no queue of sixty before each of them.
        let meanwhile = done.load(Ordering::Relaxed) - before;
        assert!(
            meanwhile < 200,
            "{meanwhile} edits of the one came before ten of the other; at most {longest:?}"
        );
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
