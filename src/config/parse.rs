//! Parsing of a configuration file into a checked [`Config`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::findings::Findings;
use super::listeners::Listeners;
use super::reader::ConfigTable;
use super::wording::shown;
use super::{
    AuthSettings, Config, ConfigError, ConfigErrors, HttpEntry, LogSettings, OpsSettings, ServerSettings,
    SmtpEntry, StoreSettings, TlsSettings,
};
use crate::domain::Entry;

/// A file with every section: parsing it asks for every key.
const EVERY_SECTION: &str = "store={}\nserver={}\nlog={}\ntls={}\nauth={}\nops={}\n\
    [smtp]\n[[smtp.listener]]\n[api]\n[[api.route]]\n[[api.group]]\n[web]\n[[web.route]]\n[[web.group]]\n";

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// As [`Config::parse`]. A file that cannot be read is one error without a line.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let file = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, &file),
            Err(e) => {
                let reason = format!("cannot be read: {e}");
                Err(ConfigErrors::new(&file, vec![ConfigError { line: 0, key: String::new(), reason }]))
            }
        }
    }

    /// Parses and checks the text of a file; `file` is its name in the errors.
    ///
    /// # Errors
    /// All errors, each with its line and key. If the text is invalid TOML, only the errors before that place.
    pub fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
        let findings = Findings::of(text);
        let (table, faults) = DeTable::parse_recoverable(text);
        let config = read(&findings, table.get_ref());
        note_faults(&findings, text, &faults);
        match config {
            Some(config) if findings.is_clean() => Ok(config),
            _ => Err(ConfigErrors::new(file, findings.into_errors())),
        }
    }

    /// Every section and key that [`Config::parse`] knows, such as `api.listen` and `api.route.path`.
    pub fn keys() -> BTreeSet<String> {
        let findings = Findings::of(EVERY_SECTION);
        if let Ok(table) = DeTable::parse(EVERY_SECTION) {
            read(&findings, table.get_ref());
        }
        findings.into_asked()
    }
}

/// Notes where the text is invalid TOML. After a duplicate key, the rest of the file is still checked. After any other
/// fault the parser can only guess, so only the first one is reported, with the errors before it.
fn note_faults(findings: &Findings, text: &str, faults: &[toml::de::Error]) {
    let offset = |fault: &toml::de::Error| fault.span().map_or(text.len(), |span| span.start);
    let is_twice = |fault: &&toml::de::Error| fault.message() == "duplicate key";
    let broken = faults.iter().filter(|fault| !is_twice(fault)).min_by_key(|fault| offset(fault));
    for fault in faults.iter().filter(is_twice) {
        let name = fault.span().and_then(|span| text.get(span)).unwrap_or_default();
        let reason = format!("invalid TOML: duplicate key '{}'", shown(name));
        findings.note_local(findings.line_of(offset(fault)), "", reason);
    }
    if let Some(fault) = broken {
        let line = findings.line_of(offset(fault));
        findings.keep_before(line);
        findings.note(line, "", format!("invalid TOML: {}", fault.message().replace('\n', ", ")));
    }
}

fn read(findings: &Findings, table: &DeTable<'_>) -> Option<Config> {
    let root = ConfigTable::root(findings, table);
    let listeners = &mut Listeners::default();
    let tls = root.section("tls");
    let has_tls = root.is_filled("tls");
    let store = root.section("store").map(StoreSettings::read);
    let server = root.section("server").map(ServerSettings::read);
    let log = root.section("log").map(LogSettings::read);
    let auth = root.section("auth").map(AuthSettings::read);
    let tls = tls.map(TlsSettings::read);
    let api = root.section("api").map(|table| HttpEntry::read(Entry::Api, table, has_tls, listeners));
    let web = root.section("web").map(|table| HttpEntry::read(Entry::Web, table, has_tls, listeners));
    let smtp = root.section("smtp").map(|table| SmtpEntry::read(table, has_tls, listeners));
    let ops = root.section("ops").map(|table| OpsSettings::read(table, listeners));
    root.finish();
    if findings.is_clean() && api.is_none() && web.is_none() && smtp.is_none() && ops.is_none() {
        findings.note(0, "", "no listener: at least one of [api], [web], [smtp] and [ops] is required");
    }
    Some(Config {
        store: store.unwrap_or_default(),
        server: server.unwrap_or_default(),
        log: log.unwrap_or_default(),
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        auth: auth.unwrap_or_default(),
        api,
        web,
        smtp,
        ops,
    })
}
