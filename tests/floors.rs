//! Folders are floors: a file uses its own folder and lower floors only.

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
                let code = code(&path);
                for part in code.split("crate::").skip(1) {
                    let other: String =
                        part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
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
fn foreign_types_stay_on_their_floors() {
    for (folder, crates) in FOREIGN {
        for path in sources(&root().join(folder)) {
            let code = code(&path);
            // What a service keeps for itself is its own affair; what it shows isn't.
            let shown = |line: &&str| folder != "service" || line.trim_start().starts_with("pub");
            let code = code.lines().filter(shown).collect::<Vec<_>>().join("\n");
            for name in crates {
                let named = [format!("use {name}"), format!("{name}::"), format!("{name}_core::")];
                assert!(!named.iter().any(|n| code.contains(n)), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn no_file_grows_past_a_room() {
    for path in sources(&root()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 450, "{} has {lines} lines", path.display());
    }
}
