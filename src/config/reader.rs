//! A reader of TOML values that reports all errors of a file, not only the first.
//!
//! A reading function notes an error and continues with the default. What it returns is used only if no error was noted
//! at all.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::Findings;
use super::toml_faults::flag_of;
use super::wording::{is_secret, may_be_told, nearest, shown, told};
use super::{KeyLocation, NamedFile, quantity};

/// A table of the file. It records the keys that were read; all others are unknown.
pub(super) struct ConfigTable<'a> {
    findings: &'a Findings,
    name: String,
    line: usize,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> ConfigTable<'a> {
    pub(super) fn root(findings: &'a Findings, table: &'a DeTable<'a>) -> ConfigTable<'a> {
        ConfigTable::new(findings, String::new(), 0, table)
    }

    fn new(findings: &'a Findings, name: String, line: usize, table: &'a DeTable<'a>) -> ConfigTable<'a> {
        ConfigTable { findings, name, line, table, asked: RefCell::default() }
    }

    /// Returns the value of `key`, if there is one.
    pub(super) fn value(&self, key: &'static str) -> Option<ConfigValue<'a>> {
        let name = self.name_of(key);
        self.findings.note_asked(&name);
        self.asked.borrow_mut().push(key);
        let (at, value) = self.table.get_key_value(key)?;
        // The span of a table may be anywhere. Readers of the error look for its key.
        let span = if value.get_ref().is_table() { at.span() } else { value.span() };
        let line = self.findings.line_of(span.start);
        Some(ConfigValue { findings: self.findings, name, line, value, is_element: false })
    }

    /// Reads the value of `key` with `read`; `None` if it is absent or invalid.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&ConfigValue<'a>) -> Option<T>,
    ) -> Option<T> {
        self.value(key).and_then(|value| read(&value))
    }

    /// Reads the value of `key` with `read`; `default` if it is absent or invalid.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&ConfigValue<'a>) -> Option<T>,
    ) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// Reads the value of `key` with `read`. Its absence is an error.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&ConfigValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key);
        if value.is_none() {
            self.refuse(key, "required key is missing");
        }
        value.and_then(|value| read(&value))
    }

    /// Returns the section `[key]`, if there is one.
    pub(super) fn section(&self, key: &'static str) -> Option<ConfigTable<'a>> {
        let value = self.value(key)?;
        let table = value.value.get_ref().as_table();
        if table.is_none() {
            value.refuse(format!("expected a section: write [{}]", value.name));
        }
        Some(ConfigTable::new(self.findings, value.name, value.line, table?))
    }

    /// Returns the tables `[[name.key]]`, in order.
    pub(super) fn tables(&self, key: &'static str) -> Vec<ConfigTable<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let elements: Option<Vec<_>> = value.value.get_ref().as_array().and_then(|array| {
            array.iter().map(|element| Some((element.span(), element.get_ref().as_table()?))).collect()
        });
        let Some(elements) = elements else {
            value.refuse(format!("expected a list of sections: write [[{}]]", value.name));
            return Vec::new();
        };
        let open = |(span, table): (std::ops::Range<usize>, _)| {
            ConfigTable::new(self.findings, value.name.clone(), self.findings.line_of(span.start), table)
        };
        elements.into_iter().map(open).collect()
    }

    /// The line where the table begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Returns true if `key` is present and not an empty list.
    pub(super) fn is_filled(&self, key: &str) -> bool {
        let value = self.table.get(key).map(Spanned::get_ref);
        value.is_some_and(|value| value.as_array().is_none_or(|array| !array.is_empty()))
    }

    /// The place of `key`; if it is absent, the place where the table begins.
    pub(super) fn place(&self, key: &str) -> KeyLocation {
        let at = self.table.get_key_value(key).map(|(at, _)| self.findings.line_of(at.span().start));
        KeyLocation { line: at.unwrap_or(self.line), key: self.name_of(key) }
    }

    /// Notes an error about `key` at its place.
    pub(super) fn refuse(&self, key: &str, reason: impl Into<String>) {
        let place = self.place(key);
        self.findings.note(place.line, &place.key, reason);
    }

    /// Notes an error for every key that was not asked for. Called last.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let section =
                self.name.is_empty() && matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
            let kind = if section { "section" } else { "key" };
            let hint = match nearest(name, asked.iter().copied()) {
                // What has several addresses in a section has one in a table of a list.
                None if name == "listen" && asked.contains(&"address") => ", did you mean 'address'?".into(),
                Some(near) if section => format!(", did you mean [{near}]?"),
                Some(near) => format!(", did you mean '{near}'?"),
                None => elsewhere(self.findings.known(), name).unwrap_or_default(),
            };
            let line = self.findings.line_of(key.span().start);
            self.findings.note_local(line, &self.name_of(&shown(name)), format!("unknown {kind}{hint}"));
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// The hint for a key or section that exists in other sections.
fn elsewhere(known: &BTreeSet<String>, name: &str) -> Option<String> {
    let parts = || known.iter().filter_map(|key| key.rsplit_once('.'));
    let meant = match parts().any(|(_, last)| last == name) {
        true => name,
        false => nearest(name, parts().map(|(_, last)| last))?,
    };
    let (mut lists, mut sections) = (Vec::new(), Vec::new());
    for (section, last) in parts().filter(|(_, last)| *last == meant) {
        let whole = format!("{section}.{last}");
        match known.iter().any(|key| key.strip_prefix(&whole).is_some_and(|rest| rest.starts_with('.'))) {
            true => lists.push(format!("[[{whole}]]")),
            false => sections.push(if section.contains('.') {
                format!("[[{section}]]")
            } else {
                format!("[{section}]")
            }),
        }
    }
    match (lists.is_empty(), meant == name) {
        (false, _) => Some(format!(", did you mean {}?", lists.join(" or "))),
        (true, true) => Some(format!(": it belongs in {}", sections.join(" or "))),
        (true, false) => None,
    }
}

/// A value of the file, with its place.
pub(super) struct ConfigValue<'a> {
    findings: &'a Findings,
    name: String,
    line: usize,
    value: &'a Spanned<DeValue<'a>>,
    /// True if it is an element of a list.
    is_element: bool,
}

impl<'a> ConfigValue<'a> {
    /// The whole key, such as `api.listen`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The line, from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Notes an error about this value.
    pub(super) fn refuse(&self, reason: impl Into<String>) {
        self.findings.note_local(self.line, &self.name, reason);
    }

    /// Reads a string.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => self.mismatch("a string in quotes"),
        }
    }

    /// Reads a string with `parse`, whose error becomes the reason.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        let text = self.text()?;
        self.keep(parse(text).map_err(|reason| {
            match text.contains("${") && !reason.contains("not expanded") {
                true => format!("{reason} (variables such as ${{NAME}} are not expanded: write their value)"),
                false => reason,
            }
        }))
    }

    /// Reads a path in the file system.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.parsed(|text| match text {
            "" => Err("the path is empty".to_owned()),
            _ if text.contains('\0') => Err("the path contains a NUL".to_owned()),
            _ if text.contains("${") => Err(format!("invalid path '{}'", self.shown(text))),
            _ if text.starts_with(['~', '$']) => Err(format!(
                "invalid path '{}': ~ and variables are not expanded, write the whole path",
                self.shown(text)
            )),
            _ => Ok(text.into()),
        })
    }

    /// The text for an error, unless it may be a secret.
    fn shown(&self, text: &str) -> String {
        if is_secret(&self.name) { "…".to_owned() } else { shown(text) }
    }

    /// Reads the name of a file, with its place.
    pub(super) fn file(&self) -> Option<NamedFile> {
        let place = KeyLocation { line: self.line, key: self.name.clone() };
        self.path().map(|path| NamedFile { path, place })
    }

    /// Reads one of `words`.
    pub(super) fn word<T: Copy>(&self, words: &[T], spell: fn(T) -> &'static str) -> Option<T> {
        self.parsed(|text| {
            let found = words.iter().copied().find(|word| spell(*word) == text);
            found.ok_or_else(|| {
                let all: Vec<_> = words.iter().map(|word| spell(*word)).collect();
                let lower = text.to_ascii_lowercase();
                let meant = all.iter().find(|word| **word == lower).copied();
                let meant = meant.or_else(|| nearest(&lower, all.iter().copied()));
                let hint = meant.map(|word| format!(", did you mean '{word}'?")).unwrap_or_default();
                match hint.is_empty() {
                    true => format!("unknown value '{}': expected one of {}", told(text), all.join(", ")),
                    false => {
                        format!("unknown value '{}'{hint} Expected one of {}", told(text), all.join(", "))
                    }
                }
            })
        })
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.mismatch("true or false"),
        }
    }

    /// Reads a whole number within bounds.
    pub(super) fn number<T>(&self, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return self.mismatch("a whole number");
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|n| T::try_from(n).ok()).filter(|n| bounds.contains(n));
        let (least, most) = (bounds.start(), bounds.end());
        self.keep(number.ok_or_else(|| format!("{integer} is out of range: expected {least} to {most}")))
    }

    /// Reads a duration with its unit, within bounds.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        if let Some(number) = self.bare_number() {
            return self.keep(Err(quantity::duration_without_unit(&number)));
        }
        self.parsed(|text| bounded(text, quantity::duration(text)?, &bounds, quantity::show_duration))
    }

    /// Reads a size in bytes with its unit, within bounds.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        if let Some(number) = self.bare_number() {
            return self.keep(Err(quantity::size_without_unit(&number)));
        }
        self.parsed(|text| bounded(text, quantity::size(text)?, &bounds, quantity::show_size))
    }

    /// Reads a list, each element with `read`. Invalid elements are left out.
    pub(super) fn list<T>(&self, mut read: impl FnMut(&ConfigValue<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Some(array) = self.value.get_ref().as_array() else {
            return self.mismatch("a list in brackets");
        };
        let element = |value: &'a Spanned<DeValue<'a>>| {
            let line = self.findings.line_of(value.span().start);
            let name = self.name.clone();
            read(&ConfigValue { findings: self.findings, name, line, value, is_element: true })
        };
        Some(array.iter().filter_map(element).collect())
    }

    /// Reads a list as [`ConfigValue::list`] does. An empty list is an error.
    pub(super) fn filled_list<T>(&self, read: impl FnMut(&ConfigValue<'a>) -> Option<T>) -> Option<Vec<T>> {
        if self.value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            return self.keep(Err("the list is empty".to_owned()));
        }
        self.list(read)
    }

    /// Reads an element of a list whose elements differ: those before it are in `seen`.
    pub(super) fn distinct<T: Clone + PartialEq + Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
        seen: &mut Vec<T>,
    ) -> Option<T> {
        let element = self.parsed(parse)?;
        if seen.contains(&element) {
            self.refuse(format!("'{element}' is listed twice"));
        }
        seen.push(element.clone());
        Some(element)
    }

    fn bare_number(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn mismatch<T>(&self, wanted: &str) -> Option<T> {
        let got = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        let key = self.name.rsplit('.').next().unwrap_or_default();
        let hint = self.rewritten(wanted).map(|value| match self.is_element {
            true => format!(": write {value}"),
            false => format!(": write {key} = {value}"),
        });
        self.keep(Err(format!("expected {wanted}, found {got}{}", hint.unwrap_or_default())))
    }

    /// The value as it would be of the wanted type, if that is clear.
    fn rewritten(&self, wanted: &str) -> Option<String> {
        let value = self.value.get_ref();
        if is_secret(&self.name) {
            return None;
        }
        match (wanted, value) {
            ("a string in quotes", DeValue::Integer(number)) => Some(format!("\"{number}\"")),
            ("a whole number", DeValue::String(text)) if text.parse::<u64>().is_ok() => {
                Some(text.to_string())
            }
            ("true or false", DeValue::String(text)) => flag_of(text).map(|flag| flag.to_string()),
            ("true or false", DeValue::Integer(number)) => match number.as_str() {
                "0" => Some("false".to_owned()),
                "1" => Some("true".to_owned()),
                _ => None,
            },
            ("a list in brackets", DeValue::String(text)) if may_be_told(text) => {
                Some(format!("[\"{}\"]", shown(text)))
            }
            _ => None,
        }
    }

    fn keep<T>(&self, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.refuse(reason)).ok()
    }
}

fn bounded<T: PartialOrd + Copy>(
    text: &str,
    amount: T,
    bounds: &RangeInclusive<T>,
    show: fn(T) -> String,
) -> Result<T, String> {
    if bounds.contains(&amount) {
        return Ok(amount);
    }
    let (least, most) = (show(*bounds.start()), show(*bounds.end()));
    Err(format!("{} is out of range: expected {least} to {most}", shown(text)))
}
