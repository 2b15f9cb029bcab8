//! The demo: what it prints can be pasted, gives what it says, and goes on after a restart.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::binary;

struct Demo {
    child: Child,
    /// What it printed, up to the last line to paste.
    lines: Vec<String>,
}

impl Demo {
    fn start(directory: &Path) -> Demo {
        let mut child = Command::new(binary())
            .arg("demo")
            .args([
                "--api",
                "127.0.0.1:0",
                "--web",
                "127.0.0.1:0",
                "--ops",
                "127.0.0.1:0",
                "--smtp",
                "127.0.0.1:0",
                "--directory",
            ])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let last = line.contains("/metrics");
            lines.push(line);
            if last {
                break;
            }
        }
        Demo { child, lines }
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
            .filter(|line| line.starts_with("account holder") || line.starts_with("may "))
            .collect()
    }

    fn stop(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
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

#[test]
fn its_lines_give_what_they_say_at_the_first_start_and_at_the_second() {
    let directory = tempfile::tempdir().unwrap();
    let first = Demo::start(directory.path());
    check(&first.paste());
    let logins: Vec<String> = first.logins().into_iter().cloned().collect();
    assert_eq!(logins.len(), 4);
    assert_eq!(first.stop(), Some(0));
    let second = Demo::start(directory.path());
    assert_eq!(second.logins(), logins.iter().collect::<Vec<_>>());
    check(&second.paste());
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn a_port_in_use_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(binary())
        .args(["demo", "--web", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--api", &address, "--directory"])
        .arg(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains(&address) && text.contains("api.listen"), "{text}");
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
