//! The certificate of mail listeners is renewed without a restart, and the sessions that are open go on.

use crate::common::mail::{CONTENT, Client, JOE, NAME, plain, secured};
use crate::common::sink::Sink;
use crate::common::tls::{Authority, connect};

#[test]
fn a_renewed_certificate_is_shown_after_sighup_by_starttls_and_from_the_first_byte() {
    let (authority, sink) = (Authority::new(), Sink::good());
    let gateway = secured(&authority, &[sink.url()], "", "");
    gateway.account("email").credential(JOE, "email");
    let (clear, encrypted) = (gateway.address("smtp.listen"), gateway.address("smtp.tls_listen"));
    let shown = || {
        let implicit = connect(encrypted, NAME, authority.client(&[])).unwrap();
        let implicit = implicit.conn.peer_certificates().unwrap()[0].to_vec();
        let by_starttls = Client::hello(clear).start_tls(authority.client(&[])).certificate();
        assert_eq!(by_starttls, implicit);
        implicit
    };
    let first = shown();
    let mut open = Client::hello(clear).start_tls(authority.client(&[]));
    // In clear yet.
    let mut half = Client::hello(clear);
    let mut renew = authority.issue(NAME);
    renew.write(gateway.directory.path());
    gateway.signal("HUP");
    gateway.log().wait_for(&["certificate reloaded"]);
    let second = shown();
    assert_ne!(second, first);
    for client in [&mut open, &mut half] {
        assert_eq!(client.say("NOOP").code, 250);
    }
    assert_eq!(half.start_tls(authority.client(&[])).certificate(), second);
    assert_eq!(open.say(&plain(JOE)).code, 235);
    assert_eq!(open.submit("a@test", "b@test", CONTENT).code, 250);
    // One that is none changes nothing.
    renew.certificate = "nothing".into();
    renew.write(gateway.directory.path());
    gateway.signal("HUP");
    gateway.log().wait_for(&["the old one stays in use"]);
    assert_eq!(shown(), second);
}
