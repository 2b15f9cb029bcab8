//! Changes to the files of the database under a running gateway: it is replaced, deleted, or restored by root; or its directory of
//! sockets is removed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::backend::Backend;
use crate::common::database::{Other, file_of};
use crate::common::http::{Connection, get};
use crate::common::{Gateway, api, binary, command, configured, copy_binary, in_namespaces_of_its_own};

const JOE: &str = "joe:passw0rd-of-joe";
const ANN: &str = "ann:passw0rd-of-ann";
const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";

/// A gateway that has let `JOE` pass, by a connection that stays open.
fn warm(backend: &Backend) -> (Gateway, Connection) {
    let rest = format!("[auth]\nbcrypt_cost = 4\nthrottle = false\n{}{OPS}", api(backend.address));
    let gateway = Gateway::start(&rest);
    gateway.account("email,api,web").credential(JOE, "api").credential(ANN, "api");
    let mut connection = Connection::open(gateway.api());
    assert_eq!(connection.exchange(get("/v3/stats").basic(JOE)).status, 200);
    (gateway, connection)
}

fn ready(gateway: &Gateway) -> u16 {
    get("/readyz").send(gateway.address("ops.listen")).status
}

fn remove_joe(gateway: &Gateway) -> Output {
    gateway.command(&["credential", "remove", "joe", "--account", "acme"], "")
}

fn nodes_of(gateway: &Gateway) -> PathBuf {
    gateway.directory.path().join("gatepost.db.nodes")
}

// Case E12: whatever becomes of the directory of sockets, a command that succeeds is in effect.
#[test]
fn a_revocation_is_in_effect_though_the_sockets_are_gone() {
    for means in ["directory", "socket", "moved"] {
        let backend = Backend::hello();
        let (gateway, mut connection) = warm(&backend);
        let nodes = nodes_of(&gateway);
        match means {
            "directory" => fs::remove_dir_all(&nodes).unwrap(),
            "socket" => fs::read_dir(&nodes)
                .unwrap()
                .for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap()),
            _ => fs::rename(&nodes, gateway.directory.path().join("moved")).unwrap(),
        }
        let output = remove_joe(&gateway);
        let status = connection.exchange(get("/v3/stats").basic(JOE)).status;
        assert_eq!((output.status.code(), status), (Some(0), 401), "{means}: {output:?}");
    }
}

// Case E17: a restore without a stop. The new file is a copy, so that everything else in it is the same.
#[test]
fn a_replaced_database_is_noticed_and_nothing_is_decided() {
    let backend = Backend::hello();
    let (mut gateway, mut connection) = warm(&backend);
    let (file, copy) = (file_of(&gateway), gateway.directory.path().join("copy.db"));
    Other::run(&file, "db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\nsay()").end();
    fs::copy(&file, &copy).unwrap();
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", file.display())).unwrap();
    }
    fs::rename(&copy, &file).unwrap();

    // At once, by the command line, which would work on the new file.
    let output = remove_joe(&gateway);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told.contains("was replaced: restart it; nothing was changed"), "{told}");
    for login in [JOE, ANN, "ann:wrong-passw0rd"] {
        let response = connection.exchange(get("/v3/stats").basic(login));
        assert_eq!(response.status, 503, "{login}");
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(gateway.manage("remove", "username=ann").0, 503);
    assert_eq!(ready(&gateway), 503);
    let line = gateway.log().wait_for(&["the store is unavailable", "was replaced by another file"]);
    assert!(line.contains("\"level\":\"ERROR\"") && line.contains("restart the gateway"), "{line}");
    let lines = gateway.log().text().matches("the store is unavailable\"").count();
    assert_eq!(lines, 1, "told once:\n{}", gateway.log().text());

    gateway.kill();
    gateway.restart();
    assert_eq!(get("/v3/stats").basic(JOE).send(gateway.api()).status, 200, "nothing was changed");
    assert!(remove_joe(&gateway).status.success());
    assert_eq!(get("/v3/stats").basic(JOE).send(gateway.api()).status, 401);
    assert_eq!(get("/v3/stats").basic(ANN).send(gateway.api()).status, 200);
    assert_eq!(ready(&gateway), 200);
}

// Case E17: a backup is moved to the place of the database, and what was written to that since is in its write-ahead log.
#[test]
fn a_restore_under_a_running_gateway_is_not_undone_by_the_restart() {
    for means in ["TERM", "KILL"] {
        let backend = Backend::hello();
        let (mut gateway, _connection) = warm(&backend);
        let (file, backup) = (file_of(&gateway), gateway.directory.path().join("backup.db"));
        Other::run(&file, &format!("db.execute(\"VACUUM INTO '{}'\")\nsay()", backup.display())).end();
        let restored = fs::read(&backup).unwrap();
        for number in 0..40 {
            gateway.credential(&format!("late{number}:passw0rd-of-late"), "api");
        }
        let old = fs::File::open(&file).unwrap();
        fs::rename(&backup, &file).unwrap();
        gateway.log().wait_for(&["the store is unavailable", "was replaced by another file"]);
        let log = PathBuf::from(format!("{}-wal", file.display()));
        if means == "TERM" {
            gateway.signal("TERM");
            assert_eq!(gateway.wait(), Some(0));
            assert!(!log.exists(), "left beside the restored file");
        } else {
            // It empties its log by itself.
            let deadline = Instant::now() + Duration::from_secs(10);
            while log.metadata().unwrap().len() > 0 {
                assert!(Instant::now() < deadline, "the log is left beside the restored file");
                std::thread::yield_now();
            }
            gateway.kill();
        }
        assert!(fs::read(&file).unwrap() == restored, "{means}: written into the restored file");
        gateway.restart();
        let late = get("/v3/stats").basic("late39:passw0rd-of-late").send(gateway.api()).status;
        let joe = get("/v3/stats").basic(JOE).send(gateway.api()).status;
        assert_eq!((late, joe), (401, 200), "{means}: the restore is in effect");
        let check = "assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\nsay()";
        Other::run(&file, check).end();
        // Nothing of the old file is lost either, for example if it was moved and not replaced.
        let kept = gateway.directory.path().join("kept.db");
        std::io::copy(&mut &old, &mut fs::File::create(&kept).unwrap()).unwrap();
        let check = format!(
            "{check}\nassert db.execute(\"SELECT 1 FROM principal WHERE name = 'late39'\").fetchone()"
        );
        Other::run(&kept, &check).end();
    }
}

// Case E17: the directory of sockets is moved with the database, or the gateway doesn't run to say that it has the old file.
#[test]
fn commands_refuse_a_new_file_as_long_as_a_gateway_has_the_old_one() {
    for means in ["moved with its sockets", "stopped"] {
        let backend = Backend::hello();
        let (gateway, _connection) = warm(&backend);
        let (file, backup) = (file_of(&gateway), gateway.directory.path().join("backup.db"));
        Other::run(&file, &format!("db.execute(\"VACUUM INTO '{}'\")\nsay()", backup.display())).end();
        if means == "stopped" {
            gateway.signal("STOP");
        } else {
            let away = gateway.directory.path().join("away");
            fs::create_dir(&away).unwrap();
            for end in ["", "-wal", "-shm", ".nodes"] {
                let name = format!("gatepost.db{end}");
                fs::rename(gateway.directory.path().join(&name), away.join(&name)).unwrap();
            }
        }
        let restored = fs::read(&backup).unwrap();
        fs::rename(&backup, &file).unwrap();
        for _ in 0..2 {
            let output = remove_joe(&gateway);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{means}: {output:?}");
            assert!(told.contains("was replaced: restart it; nothing was changed"), "{means}: {told}");
        }
        assert!(fs::read(&file).unwrap() == restored, "{means}");
    }
}

// Case E17: nobody asks for anything meanwhile; within a second nothing is decided by the cache either.
#[test]
fn a_deleted_database_is_noticed_without_a_request_and_the_same_file_is_used_again() {
    let backend = Backend::hello();
    let (gateway, mut connection) = warm(&backend);
    let (file, away) = (file_of(&gateway), gateway.directory.path().join("away.db"));
    fs::rename(&file, &away).unwrap();
    gateway.log().wait_for(&["the store is unavailable", "was moved or deleted"]);
    assert_eq!(connection.exchange(get("/v3/stats").basic(JOE)).status, 503);
    assert_eq!(ready(&gateway), 503);
    fs::rename(&away, &file).unwrap();
    assert_eq!(connection.exchange(get("/v3/stats").basic(JOE)).status, 200);
    assert_eq!(ready(&gateway), 200);
    gateway.log().wait_for(&["the store is available again"]);
}

/// Runs the binary as a user of the system, which only root can do; a copy of it that this user may read.
fn command_as(user: u32, directory: &Path, line: &str) -> Output {
    let copy = directory.join("gatepost");
    if !copy.exists() {
        copy_binary(&copy);
    }
    let config = directory.join("gatepost.toml");
    // `setpriv` leaves out the groups of root, as systemd does.
    Command::new("setpriv")
        .args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()])
        .arg(copy)
        .args(line.split(' '))
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

const NOBODY: u32 = 65534;

/// A directory of the user `nobody` with a database that was restored by root: `cp`, then `chown` of the file alone.
fn restored_by_root() -> tempfile::TempDir {
    let directory = configured(OPS);
    crate::common::accounts::create_database(directory.path());
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    chown(directory.path().join("gatepost.db"), Some(NOBODY), Some(0)).unwrap();
    directory
}

// Case E10: the group of the file is still root.
#[test]
fn a_database_restored_by_root_can_be_used_by_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = restored_by_root();
    let list = command_as(NOBODY, directory.path(), "account list");
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    // And where root was first.
    fs::remove_dir_all(directory.path().join("gatepost.db.nodes")).unwrap();
    let config = directory.path().join("gatepost.toml");
    assert!(command(&config, &["account", "list"], "").status.success());
    let nodes = directory.path().join("gatepost.db.nodes").metadata().unwrap();
    assert_eq!((nodes.uid(), nodes.mode() & 0o7777), (NOBODY, 0o700));
    assert_eq!(command_as(NOBODY, directory.path(), "account list").status.code(), Some(0));
}

// Case E10: what is in the way says whose it is, as whom the process looked, and what to type.
#[test]
fn a_database_of_somebody_else_says_whose_it_is_and_what_to_type() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = restored_by_root();
    let file = directory.path().join("gatepost.db");
    let shown = file.display();
    chown(&file, Some(0), Some(0)).unwrap();
    for line in ["serve", "check", "account list"] {
        let output = command_as(NOBODY, directory.path(), line);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        for words in [
            "permission denied to nobody (uid 65534) (owner root:root, mode 0600)".to_owned(),
            format!("type: chown nobody: {shown} && chmod 0600 {shown}"),
        ] {
            assert_eq!(text.matches(&words).count(), 1, "{line}: {text}");
        }
    }
    // It is the gateway's alone, and somebody has taken only the directory itself.
    for entry in fs::read_dir(directory.path()).unwrap() {
        chown(entry.unwrap().path(), Some(NOBODY), Some(0)).unwrap();
    }
    chown(directory.path(), Some(0), Some(0)).unwrap();
    let output = command_as(NOBODY, directory.path(), "serve");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("type: chown nobody: {}", directory.path().display())), "{text}");
}

// Case E13: a newer schema is told once, in our words, at the start and by commands.
#[test]
fn a_newer_schema_is_told_once() {
    let directory = configured(OPS);
    crate::common::accounts::create_database(directory.path());
    let file = directory.path().join("gatepost.db");
    let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  VALUES (4711, 'later', 1, x'00', 1)";
    Other::run(&file, &format!("db.execute(\"{insert}\")\nsay()")).end();
    for line in [&["serve"][..], &["check"], &["account", "list"]] {
        let output = command(&directory.path().join("gatepost.toml"), line, "");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line:?}: {output:?}");
        let words = "made by a newer version of Gatepost (schema 4711; this one knows ";
        assert_eq!(text.matches(words).count(), 1, "{line:?}: {text}");
        assert!(text.contains(file.to_str().unwrap()), "{line:?}: {text}");
    }
}

/// Runs the binary in namespaces of its own, after a script that prepares its directory, `$1`.
fn command_after(script: &str, directory: &Path, line: &str) -> String {
    let mut command = in_namespaces_of_its_own(&format!("{script} && shift && exec \"$@\""));
    command.arg(directory).arg(binary()).args(line.split(' '));
    let output = command.arg("--config").arg(directory.join("gatepost.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

// Case E13: a disk that is read-only, and one that is full.
#[test]
fn a_disk_that_cannot_be_written_is_told_in_words() {
    let directory = configured(OPS);
    let config = directory.path().join("gatepost.toml");
    crate::common::accounts::create_database(directory.path());
    crate::common::accounts::add_account(&config, "holder", "passw0rd", "api");
    let file = directory.path().join("gatepost.db").display().to_string();
    let read_only = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";
    for line in ["serve", "check", "account suspend holder"] {
        let text = command_after(read_only, directory.path(), line);
        assert_eq!(
            text.matches("its file system is read-only: mount it for writing").count(),
            1,
            "{line}: {text}"
        );
        assert!(text.contains(&file), "{line}: {text}");
    }
    let full = "cp -r \"$1\" \"$1.copy\" && mount -t tmpfs -o size=1m none \"$1\" && cp -r \"$1.copy/.\" \"$1\" \
                && { head -c 2000000 /dev/zero > \"$1/ballast\" 2>/dev/null || true; }";
    let text = command_after(full, directory.path(), "account suspend holder");
    assert!(text.contains(&file) && text.contains("full: make room"), "{text}");
    assert!(!text.contains("code:") && !text.contains("os error"), "{text}");
}
