//! A mail client's secret is nowhere it need not be: not with the backend, in no log line, metric or reply; and neither is the
//! gateway's own.

use crate::common::mail::{Client, arranged, metric, plain};
use crate::common::sink::{Settings, Sink};
use crate::common::tls::Authority;
use crate::common::{Gateway, http};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Every secret here has this in it.
const MARK: &str = "Hush4711";

/// Returns true if the text contains a part of a secret, as it is or in base64.
fn tells(text: &str) -> bool {
    let mut encoded = (0..3).map(|shift| {
        let padded = STANDARD.encode(format!("{}{MARK}", "-".repeat(shift)));
        padded.trim_end_matches('=')[(shift * 4).div_ceil(3)..10].to_owned()
    });
    text.contains(MARK) || encoded.any(|encoded| text.contains(&encoded))
}

#[test]
fn no_trace_of_any_secret() {
    for login in ["joe:", "joey:", "j:"] {
        assert!(tells(&plain(&format!("{login}{MARK}-1"))));
    }
    let mut settings = Settings::default();
    settings.extensions.extend(["AUTH PLAIN LOGIN", "XCLIENT NAME ADDR PROTO HELO LOGIN"]);
    let (authority, sink) = (Authority::new(), Sink::start(settings));
    let keys = "max_failed_logins = 100\nupstream_user = \"gate\"\nupstream_password_file = \"DIR/upstream\"\n\
                identity = [\"header\", \"xclient\"]";
    let rest = "[auth]\nbcrypt_cost = 4\nthrottle = false\n";
    let directory = arranged(&authority, &[sink.url()], keys, rest);
    std::fs::write(directory.path().join("upstream"), format!("{MARK}-upstream\n")).unwrap();
    let gateway = Gateway::start_in(directory);
    let login = format!("joe:{MARK}-of-joe");
    gateway.account("email").credential(&login, "email");
    let (address, mut replies) = (gateway.address("smtp.listen"), String::new());
    for encrypted in [false, true] {
        let hello = || match encrypted {
            true => Client::hello(address).start_tls(authority.client(&[])),
            false => Client::hello(address),
        };
        let mut client = hello();
        let long = STANDARD.encode(MARK.repeat(2000));
        let (user, wrong) = (STANDARD.encode("joe"), STANDARD.encode(format!("{MARK}-wrong")));
        let good = STANDARD.encode(format!("{MARK}-of-joe"));
        let malformed = format!("{}!{MARK}", STANDARD.encode(MARK));
        let lines = [
            plain(&format!("joe:{MARK}-wrong")),
            plain(&format!("nobody:{MARK}-wrong")),
            format!("AUTH PLAIN {malformed}"),
            format!("AUTH PLAIN {long}"),
            format!("AUTH PLAIN {malformed} {malformed}"),
            format!("AUTH X-{MARK} {good}"),
            format!("AUTHX {good}"),
            format!("AUTH\tPLAIN {good}"),
            "AUTH PLAIN".into(),
            malformed.clone(),
            "AUTH PLAIN".into(),
            long.clone(),
            "AUTH LOGIN".into(),
            user.clone(),
            wrong,
            "AUTH LOGIN".into(),
            malformed,
            format!("AUTH LOGIN {user}"),
            long,
            // In the wrong place.
            good.clone(),
            format!("AUTH LOGIN {user}"),
            good,
        ];
        for line in lines {
            replies += &client.say(&line).text();
        }
        assert!(replies.ends_with("235 2.7.0 Authentication successful"), "{replies}");
        replies += &client.say(&plain(&login)).text();
        replies += &client.submit("a@test", "b@test", "Subject: x\r\n\r\nbody\r\n").text();
        assert!(replies.ends_with("Kept"), "{replies}");
        let mut other = hello();
        replies += &other.say(&plain(&login)).text();
    }
    let metrics = http::get("/metrics").send(gateway.address("ops.listen")).text();
    assert_eq!(metric(&gateway, "gatepost_smtp_messages_total{outcome=\"accepted\"}"), 2);
    for (what, text) in [("replies", &replies), ("metrics", &metrics), ("the log", &gateway.log().text())] {
        let line = text.lines().find(|line| tells(line));
        assert!(line.is_none(), "{what}: {line:?}");
    }
    for message in sink.messages() {
        let content = String::from_utf8_lossy(&message.content).into_owned();
        assert!(content.contains("X-Gatepost-User: joe") && !tells(&content), "{content}");
        assert!(!tells(&format!("{message:?}")), "{message:?}");
    }
    // The gateway's own goes where it logs in, and the client's goes nowhere.
    let own = STANDARD.encode(format!("\0gate\0{MARK}-upstream"));
    let commands: Vec<String> =
        (0..sink.connections()).flat_map(|connection| sink.commands(connection)).collect();
    assert!(commands.iter().any(|command| command.contains(&own)), "{commands:?}");
    for command in commands {
        assert!(!tells(&command.replace(&own, "")), "{command}");
    }
}
