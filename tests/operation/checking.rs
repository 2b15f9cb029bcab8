//! `gatepost check`, and the start: everything that is wrong at once, in the file and outside of it, in words that say what to do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::common::backend::Backend;
use crate::common::database::Other;
use crate::common::tls::Authority;
use crate::common::{command, configured, copy_binary, nobody};

fn run(directory: &Path, line: &str) -> (Option<i32>, String) {
    told(command(&directory.join("gatepost.toml"), &[line], ""))
}

fn told(output: Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

// The files that connections to PostgreSQL need are read before a start; a server that is down is no reason not to start.
#[test]
fn a_server_may_be_down_and_its_files_may_not_be_missing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let write = |parameters: &str, keys: &str| {
        let url = format!("postgres://gate@{}/gatepost{parameters}", nobody());
        let text = format!("[store]\nurl = '{url}'\n{keys}\n[ops]\nlisten = '127.0.0.1:0'\n");
        fs::write(at("gatepost.toml"), text).unwrap();
    };
    write(&format!("?sslrootcert={}", at("no-roots")), &format!("password_file = '{}'", at("no-password")));
    for line in ["check", "serve"] {
        let (code, text) = run(directory.path(), line);
        assert_eq!(code, Some(1), "{text}");
        for (key, file) in [("store.url", "no-roots"), ("store.password_file", "no-password")] {
            let expected = format!(": {key}: {}: there is no such file", at(file));
            assert!(text.contains(&expected), "{line}: {expected}\n{text}");
        }
    }
    fs::write(at("password"), "hunter22\n").unwrap();
    write("", &format!("password_file = '{}'", at("password")));
    let (code, text) = run(directory.path(), "check");
    let told = text.contains("connection refused; the gateway starts nevertheless, and answers 503");
    assert!(code == Some(0) && told && !text.contains("hunter22"), "{code:?} {text}");
}

// Case E8: each path of the configuration that cannot be used, all at once, at check and at start.
#[test]
fn every_path_that_cannot_be_used_is_told_at_once() {
    let rest = "[tls]\ncertificate = 'DIR/no-cert.pem'\nprivate_key = 'DIR/no-key.pem'\n\
        [api]\nlisten = ['127.0.0.1:0']\nupstreams = ['https://127.0.0.1:9']\nupstream_ca = 'DIR/no-ca.pem'\n\
        spool_directory = 'DIR/no-spool'\n\
        [web]\nlisten = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:9']\nspool_directory = 'DIR/file'\n\
        [smtp]\nlisten = ['127.0.0.1:0']\nupstreams = ['smtps://127.0.0.1:9']\nupstream_ca = 'DIR/no-mail.pem'\n\
        upstream_user = 'gate'\nupstream_password_file = 'DIR/no-password'\n";
    let directory = configured(rest);
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("gatepost.db")).unwrap();
    let expected = [
        ("store.url", format!("{}: it is a directory, expected a file", at("gatepost.db"))),
        ("tls.certificate", format!("{}: there is no such file", at("no-cert.pem"))),
        ("tls.private_key", format!("{}: there is no such file", at("no-key.pem"))),
        ("api.upstream_ca", format!("{}: there is no such file", at("no-ca.pem"))),
        (
            "api.spool_directory",
            format!("{}: there is no such directory; type: install -d -o ", at("no-spool")),
        ),
        ("web.spool_directory", format!("{}: it is not a directory", at("file"))),
        ("smtp.upstream_ca", format!("{}: there is no such file", at("no-mail.pem"))),
        ("smtp.upstream_password_file", format!("{}: there is no such file", at("no-password"))),
    ];
    for line in ["check", "serve"] {
        let (code, text) = run(directory.path(), line);
        assert_eq!(code, Some(1), "{text}");
        for (key, reason) in &expected {
            assert_eq!(
                text.matches(&format!(": {key}: {reason}")).count(),
                1,
                "{line}: {key}: {reason}\n{text}"
            );
        }
    }

    // Case E20: and while there are errors in the text.
    let file = directory.path().join("gatepost.toml");
    let bad = fs::read_to_string(&file).unwrap() + "max_mesage = 3\n[route]\n";
    fs::write(&file, bad.replace("private_key = ", "private_kye = ")).unwrap();
    let (code, text) = run(directory.path(), "check");
    assert_eq!(code, Some(1), "{text}");
    for (key, reason) in expected.iter().filter(|(key, _)| *key != "tls.private_key") {
        assert_eq!(text.matches(&format!(": {key}: {reason}")).count(), 1, "{key}: {reason}\n{text}");
    }
    for word in
        ["tls.private_kye: unknown key", "smtp.max_mesage: unknown key", "tls.private_key: required key"]
    {
        assert!(text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn a_database_whose_directory_is_missing_is_made_and_one_that_cannot_be_is_told() {
    let directory = configured("[ops]\nlisten = '127.0.0.1:0'\n");
    let file = directory.path().join("gatepost.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/gatepost.db", "/new/data/gatepost.db")).unwrap();
    assert_eq!(run(directory.path(), "check").0, Some(0));
    fs::write(directory.path().join("new"), "").unwrap();
    for line in ["check", "serve"] {
        let (code, text) = run(directory.path(), line);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("store.url") && text.contains("not a directory"), "{text}");
    }
    fs::remove_file(directory.path().join("new")).unwrap();
    symlink("/nowhere/gatepost.db", directory.path().join("link")).unwrap();
    fs::write(&file, text.replace("/gatepost.db", "/link")).unwrap();
    let (code, text) = run(directory.path(), "check");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("link to /nowhere/gatepost.db, which does not exist"), "{text}");
}

/// Runs `check` as the user `nobody`, with a copy of the binary that this user may read.
fn check_as_nobody(directory: &Path) -> (Option<i32>, String) {
    let copy = directory.join("gatepost-copy");
    if !copy.exists() {
        copy_binary(&copy);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).arg("check").arg("--config");
    told(command.arg(directory.join("gatepost.toml")).output().unwrap())
}

// Case E18: as whom `check` looked, what it may not read as that user, and what others may read.
#[test]
fn check_says_as_whom_it_looked_and_what_others_may_read() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let rest = format!(
        "[tls]\ncertificate = 'DIR/cert.pem'\nprivate_key = 'DIR/key.pem'\n\
         [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://{}']\nspool_directory = 'DIR/spool'\n",
        backend.address
    );
    let directory = configured(&rest);
    let at = |name: &str| directory.path().join(name);
    authority.issue("gate.test").write(directory.path());
    crate::common::accounts::create_database(directory.path());
    fs::create_dir(at("spool")).unwrap();
    mode(&at("key.pem"), 0o640);
    let (code, text) = run(directory.path(), "check");
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("every user may use it"), "{text}");
    mode(&at("key.pem"), 0o644);
    mode(directory.path(), 0o755);
    mode(&at("gatepost.db"), 0o644);
    let (code, text) = run(directory.path(), "check");
    assert_eq!(code, Some(0), "{text}");
    for (key, name) in [("tls.private_key", "key.pem"), ("store.url", "gatepost.db")] {
        let path = at(name).display().to_string();
        assert!(text.contains(&format!("warning: {key}: {path}: every user may use it (owner ")), "{text}");
        assert!(text.contains("mode 0644)") && text.contains(&format!("type: chmod o= {path}")), "{text}");
    }
    if !rustix::process::geteuid().is_root() {
        assert!(text.contains("(checked as "), "{text}");
        return;
    }
    assert!(text.contains("no errors (checked as root (uid 0))"), "{text}");
    assert!(text.contains("type: sudo -u gatepost gatepost check --config "), "{text}");

    mode(&at("key.pem"), 0o600);
    for (name, user) in [("", 65534), ("gatepost.db", 65534), ("spool", 0)] {
        chown(at(name), Some(user), Some(user)).unwrap();
    }
    let (code, text) = run(directory.path(), "check");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("type: sudo -u nobody gatepost check --config "), "{text}");
    let (code, text) = check_as_nobody(directory.path());
    assert_eq!(code, Some(1), "{text}");
    let (key, spool) = (at("key.pem"), at("spool"));
    let (key, spool) = (key.display(), spool.display());
    for line in [
        format!(
            "tls.private_key: {key}: permission denied to nobody (uid 65534) (owner root:root, mode 0600); \
             type: chgrp nogroup {key} && chmod 0640 {key}"
        ),
        format!(
            "api.spool_directory: {spool}: permission denied to nobody (uid 65534) (owner root:root, mode 0755)"
        ),
        "errors found (checked as nobody (uid 65534))".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    // As the directories of certbot are: they are not opened, and the key is copied.
    fs::create_dir(at("live")).unwrap();
    fs::rename(at("key.pem"), at("live/key.pem")).unwrap();
    symlink("live/key.pem", at("key.pem")).unwrap();
    mode(&at("live"), 0o700);
    let (_, text) = check_as_nobody(directory.path());
    let words = format!("who may not enter {} (owner root:root, mode 0700): ", at("live").display());
    assert!(text.contains(&words), "{text}");
    // What is told helps, one after the other.
    let before = live_and_spool(directory.path());
    for _ in 0..4 {
        let (code, text) = check_as_nobody(directory.path());
        if code == Some(0) {
            assert_eq!(live_and_spool(directory.path()), before);
            return;
        }
        type_what_is_told(&text);
        if at("gatepost").is_dir() && !at("gatepost/key.pem").exists() {
            fs::remove_file(at("key.pem")).unwrap();
            fs::copy(at("live/key.pem"), at("gatepost/key.pem")).unwrap();
            symlink("gatepost/key.pem", at("key.pem")).unwrap();
            let file = at("gatepost.toml");
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replace("/spool'", "/spool/gatepost'")).unwrap();
        }
    }
    panic!("{text}");
}

/// Owners and modes of directories that are not Gatepost's.
fn live_and_spool(directory: &Path) -> [(u32, u32, u32); 2] {
    ["live", "spool"].map(|name| {
        let metadata = directory.join(name).metadata().unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode())
    })
}

/// Runs the commands of the errors.
fn type_what_is_told(text: &str) {
    for line in text.lines().filter(|line| !line.contains(": warning: ")) {
        if let Some((_, told)) = line.split_once("; type: ") {
            assert!(Command::new("sh").args(["-c", told]).status().unwrap().success(), "{told}");
        }
    }
}

/// Runs `check` as `nobody`, for a database and a key at these paths, and returns the lines that tell what to type.
fn told_to_nobody(database: &Path, key: &Path) -> Vec<String> {
    let directory = configured("");
    let text = format!(
        "store.url = 'sqlite://{}'\n[tls]\ncertificate = '/nowhere'\nprivate_key = '{}'\n\
         [ops]\nlisten = '127.0.0.1:0'\n[api]\nlisten = ['127.0.0.1:0']\n\
         upstreams = ['http://127.0.0.1:9']\nspool_directory = '{}'\n",
        database.display(),
        key.display(),
        database.parent().unwrap().display()
    );
    fs::write(directory.path().join("gatepost.toml"), text).unwrap();
    mode(directory.path(), 0o755);
    mode(&directory.path().join("gatepost.toml"), 0o644);
    let (code, text) = check_as_nobody(directory.path());
    assert_eq!(code, Some(1), "{text}");
    text.lines().filter(|line| line.contains("; type: ")).map(str::to_owned).collect()
}

#[test]
fn nobody_is_told_to_take_a_directory_from_others() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for directory in ["/", "/etc", "/var", "/var/lib", "/var/opt", "/root", "/srv", "/usr/local/lib"] {
        let directory = Path::new(directory);
        for line in told_to_nobody(&directory.join("gatepost.db"), &directory.join("none.pem")) {
            let (_, told) = line.split_once("; type: ").unwrap();
            assert!(told.starts_with("install -d -o nobody -m 0700 /"), "{line}");
            assert!(
                told.ends_with("/gatepost") && !Path::new(told.rsplit(' ').next().unwrap()).exists(),
                "{line}"
            );
        }
    }
    // A key that others share by their group, as those of Debian's `ssl-cert`; `mail` is a group on every system.
    let shared = tempfile::tempdir().unwrap();
    mode(shared.path(), 0o755);
    let (private, mail) = (shared.path().join("private"), 8);
    fs::create_dir(&private).unwrap();
    let key = private.join("key.pem");
    fs::write(&key, "").unwrap();
    for (path, bits) in [(&private, 0o710), (&key, 0o640)] {
        chown(path, Some(0), Some(mail)).unwrap();
        mode(path, bits);
    }
    let database = shared.path().join("gatepost.db");
    let of_key =
        |lines: Vec<String>| lines.into_iter().find(|line| line.contains("tls.private_key")).unwrap();
    let line = of_key(told_to_nobody(&database, &key));
    assert!(line.ends_with("; type: usermod -aG mail nobody"), "{line}");
    mode(&private, 0o755);
    let line = of_key(told_to_nobody(&database, &key));
    assert!(line.ends_with("; type: usermod -aG mail nobody"), "{line}");
    // A directory that is there for the gateway alone.
    let own = shared.path().join("gatepost");
    fs::create_dir(&own).unwrap();
    let lines = told_to_nobody(&own.join("x.db"), &key);
    let told = format!("; type: chown nobody: {0} && chmod 0700 {0}", own.display());
    assert!(lines.iter().any(|line| line.contains("store.url") && line.ends_with(&told)), "{lines:?}");
    // And one with a file of somebody else's.
    fs::write(own.join("other"), "").unwrap();
    let lines = told_to_nobody(&own.join("x.db"), &key);
    assert!(!lines.iter().any(|line| line.contains("chown")), "{lines:?}");
}

#[test]
fn what_is_told_helps_whatever_characters_a_path_has() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (authority, backend) = (Authority::new(), Backend::hello());
    let rest = format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n\
         [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://{}']\nspool_directory = \"DIR/new\"\n",
        backend.address
    );
    let directory = configured(&rest);
    let strange = directory.path().join("it's $(touch x); `a` &b");
    fs::create_dir(&strange).unwrap();
    crate::common::accounts::create_database(directory.path());
    fs::rename(directory.path().join("gatepost.db"), strange.join("gatepost.db")).unwrap();
    authority.issue("gate.test").write(&strange);
    let file = directory.path().join("gatepost.toml");
    let (old, new) = (directory.path().display().to_string(), strange.display().to_string());
    let text = fs::read_to_string(&file).unwrap().replace(&old, &new).replace('\'', "\"");
    fs::write(&file, text.replace("it\"s", "it's")).unwrap();
    mode(directory.path(), 0o755);
    mode(&file, 0o644);
    chown(&strange, Some(65534), Some(65534)).unwrap();
    mode(&strange.join("key.pem"), 0o600);
    let (_, text) = check_as_nobody(directory.path());
    let told = text.lines().filter(|line| !line.contains(": warning: ") && line.contains("; type: "));
    assert_eq!(told.count(), 4, "{text}");
    type_what_is_told(&text);
    type_what_is_told(&check_as_nobody(directory.path()).1);
    let (code, text) = check_as_nobody(directory.path());
    assert_eq!(code, Some(0), "{text}");

    // A command cannot be copied from the terminal, so none is told.
    let hidden = strange.join("a\x1b[2Jb");
    fs::rename(strange.join("key.pem"), &hidden).unwrap();
    mode(&hidden, 0o600);
    chown(&hidden, Some(0), Some(0)).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/key.pem", "/a\\u001b[2Jb")).unwrap();
    let (code, text) = check_as_nobody(directory.path());
    assert!(code == Some(1) && text.contains("permission denied") && !text.contains("type: "), "{text}");
}

/// A configuration with a database, both of the user `nobody`.
fn of_nobody() -> tempfile::TempDir {
    let directory = configured("[ops]\nlisten = '127.0.0.1:0'\n");
    crate::common::accounts::create_database(directory.path());
    for name in ["", "gatepost.db"] {
        chown(directory.path().join(name), Some(65534), Some(65534)).unwrap();
    }
    mode(directory.path(), 0o755);
    directory
}

/// Makes the schema that of an older version.
fn make_older(directory: &Path) {
    let script =
        "db.executescript('DROP TABLE principal_use; DELETE FROM _sqlx_migrations WHERE version > 2')\nsay()";
    Other::run(&directory.join("gatepost.db"), script).end();
}

#[test]
fn a_database_that_has_to_be_migrated_must_be_writable() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = of_nobody();
    make_older(directory.path());
    let file = directory.path().join("gatepost.db");
    assert_eq!(check_as_nobody(directory.path()).0, Some(0));
    chown(&file, Some(0), Some(0)).unwrap();
    mode(&file, 0o444);
    let (code, text) = check_as_nobody(directory.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("has to be migrated, and cannot be written: permission denied to nobody"),
        "{text}"
    );
}

#[test]
fn the_files_beside_a_writable_database_must_be_writable() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = of_nobody();
    let file = directory.path().join("gatepost.db");
    for end in ["-wal", "-shm"] {
        let beside = format!("{}{end}", file.display());
        fs::write(&beside, "").unwrap();
        mode(Path::new(&beside), 0o444);
        chown(&beside, Some(65534), Some(65534)).unwrap();
    }
    let (code, text) = check_as_nobody(directory.path());
    let shown = file.canonicalize().unwrap();
    let told = format!("chmod 0600 {0}-wal {0}-shm", shown.display());
    assert!(code == Some(1) && text.contains(&format!("; type: {told}")), "{text}");
    assert!(Command::new("sh").args(["-c", &told]).status().unwrap().success());
    assert_eq!(check_as_nobody(directory.path()).0, Some(0));
}

#[test]
fn commands_that_only_read_leave_an_older_database_to_the_gateway() {
    let directory = configured("[ops]\nlisten = '127.0.0.1:0'\n");
    crate::common::accounts::create_database(directory.path());
    make_older(directory.path());
    let file = directory.path().join("gatepost.db");
    let before = fs::read(&file).unwrap();
    let config = directory.path().join("gatepost.toml");
    for line in
        [&["account", "list"][..], &["find", "someone"], &["credential", "list", "--account", "someone"]]
    {
        let (code, text) = told(command(&config, line, ""));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("it is migrated when the gateway starts"), "{text}");
    }
    assert_eq!(told(command(&config, &["check"], "")).0, Some(0));
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn a_file_with_many_faults_is_checked_at_once_and_a_huge_one_is_refused() {
    let directory = configured("[ops]\nlisten = [\n");
    let file = directory.path().join("gatepost.toml");
    let text = fs::read_to_string(&file).unwrap();
    for (element, faults) in [("wrong\n", 100), ("'wrong',\n", 101)] {
        fs::write(&file, format!("{text}{}]\n", element.repeat(100_000))).unwrap();
        let began = std::time::Instant::now();
        let (code, found) = run(directory.path(), "check");
        println!("{element:?}: {:?}, {} lines", began.elapsed(), found.lines().count());
        assert_eq!(code, Some(1));
        assert!(found.lines().count() <= faults + 2, "{} lines", found.lines().count());
    }
    fs::write(&file, format!("{text}]\n{}", "# long\n".repeat(200_000))).unwrap();
    let (code, found) = run(directory.path(), "check");
    assert!(code == Some(1) && found.contains("longer than 1 MiB"), "{found}");
}
