//! `gatepost credential apply`: an account made equal to a file, and everything that is refused before anything changes.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Place;
use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::{Gateway, api};

const FILE: &str = "account = \"acme\"\n[[credential]]\nname = \"billing\"\npermissions = [\"email\"]\nnote = \"db-3\"\n\
                    [[credential]]\nname = \"Nightly\"\npermissions = [\"api\", \"web\"]\npassword_file = \"PASSWORD\"\n";

fn place() -> Place {
    let p = Place::new();
    p.done("account add acme --password-stdin", "holder-passw0rd\n");
    p
}

/// Writes a file of credentials, and returns its name. `PASSWORD` in it is a file with a password.
fn write(p: &Place, text: &str) -> String {
    let password = p.0.path().join("password");
    fs::write(&password, "s3cret-of-nightly\n").unwrap();
    let file = p.0.path().join("credentials.toml");
    fs::write(&file, text.replace("PASSWORD", password.to_str().unwrap())).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The credentials of the account: name, stored permissions.
fn listed(p: &Place) -> Vec<(String, Value)> {
    let list = p.json("credential list --account acme --json");
    let of = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item["stored_permissions"].clone());
    let mut list: Vec<_> = list.as_array().unwrap().iter().map(of).collect();
    list.sort_by(|one, other| one.0.cmp(&other.0));
    list
}

#[test]
fn an_account_becomes_equal_to_a_file_and_stays_so() {
    let p = place();
    p.done(
        "credential add nightly --account acme --permissions email,api --password-stdin",
        "s3cret-of-old\n",
    );
    p.done("credential add left-over --account acme --password-stdin", "s3cret-of-old\n");
    let file = write(&p, FILE);
    let before = listed(&p);

    let plan = p.done(&format!("credential apply {file} --dry-run"), "");
    for line in [
        "+ billing: permissions email, note \"db-3\", generated password\n",
        "~ nightly: permissions email,api -> api,web, new password\n",
        "- left-over: permissions email,api,web\n",
        "1 to add, 1 to edit, 1 to remove, 0 unchanged; dry run, nothing was changed",
    ] {
        assert!(plan.contains(line), "{plan}");
    }
    assert_eq!(listed(&p), before);
    let plan: Value =
        serde_json::from_str(&p.done(&format!("credential apply {file} --dry-run --json"), "")).unwrap();
    assert_eq!((&plan["dry_run"], &plan["added"]), (&json!(true), &json!([{"name": "billing"}])));
    assert_eq!(listed(&p), before);

    let done: Value = serde_json::from_str(&p.done(&format!("credential apply {file} --json"), "")).unwrap();
    assert_eq!(done["added"][0]["name"], "billing");
    assert_eq!(done["added"][0]["password"].as_str().unwrap().len(), 24);
    assert_eq!(
        (&done["edited"], &done["removed"]),
        (&json!([{"name": "nightly"}]), &json!([{"name": "left-over"}]))
    );
    assert_eq!((&done["complete"], &done["unchanged"]), (&json!(true), &json!(0)));
    let bits = |email: u8, api: u8, web: u8| json!({"email": email, "api": api, "web": web});
    assert_eq!(listed(&p), [("billing".into(), bits(1, 0, 0)), ("nightly".into(), bits(0, 1, 1))]);

    let again = p.done(&format!("credential apply {file}"), "");
    assert_eq!(again, "account acme: nothing to do, 2 credentials are as listed\n");
    // A new password in the file is a difference, and a note that is not listed any more is one, too.
    let file = write(&p, &FILE.replace("note = \"db-3\"\n", ""));
    fs::write(p.0.path().join("password"), "an0ther-secret").unwrap();
    let edited = p.done(&format!("credential apply {file}"), "");
    assert!(edited.contains("~ billing: note \"db-3\" -> none\n~ nightly: new password\n"), "{edited}");
    assert!(edited.ends_with("2 changes made\n"), "{edited}");
    assert!(!edited.contains("an0ther-secret"));
    // By standard input, with the account as an option.
    let more = "[[credential]]\nname = \"extra\"\npermissions = []\n[[credential]]\nname = \"billing\"\npermissions = [\"email\"]\n";
    let added = p.done("credential apply - --account ACME", more);
    assert!(added.contains("password of extra: ") && added.contains("- nightly"), "{added}");
    assert_eq!(listed(&p).len(), 2);
}

#[test]
fn all_errors_are_told_at_once_and_nothing_changes() {
    let p = place();
    p.done("account rights acme email,api", "");
    p.done("account add other --password-stdin", "holder-passw0rd\n");
    p.done("credential add of-other --account other --password-stdin", "s3cret-of-one\n");
    p.done("credential add left-over --account acme --password-stdin", "s3cret-of-one\n");
    let before = listed(&p);
    let refused = |text: &str, expected: &[&str]| {
        let file = write(&p, text);
        let told = p.refused(&format!("credential apply {file} --account acme"), "");
        for line in expected {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        assert_eq!(listed(&p), before);
    };
    // In the file itself.
    refused(
        "[[credential]]\nname = \"a b\"\npermissions = [\"root\"]\n[[credential]]\nnote = \"x\"\npassword = \"hunter22\"\n",
        &[
            ":2: credential.name: username may contain",
            ":3: credential.permissions: unknown value 'root'",
            ":4: credential.name: required key is missing",
            ":4: credential.permissions: required key is missing",
            ":6: credential.password: a secret does not belong in this file",
        ],
    );
    // By comparison with the store, and with files.
    refused(
        "[[credential]]\nname = \"of-other\"\npermissions = []\n[[credential]]\nname = \"apikey\"\npermissions = []\n\
         [[credential]]\nname = \"joe-1\"\npermissions = [\"web\"]\npassword_file = \"/no/such/file\"\n\
         [[credential]]\nname = \"acme\"\npermissions = []\n",
        &[
            ":2: credential.name: username 'of-other' is already taken",
            ":5: credential.name: username apikey is reserved",
            ":9: credential.permissions: 'web' is not among the rights of the account",
            ":10: credential.password_file: /no/such/file: there is no such file",
            ":12: credential.name: username 'acme' is already taken",
        ],
    );
    refused(
        "account = \"other\"\n",
        &[":1: account: the file is for account other, and --account names acme"],
    );
    refused("", &["lists no credentials: to remove all 1 of the account, use --allow-empty"]);
    fs::write(p.0.path().join("common"), "password123\n").unwrap();
    let common = format!(
        "[[credential]]\nname = \"joe-1\"\npermissions = []\npassword_file = \"{}\"\n",
        p.0.path().join("common").display()
    );
    refused(&common, &["credential.password_file: "]);

    let file = write(&p, "");
    assert!(
        p.done(&format!("credential apply {file} --account acme --allow-empty"), "").contains("- left-over")
    );
    assert!(p.done(&format!("credential apply {file} --account acme"), "").contains("nothing to do"));
    // Wrong usage, and what is not there.
    let unnamed = p.run(&format!("credential apply {file}"), "");
    assert_eq!(unnamed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("names no account"));
    assert_eq!(p.run("credential apply", "").status.code(), Some(2));
    assert!(p.refused("credential apply /no/such/file", "").contains("cannot be read"));
    assert!(p.refused(&format!("credential apply {file} --account nobody"), "").contains("no such account"));
}

#[test]
fn a_generated_password_that_nobody_reads_is_an_error() {
    let p = place();
    let file = write(&p, "account = \"acme\"\n[[credential]]\nname = \"joe-1\"\npermissions = []\n");
    let applied = |file: &str, more: &[&str], out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(["credential", "apply", file, "--config"]).arg(p.0.path().join("gatepost.toml"));
        let output = command.args(more).stdout(out).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    // A pipe whose reader went away.
    let broken = || Stdio::from(std::io::pipe().unwrap().1);
    let (code, told) = applied(&file, &[], full());
    assert!(
        code == Some(1) && told.contains("credential joe-1 was added, and its password could not be"),
        "{told}"
    );
    let mut names = vec!["joe-1".to_owned()];
    for (name, out) in [("joe-2", full()), ("joe-3", broken())] {
        names.push(name.to_owned());
        let listed = |name: &String| format!("[[credential]]\nname = \"{name}\"\npermissions = []\n");
        let text: String = names.iter().map(listed).collect();
        let file = write(&p, &format!("account = \"acme\"\n{text}"));
        let (code, told) = applied(&file, &["--json"], out);
        let expected = format!("credential {name} was added, and its password could not be printed");
        assert!(code == Some(1) && told.contains(&expected), "{told}");
        // Without a generated password, nothing is lost.
        assert_eq!(applied(&file, &["--json"], broken()), (Some(0), String::new()));
    }
    assert_eq!(listed(&p).len(), 3);
}

/// A running gateway obeys before the command returns.
#[test]
fn a_running_gateway_knows_of_it_at_once() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&api(backend.address));
    gateway
        .account("email,api,web")
        .credential("joe-1:passw0rd-of-1", "api")
        .credential("joe-2:passw0rd-of-2", "api");
    let status = |login: &str| get("/v3/stats").basic(login).send(gateway.api()).status;
    assert_eq!((status("joe-1:passw0rd-of-1"), status("joe-2:passw0rd-of-2")), (200, 200));
    let text = "[[credential]]\nname = \"joe-2\"\npermissions = [\"email\"]\n";
    let output = gateway.command(&["credential", "apply", "-", "--account", "acme"], text);
    assert!(output.status.success(), "{output:?}");
    assert_eq!((status("joe-1:passw0rd-of-1"), status("joe-2:passw0rd-of-2")), (401, 403));
    gateway.log().wait_for(&["credential.remove", "joe-1", "operator"]);
}

#[test]
fn the_documented_file_is_valid() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let section = page.split("### A file of credentials").nth(1).unwrap();
    let example = section.split("```\n").nth(1).unwrap();
    let file = gatepost::config::CredentialFile::parse(example, "docs/operations.md").unwrap();
    assert_eq!((file.account.unwrap().name.as_str(), file.credentials.len()), ("acme", 2));
}
