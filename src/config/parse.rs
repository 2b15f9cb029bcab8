//! Parsing of a configuration file into a checked [`Config`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use toml::de::DeTable;

use super::findings::Findings;
use super::listeners::Listeners;
use super::reader::ConfigTable;
use super::toml_faults::{self, MendedText, TomlFault};
use super::wording::shown;
use super::{
    AuthSettings, Config, ConfigError, ConfigErrors, ConsoleEntry, HttpEntry, KeyLocation, LogSettings,
    OpsSettings, ServerSettings, SmtpEntry, StoreSettings, TlsFiles,
};
use crate::domain::Entry;

/// A file with every section: parsing it asks for every key.
const EVERY_SECTION: &str = "store={}\nserver={}\nlog={}\ntls={}\nauth={}\nops={}\n\
    [smtp]\n[[smtp.listener]]\n[api]\n[[api.route]]\n[[api.group]]\n[web]\n[[web.route]]\n[[web.group]]\n\
    [console]\n";

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
    /// All errors, each with its line and key. After invalid TOML whose end is unclear, only the errors before that place.
    pub fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
        let examined = Config::examine(text);
        match examined.errors.is_empty() {
            true => Ok(examined.config),
            false => Err(ConfigErrors::new(file, examined.errors)),
        }
    }

    /// Parses the text of a file as far as possible, so that the files that it names can be checked while it has errors.
    pub fn examine(text: &str) -> ExaminedConfig {
        static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(Config::keys);
        let Understood { value, broken_at, errors } = understand(text, &KNOWN, read);
        let (config, tls) = value;
        ExaminedConfig { config, tls, broken_at, errors }
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

/// The text of a file, as far as it was understood.
#[derive(Debug)]
pub struct ExaminedConfig {
    /// The configuration. Keys with errors have their defaults.
    pub config: Config,
    /// The files of `[tls]`, also if only one of them is named.
    pub tls: TlsFiles,
    /// The line from which on the text is invalid TOML, and the configuration is a guess.
    pub broken_at: Option<usize>,
    /// All errors.
    pub errors: Vec<ConfigError>,
}

impl ExaminedConfig {
    /// Returns true if the value of the key at that place was understood.
    pub fn is_known(&self, place: &KeyLocation) -> bool {
        let is_broken = self.broken_at.is_some_and(|line| place.line == 0 || place.line >= line);
        !is_broken && self.errors.iter().all(|error| error.key != place.key)
    }
}

/// A file, as far as it was understood.
pub(super) struct Understood<T> {
    /// The value that was read. Keys with errors have their defaults.
    pub(super) value: T,
    /// The line from which on the text is invalid TOML, and what was read is a guess.
    pub(super) broken_at: Option<usize>,
    /// All errors.
    pub(super) errors: Vec<ConfigError>,
}

/// Reads the text of a file with `read` as far as possible. `known` are all keys of such a file.
pub(super) fn understand<T>(
    text: &str,
    known: &'static BTreeSet<String>,
    read: impl FnOnce(&Findings, &DeTable<'_>) -> T,
) -> Understood<T> {
    let MendedText { text, faults: taken_out } = toml_faults::mend(text, known, first_fault);
    let findings = Findings::of(&text).with_known(known);
    for TomlFault { line, key, reason } in &taken_out {
        findings.note_local(*line, key, reason);
    }
    let (table, faults) = DeTable::parse_recoverable(&text);
    let value = read(&findings, table.get_ref());
    for TomlFault { key, .. } in &taken_out {
        // A key that was taken out is not missing.
        findings.drop_conclusions(key);
    }
    let broken_at = note_faults(&findings, &text, &faults);
    Understood { value, broken_at, errors: findings.into_errors() }
}

/// The offset and the message of the first fault in a text that is more than a duplicate key.
fn first_fault(text: &str) -> Option<(usize, String)> {
    let (_, faults) = DeTable::parse_recoverable(text);
    let others = faults.iter().filter(|fault| !is_duplicate(fault));
    let places = others.map(|fault| (offset_of(fault, text), fault.message().to_owned()));
    places.min_by_key(|(offset, _)| *offset)
}

fn is_duplicate(fault: &toml::de::Error) -> bool {
    fault.message() == "duplicate key"
}

fn offset_of(fault: &toml::de::Error, text: &str) -> usize {
    fault.span().map_or(text.len(), |span| span.start)
}

/// Notes where the text is invalid TOML. Returns the line from which on it can only be guessed. After a duplicate key, the rest of
/// the file is still checked. After any other fault that could not be taken out, the parser can only guess, so only the first one
/// is reported, with the errors before it.
fn note_faults(findings: &Findings, text: &str, faults: &[toml::de::Error]) -> Option<usize> {
    for fault in faults.iter().filter(|fault| is_duplicate(fault)) {
        let name = fault.span().and_then(|span| text.get(span)).unwrap_or_default();
        let line = findings.line_of(offset_of(fault, text));
        let first = first_line_of(text, line, name).map(|line| format!(": first on line {line}"));
        let reason = format!("duplicate key '{}'{}", shown(name), first.unwrap_or_default());
        findings.note_local(line, "", reason);
    }
    let others = faults.iter().filter(|fault| !is_duplicate(fault));
    let fault = others.min_by_key(|fault| offset_of(fault, text))?;
    let line = findings.line_of(offset_of(fault, text));
    findings.keep_before(line);
    findings.note(line, "", format!("invalid TOML: {}", fault.message().replace('\n', ", ")));
    Some(line)
}

/// The line of the first `name = …` in the section of a line, or of the first `[name]` in the file.
fn first_line_of(text: &str, line: usize, name: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let before = &lines[..line.saturating_sub(1).min(lines.len())];
    let is_header = |line: &str| line.starts_with('[');
    if lines.get(line - 1).is_some_and(|line| is_header(line)) {
        let header = lines[line - 1];
        return before.iter().position(|line| *line == header).map(|index| index + 1);
    }
    let start = before.iter().rposition(|line| is_header(line)).map_or(0, |index| index + 1);
    let is_it = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
    before[start..].iter().position(is_it).map(|index| start + index + 1)
}

fn read(findings: &Findings, table: &DeTable<'_>) -> (Config, TlsFiles) {
    let root = ConfigTable::root(findings, table);
    let listeners = &mut Listeners::default();
    let tls = root.section("tls");
    let has_tls = root.is_filled("tls");
    let store = root.section("store");
    let store_place = match &store {
        Some(table) => table.place("url"),
        None => KeyLocation { line: 0, key: "store.url".to_owned() },
    };
    let store = store.map(StoreSettings::read);
    let server = root.section("server").map(ServerSettings::read);
    let log = root.section("log").map(LogSettings::read);
    let auth = root.section("auth").map(AuthSettings::read);
    let tls = tls.map(TlsFiles::read).unwrap_or_default();
    let api = root.section("api").map(|table| HttpEntry::read(Entry::Api, table, has_tls, listeners));
    let web = root.section("web").map(|table| HttpEntry::read(Entry::Web, table, has_tls, listeners));
    let console = root.section("console").map(|table| ConsoleEntry::read(table, has_tls, listeners));
    let smtp = root.section("smtp").map(|table| SmtpEntry::read(table, has_tls, listeners));
    let ops = root.section("ops").map(|table| OpsSettings::read(table, listeners));
    root.finish();
    let is_empty = api.is_none() && web.is_none() && console.is_none() && smtp.is_none() && ops.is_none();
    if findings.is_clean() && is_empty {
        findings.note(
            0,
            "",
            "no listener: at least one of [api], [web], [console], [smtp] and [ops] is required",
        );
    }
    let config = Config {
        store: store.unwrap_or_default(),
        server: server.unwrap_or_default(),
        log: log.unwrap_or_default(),
        store_place,
        tls: tls.both(),
        auth: auth.unwrap_or_default(),
        api,
        web,
        console,
        smtp,
        ops,
    };
    (config, tls)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_told() {
        let secret = "hunter2pass";
        for line in [
            "upstream_password = hunter2pass",
            "upstream_password_file = hunter2pass",
            "upstream_password \"hunter2pass\"",
            "upstream_password hunter2pass and more",
            "upstream_password: hunter2pass",
            "smtp.Upstream_Password: 'hunter2pass'",
            "upstream_password = \"hun\"hunter2pass\"",
            "upstream_password = “hunter2pass”",
            "upstream_password = [hunter2pass]",
            "upstream_password = 1_hunter2pass",
            "upstream_pasword = hunter2pass",
            "upstream_pw: hunter2pass",
            "secret hunter2pass",
            "hunter2pass",
            "hunter2pass:",
            "hunter2pass: more",
            "hunter2pass \"more\"",
            "hunter2pass and more = 3",
            "more hunter2pass",
            "upstream_password = \"\"\"hunter2pass\"",
            "upstream_password = {hunter2pass}",
            "upstream_password_file = \"~hunter2pass\"",
            "upstream_password_file = \"${hunter2pass}\"",
            "upstreams = [\n  hunter2pass",
            "upstream_user = \"gate\", upstream_password = \"hunter2pass\"",
            "upstream_user = \"g\"; upstream_password = \"hunter2pass\"",
            "upstream_user = 'g' hunter2pass",
            "upstream_user = \"g\" # x\nhostname = \"g\" upstream_password = \"hunter2pass\"",
            "upstream_user = gatepost, upstream_password = hunter2pass",
            "upstream_user = gatepost hunter2pass",
            "upstream_user = gatepost:hunter2pass",
            "upstream_user gp:hunter2pass",
            "upstream_user gp hunter2pass",
            "upstream_user: gp / hunter2pass",
            "upstream_user: \"gp\" \"hunter2pass\"",
            "upstream_user: {user = gp, password = hunter2pass}",
            "upstream_user = “gp” hunter2pass",
            "upstreams = [\"smtp://user:hunter2pass\"]",
            "upstreams = [\"http://user:hunter2pass\"]",
            "upstreams = \"smtp://user:hunter2pass\"",
            "upstreams = smtp://user:hunter2pass",
            "upstreams: smtp://user:hunter2pass",
            "upstreams: [smtp://user:hunter2pass]",
            "upstreams = [smtp://user:hunter2pass, http://x:1]",
            "upstreams = [\"user:hunter2pass:host\"]",
            "upstreams = [\"smtp://h/?password=hunter2pass\"]",
            "tls_listen = [\"user:hunter2pass\", \"user:hunter2pass@1.2.3.4:25\", \":hunter2pass\"]",
            "trusted_proxies = [\"user:hunter2pass\"]",
            "upstream_server_name = \"user:hunter2pass\"",
            "host = \"user:hunter2pass\"",
            "bare_newline = \"user:hunter2pass\"",
            "cors_origins = [\"https://user:hunter2pass\"]",
        ] {
            for section in ["smtp", "api", "none"] {
                let text = format!("[{section}]\n{line}\nlisten = 3\n");
                let errors = Config::parse(&text, "any.toml").unwrap_err().to_string();
                assert!(!errors.contains(secret) && errors.contains("any.toml:"), "{line}: {errors}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_each_error_has_its_line(text in "[\\[\\]\"'=\n#,{}.:@\\\\“a-c0-3 -]{0,120}") {
            let errors = Config::parse(&text, "any.toml").unwrap_err();
            let lines = text.split('\n').count();
            prop_assert!(errors.errors().iter().all(|error| error.line <= lines && !error.reason.contains('\n')));
        }
    }
}
