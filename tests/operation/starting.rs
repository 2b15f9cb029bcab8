//! The start of a gateway: what it needs, and the signals that it gets meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, Command, Stdio};
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

/// Case E14: from its first line on, the process ignores a SIGHUP until it can be served. Before that it is not a program of ours:
/// the system still loads it.
#[test]
fn a_reload_at_any_moment_of_the_start_ends_nothing() {
    let backend = Backend::hello();
    let directory = configured(&open_api(backend.address, ""));
    for moment in (0..40).map(|step| Duration::from_micros(250 * step)) {
        let mut command = Command::new(binary());
        let config = directory.path().join("gatepost.toml");
        command.args(["serve", "--config"]).arg(config).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        // As tokio installs it: the bit of SIGHUP among the caught signals.
        let mut catches = false;
        while began.elapsed() < moment || !catches {
            catches = catches || caught(&child) & 1 != 0;
            assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
        }
        crate::common::signal(&child, "HUP");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for word in ["\"listening\"", "configuration reloaded"] {
            assert!(lines.any(|line| line.is_ok_and(|line| line.contains(word))), "{moment:?}: {word}");
        }
        crate::common::signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{moment:?}");
    }
}

/// Case E14: the handler is there before the configuration is read, however long that takes.
#[test]
fn the_handler_is_there_before_the_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("gatepost.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = Command::new(binary());
    let mut child = command.args(["serve", "--config"]).arg(&fifo).stderr(Stdio::piped()).spawn().unwrap();
    // It is opened for writing once the process opens it for reading.
    let mut written = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    assert_eq!(caught(&child) & 1, 1);
    crate::common::signal(&child, "HUP");
    let rest = folder.path().display();
    write!(written, "[store]\nurl = \"sqlite://{rest}/gatepost.db\"\n[ops]\nlisten = \"127.0.0.1:0\"\n")
        .unwrap();
    drop(written);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("listening"))));
    crate::common::signal(&child, "TERM");
    // The reload, if it began before the stop, waits for somebody to write to the file again. Else this one waits for ever.
    std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(fifo));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The signals that a process catches: bit 0 is SIGHUP.
fn caught(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap())
}

/// Case E15: nothing but the log tells a port that the system chose.
#[test]
fn a_chosen_port_is_told_at_every_level() {
    let backend = Backend::hello();
    for level in ["error", "warn", "info"] {
        for format in ["human", "json"] {
            let directory = configured(&format!("{OPS}{}", open_api(backend.address, "")));
            let config = directory.path().join("gatepost.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            let log = format!("level = \"{level}\"\nformat = \"{format}\"");
            let text = text.replace("level = \"debug\"\nformat = \"json\"", &log);
            assert!(text.contains(&log));
            std::fs::write(&config, text).unwrap();
            let (mut child, mut lines, api) = serve_until(directory.path(), "api.listen");
            let ops = lines.find(|line| line.as_ref().unwrap().contains("ops.listen")).unwrap().unwrap();
            for line in [api, ops] {
                let port = line.split("127.0.0.1:").nth(1).unwrap();
                let port: String = port.chars().take_while(char::is_ascii_digit).collect();
                let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
                assert!(std::net::TcpStream::connect(address).is_ok(), "{line}");
            }
            crate::common::signal(&child, "TERM");
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
    }
}
