//! The commands of docs/operations.md for backup, restore and certificates, as they are, but in a directory of the test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::tls::Authority;
use crate::common::{Gateway, api, command, configured};

const JOE: &str = "joe:passw0rd-of-joe";

/// The block of commands that contains `word`, with the paths and users of the test.
fn block(word: &str, directory: &Path) -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let mut blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(word)).unwrap_or_else(|| panic!("no block has {word}"));
    let is_root = rustix::process::geteuid().is_root();
    let (user, group) = if is_root { ("-o nobody", "-g nogroup") } else { ("", "") };
    let dir = directory.display().to_string();
    block
        .replace("/var/lib/gatepost", &dir)
        .replace("/etc/gatepost/", &format!("{dir}/"))
        .replace("sudo -u gatepost ", "")
        .replace("systemctl", "true")
        .replace("-o gatepost", user)
        .replace("-o root", if is_root { "-o root" } else { "" })
        .replace("-g gatepost", group)
}

fn sh(script: &str) {
    // With the umask of a login, whose shell continues after an error.
    let script = format!("umask 022\n{script}");
    let output = Command::new("bash").args(["-c", &script]).env("RENEWED_LINEAGE", lineage(&script)).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
}

/// The directory of certbot in a script of the test, beside the one that is written to.
fn lineage(script: &str) -> String {
    script.split_once("/tls/").map_or(String::new(), |(before, _)| {
        let directory = before.rsplit(' ').next().unwrap_or_default();
        format!("{directory}/live")
    })
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

/// The directories with what was replaced.
fn copies(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("before-restore")).collect()
}

// Case E18: the backup is for its owner alone, and the restored file has the right owner and mode.
#[test]
fn a_backup_is_made_and_restored_as_documented() {
    let backend = Backend::hello();
    let mut gateway = Gateway::start(&api(backend.address));
    gateway.account("email,api,web").credential(JOE, "api");
    let directory = gateway.directory.path().to_path_buf();
    sh(&block("VACUUM INTO", &directory));
    let mut names =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let backup = names.find(|name| name.starts_with("backup-")).unwrap();
    assert_eq!(mode(&directory.join(&backup)), 0o600);
    assert_eq!(get("/v3/stats").basic(JOE).send(gateway.api()).status, 200);

    gateway.command(&["credential", "remove", "joe", "--account", "acme"], "");
    gateway.kill();
    let replaced = fs::read(directory.join("gatepost.db")).unwrap();
    let restore = block("before-restore", &directory).replace("backup-2026-11-28.db", &backup);
    for nth in 1..=2 {
        sh(&restore);
        let copies = copies(&directory);
        assert_eq!(copies.len(), nth, "one for each restore: {copies:?}");
        assert!(copies.iter().all(|copy| mode(copy) == 0o700));
        let is_first = |copy: &PathBuf| fs::read(copy.join("gatepost.db")).unwrap() == replaced;
        assert!(copies.iter().any(is_first), "the database before the first restore is still there");
    }
    assert_eq!(mode(&directory.join("gatepost.db")), 0o600);
    if rustix::process::geteuid().is_root() {
        assert_eq!(directory.join("gatepost.db").metadata().unwrap().uid(), 65534);
    }
    let missing = restore.replace(&backup, "backup-of-no-day.db");
    assert!(!Command::new("bash").args(["-c", &missing]).status().unwrap().success());
    assert_eq!(copies(&directory).len(), 2, "without a backup, nothing is moved");
    gateway.restart();
    assert_eq!(get("/v3/stats").basic(JOE).send(gateway.api()).status, 200, "as documented, it is back");
}

// Case E18: the user of the gateway gets to read the key, and nobody else does.
#[test]
fn certbot_copies_the_certificate_as_documented() {
    let rest = "[tls]\ncertificate = 'DIR/tls/fullchain.pem'\nprivate_key = 'DIR/tls/privkey.pem'\n\
                [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:9']\n";
    let directory = configured(rest);
    let (live, tls) = (directory.path().join("live"), directory.path().join("tls"));
    fs::create_dir(&live).unwrap();
    let identity = Authority::new().issue("gate.test");
    fs::write(live.join("fullchain.pem"), identity.certificate).unwrap();
    fs::write(live.join("privkey.pem"), identity.key).unwrap();
    fs::set_permissions(&live, PermissionsExt::from_mode(0o700)).unwrap();
    // Also where an earlier copy is.
    for _ in 0..2 {
        sh(&block("RENEWED_LINEAGE", directory.path()));
    }
    assert_eq!((mode(&tls), mode(&tls.join("privkey.pem"))), (0o750, 0o640));
    let output = command(&directory.path().join("gatepost.toml"), &["check"], "");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("every user may use it"), "{text}");
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let read = |group: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", &format!("--regid={group}"), "--clear-groups", "cat"]);
            command.arg(tls.join("privkey.pem")).output().unwrap().status.success()
        };
        assert!(read("65534") && !read("12345"));
    }
}
