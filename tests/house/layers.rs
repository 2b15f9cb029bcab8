//! Folders are layers: a file uses its own folder and lower layers only, and some things belong to some layers only. Folders
//! within `edge` are rooms, which know `net` at most.

mod circles;
mod imports;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

use imports::{Module, module_of, paths};

/// The layers from the lowest to the highest; `domain` and `config` are one.
const LAYERS: [&[&str]; 6] =
    [&["domain", "config"], &["wire"], &["state"], &["service"], &["edge"], &["server", "cli"]];

/// The rooms of `edge`, and those that each may use besides itself.
const ROOMS: [(&str, &[&str]); 4] = [("net", &[]), ("http", &["net"]), ("smtp", &["net"]), ("ops", &["net"])];

/// Crates that must not be named in the folders beside them.
const FOREIGN: [(&str, &[&str]); 6] = [
    ("domain", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("config", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("wire", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("state", &["pingora"]),
    ("service", &["pingora", "sqlx", "moka"]),
    ("edge", &["sqlx", "moka"]),
];

/// Names that pure layers must not use: time and the outside world are passed in.
const IMPURE: [&str; 12] = [
    "Instant::now",
    "SystemTime::now",
    "::sleep",
    "fs::",
    "env::",
    "process::",
    "thread::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "getrandom",
];

/// Lines of a file at most.
const LONGEST: usize = 450;

fn layer_of(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The lines of a file that are code.
fn code(path: &Path) -> String {
    uncommented(&fs::read_to_string(path).unwrap())
}

fn uncommented(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The module of a file of `src`.
fn module(path: &Path) -> Module {
    module_of(path.strip_prefix(root()).unwrap())
}

/// What of a file others see: signatures to their end, fields, all of a public enum or trait.
fn shown(code: &str) -> String {
    let mut shown = Vec::new();
    let mut lines = code.lines();
    while let Some(first) = lines.next() {
        let trimmed = first.trim_start();
        let Some(item) = trimmed.strip_prefix("pub").filter(|rest| rest.starts_with([' ', '('])) else {
            continue;
        };
        let closing = format!("{}}}", &first[..first.len() - trimmed.len()]);
        let is_block = [" enum ", " trait "].iter().any(|kind| item.contains(kind)) && first.ends_with('{');
        let is_signature = item.contains("fn ") && !first.contains(['{', ';']);
        shown.push(first);
        let last =
            |line: &&str| if is_block { line.starts_with(&closing) } else { line.contains(['{', ';']) };
        if is_block || is_signature {
            for line in lines.by_ref() {
                shown.push(line);
                if last(&line) {
                    break;
                }
            }
        }
    }
    shown.join("\n")
}

#[test]
fn every_folder_is_a_layer() {
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            ["main.rs", "lib.rs"].contains(&name) || layer_of(name).is_some(),
            "src/{name} is in no layer"
        );
    }
}

/// The layers that the code of a module names, and the reason for which it must not name one of them, if there is one.
fn layers_named(code: &str, module: &[String]) -> (usize, Option<String>) {
    let folder = module.first().map_or("", String::as_str);
    let level = layer_of(folder).unwrap_or_else(|| panic!("{folder} is in no layer"));
    let (mut used, mut wrong) = (0, None);
    for named in paths(code, module) {
        let Some((other, other_level)) = named.first().and_then(|name| Some((name, layer_of(name)?))) else {
            continue;
        };
        used += 1;
        // `domain` and `config`, and `server` and `cli`, may use each other.
        let is_beside = other_level == level && other != folder && level != 0 && level != LAYERS.len() - 1;
        if other_level > level || is_beside || folder == "state" && other == "wire" {
            wrong.get_or_insert_with(|| other.clone());
        }
    }
    (used, wrong)
}

#[test]
fn nothing_uses_a_higher_layer() {
    let mut used = 0;
    for folder in LAYERS.iter().flat_map(|layer| layer.iter()) {
        for path in sources(&root().join(folder)) {
            let (named, wrong) = layers_named(&code(&path), &module(&path));
            used += named;
            assert_eq!(wrong, None, "{} uses a higher layer, or one beside its own", path.display());
        }
    }
    assert!(used > 50, "only {used} uses were seen: is the test blind?");
}

#[test]
fn a_planted_import_of_a_higher_layer_is_found() {
    let wrong = |file: &str, code: &str| layers_named(code, &module(&root().join(file))).1;
    let found = |folder: &str| Some(folder.to_owned());
    assert_eq!(wrong("wire/http/path.rs", "use crate::state::Metrics;"), found("state"));
    assert_eq!(wrong("state/store/mod.rs", "use super::super::service::access::Access;"), found("service"));
    assert_eq!(wrong("service/mod.rs", "fn f() { crate::edge::http::server::f() }"), found("edge"));
    assert_eq!(wrong("edge/net/worker.rs", "use crate::{domain::Entry, server};"), found("server"));
    assert_eq!(wrong("state/audit.rs", "use crate::wire::Format;"), found("wire"));
    assert_eq!(wrong("domain/username.rs", "use crate::config::Config;"), None);
    assert_eq!(wrong("cli/demo.rs", "use crate::server;\nuse crate::domain::Entry;"), None);
}

/// The room of `edge` that a file names and mustn't, if there is one. `edge` itself is all of them.
fn wrong_room(code: &str, module: &[String]) -> Option<String> {
    let room = module.get(1)?;
    let known = ROOMS.iter().find(|(name, _)| name == room);
    let (_, others) = known.unwrap_or_else(|| panic!("edge/{room} is none of the rooms"));
    let named =
        paths(code, module).into_iter().filter(|path| path.first().is_some_and(|name| name == "edge"));
    let mut rooms = named.map(|path| path.get(1).cloned().unwrap_or_default());
    rooms.find(|other| other != room && !others.contains(&other.as_str()))
}

#[test]
fn rooms_of_the_edge_know_only_the_net() {
    for path in sources(&root().join("edge")) {
        let wrong = wrong_room(&code(&path), &module(&path));
        assert_eq!(wrong, None, "{} uses another room", path.display());
    }
}

#[test]
fn a_planted_import_of_another_room_is_found() {
    let wrong = |file: &str, code: &str| wrong_room(code, &module(&root().join(file)));
    let http = Some("http".to_owned());
    assert_eq!(wrong("edge/net/listener.rs", "use super::super::http::server::HttpServer;"), http);
    assert_eq!(
        wrong("edge/net/listener.rs", "#[cfg(test)]\nmod tests {\n    use super::super::super::http;\n}"),
        http
    );
    assert_eq!(
        wrong("edge/smtp/backend/pool.rs", "use crate::{edge::{net::worker, http::body}, wire};"),
        http
    );
    assert_eq!(wrong("edge/ops/server.rs", "use crate::edge;"), Some(String::new()));
    assert_eq!(
        wrong("edge/http/body/source.rs", "use super::super::server;\nuse crate::edge::net::worker;"),
        None
    );
    assert_eq!(wrong("edge/mod.rs", "pub mod http;"), None);
}

#[test]
fn foreign_types_stay_in_their_layers() {
    for (folder, crates) in FOREIGN {
        for path in sources(&root().join(folder)) {
            let code = code(&path);
            // What a service keeps for itself is its own affair; what it shows isn't.
            let code = if folder == "service" { shown(&code) } else { code };
            for name in crates {
                let named = [format!("use {name}"), format!("{name}::"), format!("{name}_core::")];
                assert!(!named.iter().any(|n| code.contains(n)), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn what_is_shown_is_seen_to_its_end() {
    let code = "    pub fn new(\n        a: sqlx::Pool,\n    ) -> X {\n        moka::y();\n    }\npub enum E {\n    A(sqlx::Error),\n}\nstruct S {\n    kept: moka::Cache,\n    pub seen: u8,\n}";
    let seen = shown(code);
    assert_eq!(seen.matches("sqlx").count(), 2, "{seen}");
    assert!(!seen.contains("moka") && seen.contains("seen: u8"), "{seen}");
}

#[test]
fn pure_layers_know_no_clock_and_no_world() {
    for folder in ["domain", "wire"] {
        for path in sources(&root().join(folder)) {
            let code = code(&path);
            let named: Vec<_> = IMPURE.iter().filter(|name| code.contains(**name)).collect();
            assert!(named.is_empty(), "{} names {named:?}", path.display());
        }
    }
}

/// A reader that stalls would stop who writes there, and one that is gone makes the macros panic.
#[test]
fn only_the_log_and_the_command_line_write_to_standard_streams() {
    for path in sources(&root()) {
        let code = code(&path);
        assert!(!code.contains("println!(") && !code.contains("print!("), "{} may panic", path.display());
        let inside = path.strip_prefix(root()).unwrap();
        let may = inside.starts_with("cli") || inside.starts_with("server/log");
        let named = ["stdout()", "stderr()"].iter().any(|stream| code.contains(stream));
        assert!(may || !named, "{} writes to a standard stream", path.display());
    }
}

#[test]
fn no_file_grows_past_a_room() {
    let folders = ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"];
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in folders.iter().flat_map(|folder| sources(&crate_root.join(folder))) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
    }
}
