//! Folders are floors: a file uses its own folder and lower floors only, and some things belong to some floors only.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest floor to the highest; `domain` and `config` are one.
const FLOORS: [&[&str]; 6] =
    [&["domain", "config"], &["wire"], &["state"], &["service"], &["edge"], &["server", "cli"]];

/// Crates that must not be named on the floors beside them.
const FOREIGN: [(&str, &[&str]); 6] = [
    ("domain", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("config", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("wire", &["pingora", "sqlx", "moka", "tokio", "prometheus"]),
    ("state", &["pingora"]),
    ("service", &["pingora", "sqlx", "moka"]),
    ("edge", &["sqlx", "moka"]),
];

/// What pure floors don't have: time and the world are told to them.
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

fn floor_of(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
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
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// How many modules a file of `src` is below the root: `wire/mod.rs` and `main.rs` one and none, `wire/path.rs` two.
fn depth(path: &Path) -> usize {
    let inside = path.strip_prefix(root()).unwrap();
    let names = inside.components().count();
    let is_its_folder = ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| inside.ends_with(name));
    names - usize::from(is_its_folder)
}

/// The names that follow the root of the crate, whether it is called `crate` or climbed to. A chain of `super` is taken to
/// begin at the file's own module, which sees more than there is in modules within files, and never less.
fn used_from_root(code: &str, depth: usize) -> Vec<String> {
    let climbed = "super::".repeat(depth);
    let mut rests: Vec<&str> = code.split("crate::").skip(1).collect();
    if depth > 0 {
        rests.extend(code.split(&climbed).skip(1));
    }
    rests.into_iter().flat_map(first_names).filter(|name| !name.is_empty()).collect()
}

/// The first name of a path, or all first names where it begins with a group: `{a::b, c::{d, e}}` has `a` and `c`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(word).collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut names, mut level, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 0 => {
                names.push(name(&group[begin..at]));
                break;
            }
            '}' => level -= 1,
            ',' if level == 0 => {
                names.push(name(&group[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    names
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
fn every_folder_has_a_floor() {
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(["main.rs", "lib.rs"].contains(&name) || floor_of(name).is_some(), "src/{name} has no floor");
    }
}

#[test]
fn nothing_uses_a_higher_floor() {
    let mut used = 0;
    for (level, floor) in FLOORS.iter().enumerate() {
        for folder in *floor {
            for path in sources(&root().join(folder)) {
                for other in used_from_root(&code(&path), depth(&path)) {
                    let Some(other_level) = floor_of(&other) else { continue };
                    used += 1;
                    let same = other == *folder;
                    assert!(other_level <= level, "{} uses {other}", path.display());
                    assert!(
                        same || other_level < level || level == 0 || level == 5,
                        "{} uses {other}, which is on its own floor",
                        path.display()
                    );
                    assert!(!(*folder == "state" && other == "wire"), "{} uses {other}", path.display());
                }
            }
        }
    }
    assert!(used > 50, "only {used} uses were seen: is the test blind?");
}

#[test]
fn a_climb_and_a_group_are_seen() {
    let code = "use super::super::edge::Client;\nuse crate::{\n    domain::{Entry, wire},\n    state,\n};\nuse super::path;";
    assert_eq!(used_from_root(code, 2), ["domain", "state", "edge"]);
    let path = |name: &str| depth(&root().join(name));
    assert_eq!([path("wire/mod.rs"), path("wire/path.rs"), path("edge/smtp/mod.rs")], [1, 2, 2]);
}

#[test]
fn foreign_types_stay_on_their_floors() {
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
fn pure_floors_know_no_clock_and_no_world() {
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
