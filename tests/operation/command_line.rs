//! `gatepost account` and `gatepost credential`, as processes of their own beside a running gateway's state.

mod apply;
mod definition;
mod gateways;
mod sessions;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;

use crate::common::backend::Backend;
use crate::common::database::{Other, file_of};
use crate::common::http::get;
use crate::common::terminal::Terminal;
use crate::common::{Gateway, PATIENCE, end_of};
use gatepost::config::{StoreSettings, StoreUrl};
use gatepost::domain::Canonical;
use gatepost::state::cluster::Cluster;
use gatepost::state::store::Store;
use gatepost::state::{Epochs, Metrics};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!(
            "[store]\nurl = \"sqlite://{}\"\nbusy_timeout = \"300ms\"\n[auth]\nbcrypt_cost = 4\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n",
            database(folder.path()).display()
        );
        std::fs::write(folder.path().join("gatepost.toml"), configuration).unwrap();
        Place(folder)
    }

    /// Runs the program; `input` is its standard input.
    fn run(&self, line: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(line.split(' '))
            .arg("--config")
            .arg(self.0.path().join("gatepost.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that has refused already reads nothing.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    fn done(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, line: &str, input: &str) -> String {
        let output = self.run(line, input);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs the program on a terminal where somebody types these passwords as they are asked for; its exit status, and all that
    /// was shown.
    fn asked(&self, line: &str, passwords: [&str; 2]) -> (Option<i32>, String) {
        let config = self.0.path().join("gatepost.toml");
        let arguments: Vec<&str> = line.split(' ').chain(["--config", config.to_str().unwrap()]).collect();
        let mut terminal = Terminal::run(&arguments);
        for (prompt, password) in ["Password: ", "Repeat password: "].into_iter().zip(passwords) {
            terminal.wait_for(prompt);
            terminal.type_in(&format!("{password}\n"));
        }
        terminal.end()
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.done(line, "")).unwrap()
    }
}

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("data/gatepost.db")
}

#[test]
fn in_the_wrong_place_nothing_is_made_but_by_adding_an_account() {
    let p = Place::new();
    for line in ["account list", "account passwd holder --password-stdin", "credential list --account holder"]
    {
        let told = p.refused(line, "passw0rd-at-home\n");
        assert!(told.contains("there is no such file"), "{told}");
    }
    assert!(!database(p.0.path()).parent().unwrap().exists());
    let add = |name: &str| p.done(&format!("account add {name} --password-stdin"), "passw0rd-at-home\n");
    assert!(add("holder").contains("created a new database"));
    assert!(!add("another").contains("created a new database"));
}

#[test]
fn the_reserved_username_is_refused_and_one_from_before_is_told_of() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    for line in ["account add apikey", "account add ApiKey", "credential add APIKEY --account holder"] {
        let told = p.refused(&format!("{line} --password-stdin"), "passw0rd-at-home-1\n");
        assert!(told.contains("username apikey is reserved"), "{line}: {told}");
    }
    assert!(!p.done("check", "").contains("apikey"));
    p.done("credential add old-name --account holder --password-stdin", "passw0rd-at-home-1\n");
    let file = database(p.0.path());
    let rename = "db.execute(\"UPDATE principal SET name = 'ApiKey' WHERE name = 'old-name'\")\nsay()";
    Other::run(&file, rename).end();
    let told = p.done("check", "");
    assert!(
        told.contains("warning: store: an account or credential has the reserved username apikey"),
        "{told}"
    );
    assert!(p.done("credential list --account holder", "").contains("ApiKey"));
    p.done("credential remove apikey --account holder", "");
    assert!(!p.done("check", "").contains("apikey"));
}

#[test]
fn what_contradicts_itself_is_wrong_usage() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    let output = p.run("credential edit john --account holder --grant api --revoke api", "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("api is given twice"));
}

#[test]
fn what_was_changed_is_done_whoever_reads_of_it() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    for arguments in [&["account", "suspend", "holder"][..], &["check"]] {
        // Nobody reads any more, or there is no room.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        for stdout in [Stdio::from(writer), Stdio::from(full)] {
            let status = Command::new(env!("CARGO_BIN_EXE_gatepost"))
                .args(arguments)
                .arg("--config")
                .arg(p.0.path().join("gatepost.toml"))
                .stdout(stdout)
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(0), "{arguments:?}");
        }
    }
}

/// Nor does it last longer than the second that the last lines of a log may take.
#[test]
fn what_cannot_be_told_on_standard_error_changes_no_exit_status() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let gone = || Stdio::from(std::io::pipe().unwrap().1);
    let (_reader, stalled) = std::io::pipe().unwrap();
    // As much as a pipe holds.
    (&stalled).write_all(&[b'x'; 1 << 16]).unwrap();
    let stalled = || Stdio::from(stalled.try_clone().unwrap());
    let bad = p.0.path().join("bad.toml");
    std::fs::write(&bad, "nonsense").unwrap();
    let good = p.0.path().join("gatepost.toml");
    for (line, config, status) in [
        ("account suspend holder", &good, 0),
        ("account suspend nobody", &good, 1),
        ("credential edit john --account holder --grant api --revoke api", &good, 2),
        ("credential list --account holder", &good, 0),
        ("serve", &bad, 1),
        ("check", &bad, 1),
    ] {
        for stderr in [gone(), full(), stalled()].into_iter().take(if config == &bad { 2 } else { 3 }) {
            let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
                .args(line.split(' '))
                .arg("--config")
                .arg(config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(stderr)
                .spawn()
                .unwrap();
            let ended = end_of(&mut child, line);
            assert_eq!(ended.code(), Some(status), "{line}");
        }
    }
}

#[test]
fn a_listing_ends_quietly_with_its_reader() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    p.done("credential add john --account holder --password-stdin", "passw0rd-at-home\n");
    for line in ["account list", "account list --json", "credential list --account holder"] {
        let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(line.split(' '))
            .arg("--config")
            .arg(p.0.path().join("gatepost.toml"))
            .stdout(std::io::pipe().unwrap().1)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{line}");
    }
}

#[test]
fn accounts_and_credentials_from_nothing() {
    let p = Place::new();
    p.done("account add holder --rights email,api --password-stdin", "passw0rd-at-home\n");
    p.done("credential add john --account HOLDER --permissions api --password-stdin", "passw0rd-at-home\n");
    p.done("credential add jane --account holder --password-stdin", "passw0rd-at-home\n");
    p.done("credential edit john --account holder --grant email --revoke api", "");
    p.done("credential edit john --account holder --password-stdin", "n3w password\n");

    let accounts = p.json("account list --json");
    assert_eq!(accounts[0]["name"], "holder");
    assert_eq!(accounts[0]["rights"], serde_json::json!({"email": 1, "api": 1, "web": 0}));
    assert_eq!(accounts[0]["credentials"], 2);
    let credentials = p.json("credential list --account holder --json");
    assert_eq!(credentials[0]["name"], "john");
    assert_eq!(credentials[0]["permissions"], serde_json::json!({"email": 1, "api": 0, "web": 0}));
    assert_eq!(credentials[1]["permissions"], serde_json::json!({"email": 1, "api": 1, "web": 0}));
    assert_eq!(p.done("credential list --account holder", "").lines().count(), 3);

    p.done("account rights holder none", "");
    p.done("account suspend holder", "");
    assert_eq!(p.json("account list --json")[0]["active"], false);
    // The operator goes on while the holder may not.
    p.done("credential remove jane --account holder", "");
    p.done("account resume holder", "");
    p.done("account passwd holder --password-stdin", "an0ther one\n");
    p.done("account remove holder", "Holder\n");
    assert_eq!(p.json("account list --json"), serde_json::json!([]));
}

// Case E21: a suspended account's stored permissions, and a name whose account is not known.
#[test]
fn a_suspended_account_shows_what_its_credentials_will_have_again() {
    let p = Place::new();
    p.done("account add holder --rights email,api --password-stdin", "passw0rd-at-home\n");
    p.done(
        "credential add John --account holder --permissions email,api --password-stdin",
        "passw0rd-at-home\n",
    );
    p.done("account rights holder api", "");
    p.done("account suspend holder", "");
    let (email_api, api, none) = (
        serde_json::json!({"email": 1, "api": 1, "web": 0}),
        serde_json::json!({"email": 0, "api": 1, "web": 0}),
        serde_json::json!({"email": 0, "api": 0, "web": 0}),
    );

    let listed = &p.json("credential list --account holder --json")[0];
    assert_eq!((&listed["permissions"], &listed["stored_permissions"]), (&none, &email_api));
    assert_eq!(listed["account_active"], false);
    let text = p.done("credential list --account holder", "");
    for word in ["none", "email,api", "suspended"] {
        assert!(text.contains(word), "{text}");
    }

    let found = p.json("find JOHN --json");
    let expected = serde_json::json!({
        "name": "John", "kind": "credential", "account": "holder", "permissions": none,
        "stored_permissions": email_api, "account_rights": api, "account_active": false,
    });
    assert_eq!(found, expected);
    p.done("account resume holder", "");
    assert_eq!(p.json("find john --json")["permissions"], api);
    assert_eq!(p.json("find holder --json")["kind"], "account");
    let text = p.done("find john", "");
    let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["John", "credential", "holder", "active", "api", "email,api"]);
    for nobody in ["find nobody", "find nobody --json", "find no@such@name"] {
        let told = p.refused(nobody, "");
        assert!(told.contains("no account and no credential of that name"), "{told}");
    }
}

#[test]
fn what_is_refused_says_why_and_changes_nothing() {
    let p = Place::new();
    p.done("account add holder --rights api --password-stdin", "passw0rd-at-home\n");
    p.done("credential add john --account holder --password-stdin", "passw0rd-at-home\n");
    for (line, input, reason) in [
        ("account add JOHN --password-stdin", "passw0rd-at-home\n", "already taken"),
        ("account add jo --password-stdin", "passw0rd-at-home\n", "3 to 64 characters"),
        ("account add other --password-stdin", "password\n", "at least one digit"),
        ("account add other --password-stdin", "", "cannot read a password"),
        ("account add other --password-stdin", "passw0rd-at-home\npassw0rd-at-home\n", "more than one line"),
        ("account passwd nobody --password-stdin", "passw0rd-at-home\n", "no such account"),
        ("account suspend john", "", "no such account"),
        ("account remove holder", "yes\n", "not confirmed"),
        ("account remove holder", "", "not confirmed"),
        ("credential add jane --account nobody --password-stdin", "passw0rd-at-home\n", "no such account"),
        (
            "credential add jane --account holder --permissions web --password-stdin",
            "passw0rd-at-home\n",
            "web",
        ),
        ("credential edit john --account holder --grant email", "", "email"),
        ("credential remove holder --account holder", "", "no such credential"),
    ] {
        let said = p.refused(line, input);
        assert!(said.contains(reason), "{line}: {said}");
        assert!(!said.contains("passw0rd-at-home"), "{said}");
    }
    assert_eq!(p.json("account list --json")[0]["credentials"], 1);
}

#[test]
fn on_a_terminal_a_password_is_asked_for_twice() {
    let p = Place::new();
    let (status, shown) = p.asked("account add holder", ["passw0rd-at-home-1", "passw0rd-at-home-2"]);
    assert_eq!(status, Some(1), "{shown}");
    assert!(shown.contains("differ"), "{shown}");
    let (status, shown) = p.asked("account add holder", ["passw0rd-at-home-1", "passw0rd-at-home-1"]);
    assert_eq!(status, Some(0), "{shown}");
    assert_eq!(p.json("account list --json").as_array().unwrap().len(), 1);
    let add = "credential add john --account holder";
    assert_eq!(p.asked(add, ["short", "short"]).0, Some(1));
    assert_eq!(p.asked(add, ["passw0rd-at-home-1", "passw0rd-at-home-1"]).0, Some(0));
    let edit = "credential edit john --account holder --password";
    let (status, shown) = p.asked(edit, ["passw0rd-at-home-3", "passw0rd-at-home-1"]);
    assert!(status == Some(1) && shown.contains("differ"), "{shown}");
    assert_eq!(p.asked(edit, ["passw0rd-at-home-3", "passw0rd-at-home-3"]).0, Some(0));
    let (status, shown) = p.asked("account passwd holder", ["passw0rd-at-home-4", "passw0rd-at-home-4"]);
    assert_eq!(status, Some(0), "{shown}");
}

/// As docs/operations.md says.
#[test]
fn a_hash_made_elsewhere_is_put_into_the_database() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&crate::common::api(backend.address));
    gateway.account("email,api,web").credential("joe:passw0rd-at-home-of-joe", "api");
    let status = |login: &str| get("/api/a.json").basic(login).send(gateway.api()).status;
    assert_eq!(status("joe:passw0rd-at-home-of-joe"), 200);
    // Without a letter, as nobody may choose it here.
    let hash = bcrypt::hash("31415926", 4).unwrap().replacen("$2b$", "$2y$", 1);
    let update =
        format!("db.execute(\"UPDATE principal SET hash = '{hash}' WHERE lower(name) = 'joe'\")\nsay()");
    Other::run(&file_of(&gateway), &update).end();
    let began = Instant::now();
    while status("joe:passw0rd-at-home-of-joe") == 200 {
        assert!(began.elapsed() < PATIENCE, "the change isn't seen");
    }
    assert_eq!(status("joe:31415926"), 200);
    assert_eq!(status("joe:passw0rd-at-home-of-joe"), 401);
}

#[test]
fn wrong_usage_is_another_status() {
    let p = Place::new();
    for line in [
        "account",
        "account add",
        "credential list",
        "account add holder passw0rd-at-home",
        "account rights holder x",
    ] {
        assert_eq!(p.run(line, "").status.code(), Some(2), "{line}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let p = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["account", "list"])
        .current_dir(p.0.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("config/gatepost.toml"), "{said}");
}

#[tokio::test]
async fn when_the_command_returns_the_running_gateway_has_let_go() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    let url = StoreUrl::Sqlite(database(p.0.path()));
    let store = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
    let epochs = Arc::new(Epochs::new());
    let _cluster = Cluster::join(&store, &StoreSettings::default(), epochs.clone(), Arc::new(Metrics::new()))
        .await
        .unwrap();
    let (john, holder) = (Canonical::of(b"john").unwrap(), Canonical::of(b"holder").unwrap());
    let p = Arc::new(p);
    for (line, input) in [
        ("credential add john --account holder --password-stdin", "passw0rd-at-home\n"),
        ("credential edit john --account holder --revoke api", ""),
        ("account suspend holder", ""),
        ("account resume holder", ""),
        ("account rights holder api", ""),
        ("account passwd holder --password-stdin", "an0ther one\n"),
        ("credential remove john --account holder", ""),
        ("account remove holder --yes", ""),
    ] {
        let seen = epochs.now();
        // Not on this thread, which has to acknowledge meanwhile.
        let place = p.clone();
        tokio::task::spawn_blocking(move || place.done(line, input)).await.unwrap();
        assert!(!epochs.is_fresh(seen, &john, &holder), "{line}");
    }
}
