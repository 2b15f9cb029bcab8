//! Where the store can't be asked, a mail client is told to try again: nobody sends unasked, nobody is told that a password is
//! wrong, and sessions go on when the store is back.

use std::fs;

use crate::common::database::{Damage, Other, file_of};
use crate::common::mail::{ANN, CONTENT, Client, JOE, metric, plain, smtp, wait_for_metric};
use crate::common::sink::Sink;
use crate::common::{Gateway, configure_store, configured};

const LATER: &str = "454 4.7.0 Temporary authentication failure";

/// One connection that reads, so that what it remembers of the file is known; and what is known of a credential is read again
/// at each look.
fn started(sink: &Sink) -> Gateway {
    let rest = format!(
        "[auth]\nbcrypt_cost = 4\nthrottle = false\ncache_ttl = \"1ms\"\n[ops]\nlisten = \"127.0.0.1:0\"\n{}",
        smtp(&[sink.address], "max_failed_logins = 100")
    );
    let directory = configured(&rest);
    configure_store(directory.path(), "read_connections = 1\nbusy_timeout = \"100ms\"");
    let gateway = Gateway::start_in(directory);
    gateway.account("email").credential(JOE, "email").credential(ANN, "email");
    gateway
}

#[test]
fn at_auth_and_at_mail() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let address = gateway.address("smtp.listen");
    let mut open = Client::login(address, JOE);
    assert_eq!(open.submit("a@test", "b@test", CONTENT).code, 250);
    let mut within = Client::login(address, JOE);
    for line in ["MAIL FROM:<a@test>", "RCPT TO:<b@test>", "DATA"] {
        assert!(within.say(line).code < 400);
    }
    let mut fresh = Client::hello(address);

    let damage = Damage::of(&gateway);
    for login in [ANN, "ann:passw0rd-of-joe", "nobody:passw0rd-0", JOE] {
        assert_eq!(fresh.say(&plain(login)).text(), LATER, "{login}");
        assert_eq!(fresh.say("MAIL FROM:<a@test>").code, 530);
    }
    for _ in 0..2 {
        assert_eq!(open.say("MAIL FROM:<a@test>").text(), LATER);
        assert_eq!(open.say("RCPT TO:<b@test>").code, 503);
        assert_eq!(open.say("DATA").code, 503);
    }
    // All in one write, as clients with PIPELINING do.
    open.send(b"MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\nNOOP\r\n");
    assert_eq!([0; 4].map(|_| open.answer().code), [454, 503, 503, 250]);
    // What was decided before goes on.
    assert_eq!(within.say(&format!("{CONTENT}.")).code, 250);
    assert_eq!(within.say("MAIL FROM:<a@test>").text(), LATER);
    assert_eq!(sink.messages().len(), 2);
    let unavailable = "gatepost_decisions_total{entry=\"smtp\",permission=\"email\",outcome=\"unavailable\"}";
    assert_eq!(metric(&gateway, unavailable), 8);

    damage.repair();
    assert_eq!(open.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(within.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(fresh.say(&plain("ann:passw0rd-of-joe")).code, 535);
    assert_eq!(fresh.say(&plain(ANN)).code, 235);
    assert_eq!(fresh.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(sink.messages().len(), 5);
}

#[test]
fn what_was_revoked_meanwhile_sends_nothing() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut open = Client::login(gateway.address("smtp.listen"), JOE);
    let mut other = Client::login(gateway.address("smtp.listen"), ANN);
    // It is gone from the file in the time in which nobody can read that, and nobody is told of it.
    let mut damage = Damage::of(&gateway);
    assert_eq!(open.say("MAIL FROM:<a@test>").text(), LATER);
    let copy = gateway.directory.path().join("copy.db");
    fs::write(&copy, &damage.whole).unwrap();
    Other::run(&copy, "db.execute(\"DELETE FROM principal WHERE name = 'joe'\")\nsay()").end();
    Other::run(&copy, "db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\nsay()").end();
    damage.whole = fs::read(&copy).unwrap();
    damage.repair();
    open.try_send(b"MAIL FROM:<a@test>\r\n");
    assert!(open.answer().text().starts_with("421 4.7.0 "));
    assert!(open.is_closed());
    assert_eq!(other.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(sink.messages().len(), 1);
    wait_for_metric(&gateway, "gatepost_smtp_sessions", 1);
}

#[test]
fn a_lock_of_somebody_else_stops_nobody_who_only_reads() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let mut open = Client::login(gateway.address("smtp.listen"), JOE);
    let lock = Other::run(&file_of(&gateway), "db.execute('BEGIN EXCLUSIVE')\nsay()\ndb.execute('ROLLBACK')");
    assert_eq!(open.submit("a@test", "b@test", CONTENT).code, 250);
    let mut fresh = Client::hello(gateway.address("smtp.listen"));
    assert_eq!(fresh.say(&plain("ann:passw0rd-of-joe")).code, 535);
    assert_eq!(fresh.say(&plain(ANN)).code, 235);
    assert_eq!(fresh.submit("a@test", "b@test", CONTENT).code, 250);
    lock.end();
    assert_eq!(sink.messages().len(), 2);
}

#[test]
fn a_file_that_is_moved_away_and_comes_back() {
    let sink = Sink::good();
    let gateway = started(&sink);
    let address = gateway.address("smtp.listen");
    let (mut open, mut fresh) = (Client::login(address, JOE), Client::hello(address));
    let (file, away) = (file_of(&gateway), gateway.directory.path().join("away.db"));
    fs::rename(&file, &away).unwrap();
    // Another may take its place, so nothing is decided meanwhile.
    gateway.log().wait_for(&["was moved or deleted"]);
    assert_eq!(open.say("MAIL FROM:<a@test>").code, 454);
    assert_eq!(fresh.say(&plain(ANN)).code, 454);
    fs::rename(&away, &file).unwrap();
    assert_eq!(open.submit("a@test", "b@test", CONTENT).code, 250);
    assert_eq!(fresh.say(&plain(ANN)).code, 235);
    assert_eq!(fresh.submit("a@test", "b@test", CONTENT).code, 250);
}
