//! The start of a gateway: what it needs, and the signals that it gets meanwhile.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, Command};
use std::time::{Duration, Instant};

use crate::common::backend::Backend;
use crate::common::mail::Client;
use crate::common::tls::Authority;
use crate::common::{Gateway, binary, configured, in_namespaces_of_its_own, open_api, serve_until};

const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";

/// A configuration with every kind of listener, in which that one is to have this address.
fn with_listener_on(key: &str, address: SocketAddr, backend: SocketAddr) -> String {
    let of = |listener: &str| if listener == key { address.to_string() } else { "127.0.0.1:0".to_owned() };
    let entry = |entry: &str, scheme: &str| {
        let (clear, tls) = (of(&format!("{entry}.listen")), of(&format!("{entry}.tls_listen")));
        format!(
            "[{entry}]\nlisten = [\"{clear}\"]\ntls_listen = [\"{tls}\"]\nupstreams = [\"{scheme}://{backend}\"]\n"
        )
    };
    let sections = [entry("api", "http"), entry("web", "http"), entry("smtp", "smtp")].concat();
    let ops = of("ops.listen");
    format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n{sections}[ops]\nlisten = \"{ops}\"\n"
    )
}

#[test]
fn a_port_in_use_is_one_line_with_address_and_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let backend = Backend::hello();
    let identity = Authority::new().issue("gate.test");
    for key in [
        "api.listen",
        "api.tls_listen",
        "web.listen",
        "web.tls_listen",
        "smtp.listen",
        "smtp.tls_listen",
        "ops.listen",
    ] {
        let directory = configured(&with_listener_on(key, address, backend.address));
        identity.write(directory.path());
        let output = crate::common::command(&directory.path().join("gatepost.toml"), &["serve"], "");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(key) && text.contains(&address.to_string()), "{text}");
    }
}

/// A gateway that can't open its store as long as the lock is held, and that listens for signals already.
fn starting() -> (tempfile::TempDir, std::fs::File, Child, std::io::Lines<BufReader<ChildStderr>>) {
    let directory = configured(OPS);
    // As another process that is about to open the same file.
    let lock = std::fs::File::open(directory.path()).unwrap();
    lock.lock().unwrap();
    let (child, lines, _) = serve_until(directory.path(), "\"starting\"");
    (directory, lock, child, lines)
}

#[test]
fn a_stop_while_it_starts_is_heard() {
    for name in ["TERM", "INT"] {
        let (_directory, _lock, mut child, _lines) = starting();
        let asked = Instant::now();
        crate::common::signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        // It would wait 12 s for the lock.
        assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    }
}

#[test]
fn a_reload_while_it_starts_ends_nothing() {
    let (_directory, lock, mut child, mut lines) = starting();
    crate::common::signal(&child, "HUP");
    drop(lock);
    for word in ["\"listening\"", "configuration reloaded"] {
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains(word))), "{word}");
    }
    crate::common::signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn check_tells_by_its_exit_code() {
    let backend = Backend::hello();
    let run = |config: &str| {
        let directory = configured(config);
        let output = crate::common::command(&directory.path().join("gatepost.toml"), &["check"], "");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = run(&open_api(backend.address, ""));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no errors"), "{text}");
    let bad = open_api(backend.address, "header_timeout = \"soon\"\nbody_timeout = 3");
    let (code, text) = run(&bad);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("header_timeout") && text.contains("body_timeout"), "every error at once: {text}");
    let absent = crate::common::command("/nowhere/at/all.toml".as_ref(), &["check"], "");
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("/nowhere/at/all.toml"));
    assert_eq!(Command::new(binary()).arg("chekc").output().unwrap().status.code(), Some(2));
}

/// As config/gatepost.service has it: nothing of /proc but the processes.
#[test]
fn the_name_in_mail_is_the_systems_also_where_proc_is_hidden() {
    let backend = Backend::hello();
    let config = format!(
        "[smtp]\nlisten = [\"127.0.0.1:0\"]\nrequire_tls = false\nupstreams = [\"smtp://{}\"]\n",
        backend.address
    );
    let script = "hostname edge.gate.test && mount -t tmpfs none /proc/sys && exec \"$@\"";
    let mut command = in_namespaces_of_its_own(script);
    command.arg(binary());
    let gateway = Gateway::start_by(configured(&config), command);
    let greeting = Client::connect(gateway.address("smtp.listen")).answer();
    assert!(greeting.text().starts_with("220 edge.gate.test "), "{greeting:?}");
}
