//! The documentation compared with the code: configurations that can be pasted, every refusal, every metric, every
//! dependency, links and files that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::tls::Authority;
use crate::common::{Gateway, configured};
use gatepost::config::Config;
use gatepost::domain::{Denial, Permission, RefusalReason};
use gatepost::state::{Epochs, Metrics};

const TLS_OF_DIRECTORY: &str = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
const TLS: &str = "[tls]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n";

#[test]
fn the_readme_shows_the_production_file() {
    let production = read("config/production.toml");
    assert!(
        blocks(&read("README.md"), "toml").contains(&production),
        "README.md doesn't show config/production.toml as it is"
    );
}

#[test]
fn configurations_that_are_shown_are_accepted() {
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&read(&page), "toml") {
            // A part of a file is shown "with [tls] as above".
            let text = if block.contains("[tls]") { block } else { format!("{block}\n{TLS}") };
            if let Err(errors) = Config::parse(&text, &page) {
                panic!("{errors}\nin\n{text}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen} were seen: is the test blind?");
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&page),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            assert!(root().join(&target).exists(), "{page}: {link}");
            let known = || anchors(&read(target.to_str().unwrap()));
            assert!(anchor.is_empty() || known().contains(anchor), "{page}: {link}");
        }
    }
}

#[test]
fn files_that_are_named_exist() {
    let mut seen = 0;
    for page in pages() {
        for line in prose(&read(&page)) {
            for name in line.split('`').skip(1).step_by(2) {
                let exists = match (is_path(name), file_of_module(name)) {
                    (true, _) => root().join(name).exists() || root().join("src").join(name).exists(),
                    (false, Some(file)) => ["{}.rs", "{}/mod.rs"]
                        .iter()
                        .any(|form| root().join(form.replace("{}", &file)).exists()),
                    (false, None) => continue,
                };
                assert!(exists, "{page}: {name} doesn't exist");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} were seen: is the test blind?");
}

#[test]
fn walks_lead_through_functions_that_exist() {
    let text = read("docs/architecture.md");
    let mut walks = text.split("| part | file | function | what it does |\n").peekable();
    let mut seen = 0;
    while let Some(before) = walks.next() {
        let Some(table) = walks.peek() else { break };
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let steps: Vec<(&str, &str)> = rows
            .map(|row| {
                let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
                (cells[2], cells[3])
            })
            .collect();
        for (file, function) in &steps {
            let found = ["(", "<"].iter().any(|next| read(file).contains(&format!("fn {function}{next}")));
            assert!(found, "docs/architecture.md: {file} has no function {function}");
        }
        let files: BTreeSet<_> = steps.iter().map(|(file, _)| file).collect();
        let hops = steps.windows(2).filter(|steps| steps[0].0 != steps[1].0).count();
        let count = format!("**{} files and {hops} hops**", files.len());
        let told = before.rsplit("\n### ").next().unwrap();
        assert!(told.contains(&count), "docs/architecture.md doesn't say {count}");
        seen += 1;
    }
    assert_eq!(seen, 2, "is the test blind?");
}

#[test]
fn every_refusal_over_smtp_has_a_row() {
    let rows = rows_of("docs/operations.md", "### Over SMTP");
    let replies = replies(&read("src/wire/smtp/replies.rs"));
    let refusals: BTreeSet<_> = replies.into_iter().filter(|reply| reply.as_str() >= "400").collect();
    assert!(refusals.len() > 20, "{refusals:?}");
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| row[0].split(", ").map(str::to_owned)).collect();
    assert_eq!(documented, refusals, "docs/operations.md, and src/wire/smtp/replies.rs");
}

// Case E6: each reason that the log can have leads to what to do, and no other is listed.
#[test]
fn every_reason_in_the_log_has_a_row() {
    let listed = |section: &str| -> BTreeSet<String> {
        let rows = rows_of("docs/refusals.md", section);
        rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
    };
    let denials = [
        Denial::Unknown,
        Denial::Wrong,
        Denial::Suspended,
        Denial::Lacks(Permission::Api),
        Denial::Throttled(Duration::ZERO),
    ];
    let words = denials.into_iter().map(Denial::as_str).chain(RefusalReason::ALL.map(RefusalReason::as_str));
    let words: BTreeSet<_> = words.map(str::to_owned).collect();
    let documented =
        &listed("### Denials of credentials") | &listed("### Requests, connections and backends");
    assert_eq!(documented, words, "docs/refusals.md, and src/domain/refusal_reason.rs");
    let source = read("src/wire/smtp/replies.rs");
    let refusals = source.split("Reply::new(").skip(1).filter(|reply| reply.trim_start() >= "400");
    // Those about addresses have their texts in another file.
    let refusals = refusals.filter(|reply| !reply.lines().next().unwrap().ends_with("text)"));
    let mut texts: BTreeSet<_> = refusals.map(|reply| reply.split('"').nth(1).unwrap().to_owned()).collect();
    let addresses = read("src/wire/smtp/path.rs");
    let addresses = addresses.split("=> \"").skip(1).map(|text| text.split('"').next().unwrap());
    let of_an_address = |text: &&str| text.starts_with("Syntax") || text.starts_with("Invalid address");
    texts.extend(addresses.filter(of_an_address).map(str::to_owned));
    assert!(texts.len() > 30, "{texts:?}");
    let documented = listed("### Texts of SMTP replies");
    assert_eq!(documented, texts, "docs/refusals.md, and src/wire/smtp/replies.rs");
}

#[test]
fn every_refusal_over_http_has_a_row() {
    let rows = rows_of("docs/operations.md", "## Refusals");
    let documented: BTreeSet<_> = rows.iter().map(|row| row[0].clone()).collect();
    let table = read("src/edge/http/error.rs");
    let status = table.split("fn status(").nth(1).unwrap().split("fn ").next().unwrap();
    let statuses = status.lines().filter_map(|line| line.trim().strip_suffix(',')?.rsplit(" => ").next());
    // No client gets that one.
    let statuses: BTreeSet<_> =
        statuses.filter(|status| *status != "CLIENT_GONE").map(str::to_owned).collect();
    assert!(statuses.len() > 12, "{statuses:?}");
    assert_eq!(documented, statuses, "docs/operations.md, and src/edge/http/error.rs");
    let api = read("docs/api.md");
    let missing: Vec<_> = statuses.iter().filter(|status| !api.contains(&format!("| {status} |"))).collect();
    assert!(missing.is_empty(), "docs/api.md has no row for {missing:?}");
}

#[test]
fn every_metric_has_a_row_with_its_labels() {
    let rows = rows_of("docs/operations.md", "## Metrics");
    let documented: BTreeMap<String, (BTreeSet<String>, String)> = rows
        .into_iter()
        .map(|row| {
            let name = row[0].trim_matches('`');
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty());
            (name.to_owned(), (labels.map(str::to_owned).collect(), row[2].clone()))
        })
        .collect();
    let named = names_in_sources();
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), named);
    let mut seen = BTreeSet::new();
    for line in exposed().lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| {
            name.strip_suffix(end).filter(|name| documented.contains_key(*name)).unwrap_or(name)
        });
        let (known, meaning) = &documented[name];
        let mut found = BTreeSet::new();
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.trim_end_matches('"').split_once("=\"").unwrap();
            if label == "le" {
                continue;
            }
            found.insert(label.to_owned());
            // Numbers aren't listed, and what an entry is has a line of its own.
            let listed = meaning.contains(&format!("`{value}`"));
            assert!(
                listed || matches!(label, "status" | "version" | "entry" | "group" | "backend"),
                "docs/operations.md, {name}: {label} may be {value}"
            );
        }
        assert_eq!(&found, known, "docs/operations.md, labels of {name}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen, named, "a metric of the sources was never shown");
}

#[test]
fn every_dependency_has_a_row() {
    let text = read("docs/dependencies.md");
    let normal: BTreeSet<_> = crates_in(&text, "## In the gateway");
    let tests: BTreeSet<_> = crates_in(&text, "## In tests and benchmarks");
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let named = |section: &str| -> BTreeSet<String> {
        manifest[section].as_table().unwrap().keys().cloned().collect()
    };
    assert_eq!(normal, named("dependencies"));
    assert_eq!(tests, named("dev-dependencies"));
    let both: Vec<_> = normal.intersection(&tests).collect();
    assert!(both.is_empty(), "{both:?} twice");
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let version = manifest["package"]["rust-version"].as_str().unwrap();
    for page in ["README.md", "CONTRIBUTING.md"] {
        assert!(
            read(page).contains(&format!("Rust {version} or newer")),
            "{page} doesn't say Rust {version}"
        );
    }
}

/// The metrics that a gateway with all entries shows from its start, and those of a node on PostgreSQL.
fn exposed() -> String {
    let of_a_node = Metrics::new();
    of_a_node.show_trust(&Arc::new(Epochs::without_trust()));
    let backend = Backend::hello();
    let address = backend.address;
    let directory = configured(&format!(
        "{TLS_OF_DIRECTORY}\
         [api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{address}\"]\n\
         [web]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{address}\"]\n\
         [smtp]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"smtp://{address}\"]\n\
         [ops]\nlisten = \"127.0.0.1:0\"\n"
    ));
    Authority::new().issue("gate.test").write(directory.path());
    let gateway = Gateway::start_in(directory);
    get("/metrics").send(gateway.address("ops.listen")).text() + &of_a_node.encode()
}

/// The codes of all replies, as in `550 5.7.1`.
fn replies(source: &str) -> Vec<String> {
    let after = source.split("Reply::new(").skip(1);
    let number = |text: &str| text.trim().trim_end_matches(')').to_owned();
    after
        .map(|text| {
            let mut parts = text.split(',');
            let code = number(parts.next().unwrap());
            let enhanced: Vec<_> = parts
                .take(3)
                .map(|part| number(part.trim().trim_start_matches("EnhancedStatusCode(")))
                .collect();
            format!("{code} {}", enhanced.join("."))
        })
        .collect()
}

/// The names of metrics that stand in the sources.
fn names_in_sources() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files_below("src") {
        let text = read(&file);
        let is_metric = |text: &&str| text.starts_with("gatepost_") || text.starts_with("process_");
        let quoted = text.split('"').filter(is_metric);
        let name =
            |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !text.ends_with('_');
        names.extend(quoted.filter(name).map(str::to_owned));
    }
    names
}

/// All files in a folder and those below it; or the file itself.
pub fn files_below(name: &str) -> Vec<String> {
    let path = root().join(name);
    if path.is_file() {
        return vec![name.to_owned()];
    }
    let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let names = entries.map(|entry| format!("{name}/{}", entry.unwrap().file_name().into_string().unwrap()));
    let mut files: Vec<_> = names.flat_map(|name| files_below(&name)).collect();
    files.sort();
    files
}

/// The lines outside of fenced blocks.
pub fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    })
}

/// The file of a module such as `edge::http::error`, without its ending; `None` for any other text.
fn file_of_module(name: &str) -> Option<String> {
    let layers = ["cli", "config", "domain", "edge", "server", "service", "state", "wire"];
    let (layer, rest) = name.split_once("::")?;
    let is_module =
        |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let all = layers.contains(&layer) && rest.split("::").all(is_module);
    all.then(|| format!("src/{}", name.replace("::", "/")))
}

/// Returns true for the path of a file or folder of the project, from its root or from `src`, without wildcards and parameters.
fn is_path(name: &str) -> bool {
    let folders = ["src/", "tests/", "benches/", "fuzz/", "config/", "docs/", ".ci/", ".github/"];
    let layers = ["domain/", "wire/", "state/", "service/", "edge/", "server/", "cli/"];
    folders.iter().chain(&layers).any(|folder| name.starts_with(folder))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b))
}

/// The first table under a heading: its rows' cells.
fn rows_of(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let section = text.split(&format!("{heading}\n")).nth(1).unwrap_or_else(|| panic!("{page}: {heading}"));
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

fn crates_in(page: &str, heading: &str) -> BTreeSet<String> {
    let section = page.split(&format!("{heading}\n")).nth(1).unwrap_or_else(|| panic!("{heading}"));
    let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| "));
    let first = rows.skip(2).filter_map(|row| row.trim_matches('|').split('|').next().map(str::trim));
    first.flat_map(|cell| cell.split(", ")).map(str::to_owned).collect()
}

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// What headings can be linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

pub fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    names
        .filter(|name| name.ends_with(".md"))
        .chain(
            ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "fuzz/README.md"]
                .map(str::to_owned),
        )
        .collect()
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
