//! The demo: its lines can be pasted and give what they say, also after a restart.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::common::http::{get, request};
use crate::common::mail::{Client, plain};
use crate::common::{Log, binary};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const LISTENERS: [&str; 5] = ["--api", "--web", "--console", "--smtp", "--ops"];

struct Demo {
    child: Child,
    /// Its output, up to the last line to paste.
    lines: Vec<String>,
    /// All that it printed so far.
    printed: Arc<Log>,
}

impl Demo {
    fn start(directory: &Path) -> Demo {
        let mut command = Command::new(binary());
        command.arg("demo");
        for listener in LISTENERS {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.arg("--directory").arg(directory).stdout(Stdio::piped()).spawn().unwrap();
        let printed = Arc::new(Log::default());
        let (stdout, printing) = (BufReader::new(child.stdout.take().unwrap()), printed.clone());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| printing.push(line)));
        printed.wait_for(&["/metrics"]);
        let mut lines: Vec<String> = printed.text().lines().map(str::to_owned).collect();
        let last = lines.iter().position(|line| line.contains("/metrics")).unwrap();
        lines.truncate(last + 1);
        Demo { child, lines, printed }
    }

    /// Runs every line to paste in a shell; what each printed, beside the comment before it.
    fn paste(&self) -> Vec<(String, String)> {
        let mut comment = String::new();
        let mut answers = Vec::new();
        for line in &self.lines {
            if let Some(text) = line.strip_prefix("# ") {
                comment = text.to_owned();
            } else if ["curl ", "swaks ", "("].iter().any(|begin| line.starts_with(begin)) {
                let output = Command::new("bash").args(["-c", line]).output().unwrap();
                assert!(output.status.success(), "{line}: {output:?}");
                answers.push((comment.clone(), String::from_utf8(output.stdout).unwrap().trim().to_owned()));
            }
        }
        answers
    }

    fn logins(&self) -> Vec<&String> {
        self.lines
            .iter()
            .filter(|line| line.starts_with("account holder") || line.starts_with("credential with "))
            .collect()
    }

    fn stop(mut self) -> Option<i32> {
        crate::common::signal(&self.child, "TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn check(answers: &[(String, String)]) {
    let shown: Vec<&str> = answers.iter().map(|(_, answer)| answer.as_str()).collect();
    assert!(shown[0].contains("x-gatepost-user"), "{}", shown[0]);
    assert_eq!(shown[1..6], ["401", "403", "200", "403", "200"], "{answers:?}");
    assert!(shown[6].contains("success"), "{}", shown[6]);
    assert_eq!(shown[7], "200");
    assert!(shown[8].contains("success"), "{}", shown[8]);
    assert_eq!(shown[9], "401");
    assert_eq!(shown[10], "250");
    assert!(shown[11].contains("250 2.0.0 Ok"), "{}", shown[11]);
    assert_eq!(shown[12..14], ["550", "535"]);
    assert!(shown[14].contains("550 5.7.1 Unauthenticated senders not allowed"), "{}", shown[14]);
    assert!(shown[15].contains("success"), "{}", shown[15]);
    assert!(shown[16].contains("gatepost_decisions_total"), "{}", shown[16]);
    // The comments promise these statuses.
    for (comment, answer) in answers.iter().filter(|(_, answer)| answer.len() == 3) {
        assert!(comment.contains(answer.as_str()), "'{comment}' gave {answer}");
    }
}

/// The messages that the lines to paste have sent.
fn shows_mail(demo: &Demo) {
    demo.printed.wait_for(&["mail arrived: from <joe@example.com>", "to <jane@example.com>"]);
    demo.printed.wait_for(&["X-Gatepost-User: demo-email"]);
    demo.printed.wait_for(&["  Subject: hello"]);
    assert!(!demo.printed.text().contains("to <nobody@example.com>"));
}

#[test]
fn its_lines_give_what_they_say_at_the_first_start_and_at_the_second() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = || std::fs::read_to_string(directory.path().join("demo-cert.pem")).unwrap();
    let first = Demo::start(directory.path());
    check(&first.paste());
    shows_mail(&first);
    let (logins, shown): (Vec<String>, _) = (first.logins().into_iter().cloned().collect(), certificate());
    assert_eq!(logins.len(), 4);
    assert_eq!(first.stop(), Some(0));
    let second = Demo::start(directory.path());
    assert_eq!(second.logins(), logins.iter().collect::<Vec<_>>());
    check(&second.paste());
    shows_mail(&second);
    // Whoever has chosen to believe it goes on believing it.
    assert_eq!(certificate(), shown);
    assert_eq!(second.stop(), Some(0));
}

/// The address at the end of the line that begins so.
fn address(demo: &Demo, beginning: &str) -> std::net::SocketAddr {
    let line = demo.lines.iter().find(|line| line.starts_with(beginning)).unwrap();
    let url = line.split_whitespace().last().unwrap();
    url.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap()
}

/// Logs in by the form at that address; the value of `Cookie`.
fn log_in(address: std::net::SocketAddr, path: &str, login: &str) -> String {
    let (name, password) = login.split_once(':').unwrap();
    let answer = request("POST", path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", &format!("http://{address}"))
        .body(format!("username={name}&password={password}"))
        .send_to_host(address);
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.set_cookie().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn browsers_get_a_dashboard_behind_a_login_and_a_console_that_is_filled() {
    let directory = tempfile::tempdir().unwrap();
    let demo = Demo::start(directory.path());
    let (console, web) = (address(&demo, "console, "), address(&demo, "dashboard, "));
    let login = |nth: usize| demo.logins()[nth].split_whitespace().last().unwrap().to_owned();
    let page = |address: std::net::SocketAddr, path: &str, cookie: &str| {
        get(path).header("accept", "text/html").header("cookie", cookie).send_to_host(address)
    };
    assert_eq!(page(web, "/", "").header("location"), Some("/-/gatepost/login"));
    let cookie = log_in(web, "/-/gatepost/login", &login(3));
    assert!(page(web, "/", &cookie).text().contains("Demo dashboard"));
    let told = get("/dashboard/login").header("cookie", &cookie).send_to_host(web);
    assert_eq!(told.json()["user"], "demo-web", "{}", told.text());
    let cookie = log_in(console, "/login", &login(0));
    let list = page(console, "/credentials?q=shop", &cookie).text();
    for name in ["shop-prod", "shop-staging", "Order confirmations"] {
        assert!(list.contains(name), "{name}: {list}");
    }
    let activity = page(console, "/activity", &cookie).text();
    assert!(activity.contains("backup-prod") && activity.contains("127.0.0.21"), "{activity}");
}

#[test]
fn a_port_in_use_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for listener in LISTENERS {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary());
        command.arg("demo");
        for other in LISTENERS {
            command.args([other, if other == listener { &address } else { "127.0.0.1:0" }]);
        }
        let output = command.arg("--directory").arg(directory.path()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
        let key = format!("{}.listen", &listener[2..]);
        assert!(text.contains(&address) && text.contains(&key), "{text}");
    }
}

#[test]
fn a_first_start_that_was_cut_short_is_made_up_for() {
    let directory = tempfile::tempdir().unwrap();
    let login = |name: &str| format!("{{\"name\":\"{name}\",\"password\":\"passw0rd-of-{name}\"}}");
    let credentials = ["demo-email", "demo-api", "demo-web"].map(login).join(",");
    let text = format!("{{\"account\":{},\"credentials\":[{credentials}]}}", login("demo"));
    std::fs::write(directory.path().join("demo-logins.json"), text).unwrap();
    // Half written, by one that was cut short before.
    std::fs::write(directory.path().join("demo-logins.unfinished"), "{").unwrap();
    let demo = Demo::start(directory.path());
    let line = demo.lines.iter().find(|line| line.contains("/api/stats.get.json")).unwrap();
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    assert!(line.contains("demo-api:passw0rd-of-demo-api"), "{line}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("demo-api"), "{output:?}");
    assert_eq!(demo.stop(), Some(0));
}

/// As with `gatepost demo | less`, where nobody pages on.
#[test]
fn a_screen_that_takes_nothing_keeps_no_mail_and_no_stop_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let address = crate::common::nobody();
    let mut command = Command::new(binary());
    command.arg("demo").args(["--smtp", &address.to_string()]);
    for listener in LISTENERS.into_iter().filter(|listener| *listener != "--smtp") {
        command.args([listener, "127.0.0.1:0"]);
    }
    let mut child = command.arg("--directory").arg(directory.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let demo = Demo { child, lines: vec![], printed: Arc::default() };
    let mut line = String::new();
    while !line.starts_with("credential with email only") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it has ended");
    }
    let login = line.split_whitespace().last().unwrap();
    let mut client = Client::hello(address);
    assert_eq!(client.say("STARTTLS").code, 220);
    let mut client = client.encrypt(trusting(&directory.path().join("demo-cert.pem")), "localhost");
    assert_eq!(client.say("EHLO client.test").code, 250);
    assert_eq!(client.say(&plain(login)).code, 235);
    // More than the pipe holds; each is shown in part.
    let content = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(900));
    for _ in 0..100 {
        assert_eq!(client.submit("a@test", "b@test", &content).code, 250);
    }
    assert_eq!(demo.stop(), Some(0));
}

/// A client that believes this certificate.
fn trusting(certificate: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
