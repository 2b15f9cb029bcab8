//! Where the store can't be asked, the answer is 503 and "try again": nobody is told that a password is wrong, and
//! nobody gets in.

use crate::common::backend::Backend;
use crate::common::database::{Damage, Other, file_of};
use crate::common::http::{Connection, Response, get, request};
use crate::common::{Gateway, HOLDER, api, command, configure_store, configured};

const WARM: &str = "warm-one:passw0rd-warm";
const COLD: &str = "cold-one:passw0rd-cold";

fn start(backend: &Backend) -> Gateway {
    // One connection that reads, so that what it remembers of the file is known; little patience with locks.
    let rest = format!(
        "[auth]\nbcrypt_cost = 4\nthrottle = false\n{}[ops]\nlisten = \"127.0.0.1:0\"\n",
        api(backend.address)
    );
    let directory = configured(&rest);
    configure_store(directory.path(), "read_connections = 1\nbusy_timeout = \"100ms\"");
    let gateway = Gateway::start_in(directory);
    gateway.account("email,api,web").credential(WARM, "api").credential(COLD, "api");
    gateway
}

fn ready(gateway: &Gateway) -> u16 {
    get("/readyz").send(gateway.address("ops.listen")).status
}

fn assert_unavailable(response: &Response, context: &str) {
    assert_eq!(response.status, 503, "{context}: {}", response.text());
    let seconds: u64 = response.header("retry-after").expect(context).parse().unwrap();
    assert!((1..=60).contains(&seconds), "{context}: {seconds}");
    assert_eq!(response.header("www-authenticate"), None, "{context}");
    for word in ["password", "username", "database", "sqlite", "disk", "locked"] {
        assert!(!response.text().to_ascii_lowercase().contains(word), "{context}: {}", response.text());
    }
}

#[test]
fn a_damaged_database_denies_nobody_and_lets_nobody_in() {
    let backend = Backend::hello();
    let gateway = start(&backend);
    let mut connection = Connection::open(gateway.api());
    assert_eq!(connection.exchange(get("/v3/stats").basic(WARM)).status, 200);
    backend.drain();
    let damage = Damage::of(&gateway);

    let mut asked = Vec::new();
    for (who, login) in [
        ("a good password", COLD),
        ("a wrong one", "cold-one:wrong-passw0rd"),
        ("a wrong one of who is known", "warm-one:wrong-passw0rd"),
        ("nobody", "unknown-one:passw0rd"),
        ("the holder", HOLDER),
        ("somebody once more", COLD),
    ] {
        asked.push((who, connection.exchange(get("/v3/stats").basic(login))));
        asked.push((who, connection.exchange(request("POST", "/v3/mail/send").basic(login).body("x"))));
        let parameters = login.replacen(':', "&api_key=", 1);
        asked.push((who, connection.exchange(get(&format!("/v3/stats?api_user={parameters}")))));
        asked.push((
            who,
            connection.exchange(get(&format!("/api/credentials/get.json?api_user={parameters}"))),
        ));
        asked.push((
            who,
            connection.exchange(get(&format!("/api/credentials/get.xml?api_user={parameters}"))),
        ));
    }
    for (who, response) in &asked {
        assert_unavailable(response, who);
    }
    for action in ["add", "edit", "remove"] {
        let path = format!("/api/credentials/{action}.json?username=another&password=passw0rd-1");
        assert_unavailable(&connection.exchange(get(&path).basic(HOLDER)), action);
    }
    assert!(backend.drain().is_empty(), "nobody got in");
    assert_eq!(ready(&gateway), 503);
    assert_eq!(get("/healthz").send(gateway.address("ops.listen")).status, 200);
    // What is remembered still stands: nothing can have changed it.
    assert_eq!(connection.exchange(get("/v3/stats").basic(WARM)).status, 200);

    damage.repair();
    assert_eq!(connection.exchange(get("/v3/stats").basic(COLD)).status, 200, "it comes back");
    assert_eq!(connection.exchange(get("/v3/stats").basic("cold-one:wrong-passw0rd")).status, 401);
    assert_eq!(ready(&gateway), 200);
    assert_eq!(gateway.manage("add", "username=another&password=passw0rd-1").0, 200);
}

#[test]
fn a_database_locked_by_somebody_else_changes_nothing() {
    let backend = Backend::hello();
    let gateway = start(&backend);
    let lock = Other::run(&file_of(&gateway), "db.execute('BEGIN EXCLUSIVE')\nsay()\ndb.execute('ROLLBACK')");
    let mut connection = Connection::open(gateway.api());
    for call in [
        "add.json?username=another&password=passw0rd-1",
        "edit.json?username=cold-one&password=other-passw0rd",
        "remove.xml?username=cold-one",
    ] {
        let response = connection.exchange(get(&format!("/api/credentials/{call}")).basic(HOLDER));
        assert_unavailable(&response, call);
    }
    // Reading goes on, and decides on what was true before.
    assert_eq!(connection.exchange(get("/v3/stats").basic(COLD)).status, 200);
    assert_eq!(connection.exchange(get("/v3/stats").basic("cold-one:other-passw0rd")).status, 401);
    assert_eq!(connection.exchange(get("/v3/stats").basic("another:passw0rd-1")).status, 401);
    assert_eq!(get("/healthz").send(gateway.address("ops.listen")).status, 200);
    let output = gateway.command(&["credential", "remove", "cold-one", "--account", "acme"], "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    lock.end();
    assert_eq!(gateway.manage("remove", "username=cold-one").0, 200, "it comes back");
    assert_eq!(connection.exchange(get("/v3/stats").basic(COLD)).status, 401);
}

/// A gateway that can't open its store doesn't begin; it says why in a line.
#[test]
fn no_store_no_start() {
    let rest = api("127.0.0.1:9".parse().unwrap());
    for (contents, word) in [
        (&b"not a database, whatever its name says; and long enough to be one"[..], "gatepost.db"),
        (b"", ""),
    ] {
        let directory = configured(&rest);
        let file = directory.path().join("gatepost.db");
        if contents.is_empty() {
            std::fs::create_dir(&file).unwrap();
        } else {
            std::fs::write(&file, contents.repeat(40)).unwrap();
        }
        let output = command(&directory.path().join("gatepost.toml"), &["serve"], "");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(word) && !text.contains("panicked"), "{text}");
    }
}

/// The file is moved away under the running gateway, and comes back.
#[test]
fn a_database_that_is_moved_away() {
    let backend = Backend::hello();
    let gateway = start(&backend);
    let (file, away) = (file_of(&gateway), gateway.directory.path().join("away.db"));
    std::fs::rename(&file, &away).unwrap();
    let mut connection = Connection::open(gateway.api());
    let response = connection.exchange(get("/v3/stats").basic(COLD));
    if response.status != 200 {
        assert_unavailable(&response, "moved away");
    }
    let response = connection.exchange(get("/api/credentials/remove.json?username=warm-one").basic(HOLDER));
    let removed = response.status == 200;
    if !removed {
        assert_unavailable(&response, "moved away");
    }
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(connection.exchange(get("/v3/stats").basic(COLD)).status, 200, "it comes back");
    // What was answered with success is true, wherever the file was.
    assert_eq!(connection.exchange(get("/v3/stats").basic(WARM)).status, if removed { 401 } else { 200 });
}
