//! Configurations as files: what is accepted and how it is understood, what is refused and with which lines.
//!
//! Beside each `NAME.toml` stands a `NAME.txt` with exactly what comes out. To write the ones anew after a change that
//! is meant: `GATEPOST_BLESS=1 cargo test --test house config`, then read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gatepost::config::Config;
use proptest::prelude::*;

#[test]
fn good_ones_are_understood() {
    let count = each_in("good", |name, text| match Config::parse(text, name) {
        Ok(config) => {
            let mut out = format!("{config:#?}\n");
            for warning in config.warnings() {
                let _ = writeln!(out, "warning: {warning}");
            }
            out
        }
        Err(errors) => panic!("{errors}"),
    });
    assert!(count >= 4, "only {count} good configurations");
}

// Case E20: each mistake in the words of who made it, and all at once.
#[test]
fn bad_ones_are_refused_with_every_error() {
    let count = each_in("bad", |name, text| match Config::parse(text, name) {
        Ok(_) => panic!("{name} was accepted"),
        Err(errors) => format!("{errors}\n"),
    });
    assert!(count >= 25, "only {count} bad configurations");
}

#[test]
fn the_shipped_ones_are_accepted() {
    for name in ["config/gatepost.toml", "config/production.toml"] {
        let config = Config::load(&root().join(name)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.warnings(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_file_that_is_missing_is_one_error() {
    let errors = Config::load(Path::new("no/such/file.toml")).unwrap_err();
    assert!(errors.to_string().starts_with("no/such/file.toml: cannot be read: "), "{errors}");
}

#[test]
fn the_commented_file_shows_the_defaults() {
    let least = "[api]\nlisten = ['127.0.0.1:8080']\nupstreams = ['http://127.0.0.1:9000']\n[ops]\n";
    let shipped = read(&root().join("config/gatepost.toml"));
    assert_eq!(Config::parse(&shipped, "shipped"), Config::parse(least, "least"));
}

#[test]
fn what_the_commented_file_leaves_off_works_when_it_is_put_on() {
    if let Err(errors) = Config::parse(&with_all_on(), "config/gatepost.toml") {
        panic!("{errors}");
    }
}

#[test]
fn the_commented_file_mentions_every_key() {
    let mut section = String::new();
    let mut mentioned = Vec::new();
    for line in with_all_on().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
            mentioned.push(section.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            mentioned.push(format!("{section}.{key}"));
        }
    }
    let missing: Vec<_> =
        Config::keys().into_iter().filter(|key| !is_of_api(key) && !mentioned.contains(key)).collect();
    assert!(missing.is_empty(), "config/gatepost.toml doesn't mention {missing:?}");
    let known = Config::keys();
    let unknown: Vec<_> = mentioned.iter().filter(|key| !known.contains(*key)).collect();
    assert!(unknown.is_empty(), "config/gatepost.toml mentions unknown keys {unknown:?}");
}

/// What [web] has is what [api] has; it is explained once.
fn is_of_api(key: &str) -> bool {
    key.strip_prefix("web.").is_some_and(|key| Config::keys().contains(&format!("api.{key}")))
}

#[test]
fn the_documentation_mentions_every_key_and_no_other() {
    let text = read(&root().join("docs/operations.md"));
    let rows: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing: Vec<_> = Config::keys()
        .into_iter()
        .filter(|key| key.contains('.') && !is_of_api(key))
        .filter(|key| key != "api.route" && key != "api.group" && !rows.contains(&key.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md has no row for {missing:?}");
    let known = Config::keys();
    let unknown: Vec<_> = rows.iter().filter(|row| row.contains('.') && !known.contains(**row)).collect();
    assert!(unknown.is_empty(), "docs/operations.md has rows for unknown keys {unknown:?}");
}

#[test]
fn alerts_and_dashboard_use_documented_metrics_only() {
    let documented = metrics_in(&read(&root().join("docs/operations.md")));
    for name in ["config/prometheus-alerts.yml", "config/grafana.json"] {
        let used = metrics_in(&read(&root().join(name)));
        assert!(used.len() > 5, "{name}: {used:?}");
        let unknown: Vec<_> = used.difference(&documented).collect();
        assert!(unknown.is_empty(), "{name} uses {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&read(&root().join("config/grafana.json"))).unwrap();
    let shown = metrics_in(&dashboard["panels"].to_string());
    let missing: Vec<_> = documented.difference(&shown).collect();
    assert!(missing.is_empty(), "config/grafana.json doesn't show {missing:?}");
}

#[test]
fn api_and_web_have_the_same_keys() {
    let keys = Config::keys();
    let of = |entry: &str| -> Vec<_> { keys.iter().filter_map(|key| key.strip_prefix(entry)).collect() };
    assert!(of("api.").contains(&"route.path"));
    // The gate, and what it has in common with the console.
    let of_gate = ["allowed_origins", "prefix", "service_workers"];
    let of_pages = ["color", "logo", "public_origin", "session_idle", "session_lifetime", "title"];
    assert!(of_pages.iter().all(|key| of("console.").contains(key)));
    let of_both: Vec<_> =
        of("web.").into_iter().filter(|key| !of_gate.contains(key) && !of_pages.contains(key)).collect();
    assert_eq!(of("api."), of_both);
}

proptest! {
    #[test]
    fn a_damaged_file_never_panics_and_its_errors_are_in_order(
        at in 0..5_000_usize,
        length in 0..40_usize,
        inserted in "[\\[\\]\"'=\n#,{}.a-z0-9 ]{0,12}",
    ) {
        let mut text = read(&root().join("tests/config/good/everything.toml"));
        let at = at % text.len();
        text.replace_range(at..(at + length).min(text.len()), &inserted);
        if let Err(errors) = Config::parse(&text, "damaged.toml") {
            prop_assert!(!errors.errors().is_empty());
            prop_assert!(errors.errors().is_sorted_by_key(|error| error.line));
            let lines = text.lines().count() + 1;
            prop_assert!(errors.errors().iter().all(|error| error.line <= lines && !error.reason.contains('\n')));
        }
    }
}

fn metrics_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let names = text.split(word).filter(|word| word.starts_with("gatepost_"));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

/// The commented file with what it leaves off: `#key = value` and `#[section]`, while prose begins with `# `.
fn with_all_on() -> String {
    let put_on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    read(&root().join("config/gatepost.toml")).lines().map(put_on).collect()
}

fn each_in(folder: &str, outcome: impl Fn(&str, &str) -> String) -> usize {
    let folder = root().join("tests/config").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let outcome = outcome(name, &read(path));
        let expected = path.with_extension("txt");
        if std::env::var_os("GATEPOST_BLESS").is_some() {
            fs::write(&expected, &outcome).unwrap();
        }
        assert_eq!(outcome, read(&expected), "{}", path.display());
    }
    paths.len()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
