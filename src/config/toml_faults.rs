//! Lines that are invalid TOML, in the words of somebody who does not know TOML. Each is taken out of the text, so that the
//! rest of the file is still checked.
//!
//! A line may be a password, or contain one. Its words are told only after the name of a key that there is and that is none of a secret.

use std::collections::BTreeSet;

use super::wording::{is_secret, may_be_told, shown, told};

/// The most lines that are taken out. A file with more faults is not a configuration.
const MOST: usize = 100;
/// The most bytes that are parsed for that.
const MOST_PARSED: usize = 4 << 20;

/// Quotation marks that are not those of TOML.
const OTHER_QUOTES: [char; 9] = ['“', '”', '„', '‘', '’', '‚', '«', '»', '`'];

/// The meaning of a word for true or false in other formats.
pub(super) fn flag_of(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "enabled" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "disabled" => Some(false),
        _ => None,
    }
}

/// A line that is invalid TOML.
#[derive(Debug)]
pub(super) struct TomlFault {
    /// The line, from 1.
    pub(super) line: usize,
    /// The whole key, such as `api.listen`; empty if the line has none.
    pub(super) key: String,
    /// The fault, and what would be right.
    pub(super) reason: String,
}

/// A text whose invalid lines were taken out.
pub(super) struct MendedText {
    /// The text; its lines have the same numbers as before.
    pub(super) text: String,
    /// The lines that were taken out.
    pub(super) faults: Vec<TomlFault>,
}

/// The names of keys and sections, without the sections that they belong to.
struct KnownNames<'a>(BTreeSet<&'a str>);

impl KnownNames<'_> {
    fn contains(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or_default();
        self.0.contains(last)
    }

    /// Returns true if the value of that key may be told.
    fn is_open(&self, name: &str) -> bool {
        self.contains(name) && !is_secret(name)
    }
}

/// Takes out one invalid line after the other. `known` are all keys. `first_fault` finds the offset and the message of the first fault in a text.
pub(super) fn mend(
    text: &str,
    known: &BTreeSet<String>,
    first_fault: impl Fn(&str) -> Option<(usize, String)>,
) -> MendedText {
    let known = KnownNames(known.iter().filter_map(|key| key.rsplit('.').next()).collect());
    let most = MOST.min(MOST_PARSED / text.len().max(1));
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut faults = Vec::new();
    while faults.len() < most {
        let text = lines.join("\n");
        let Some((offset, message)) = first_fault(&text) else { return MendedText { text, faults } };
        let at = text[..offset.min(text.len())].matches('\n').count();
        let Some(fault) = take_out(&mut lines, at, &message, &known) else {
            return MendedText { text, faults };
        };
        faults.push(fault);
    }
    MendedText { text: lines.join("\n"), faults }
}

/// Takes the fault at the line with that index out, if it is clear which lines belong to it.
fn take_out(lines: &mut [String], at: usize, message: &str, known: &KnownNames<'_>) -> Option<TomlFault> {
    let fault = |index: usize, name: &str, reason: String, lines: &[String]| TomlFault {
        line: index + 1,
        key: whole_key(lines, index, name),
        reason,
    };
    if let Some(start) = open_list(lines, at) {
        let (name, _) = assignment(&lines[start])?;
        let (name, line) = (name.to_owned(), lines[at].trim().to_owned());
        if assignment(&line).is_some() || line.starts_with('[') || line.is_empty() {
            let reason = "the list is not closed: its ] is missing".to_owned();
            let found = fault(start, &name, reason, lines);
            lines[start..at].iter_mut().for_each(String::clear);
            return Some(found);
        }
        let reason = element_reason(&line, message);
        let before = (start..at).rev().find(|index| !lines[*index].trim().is_empty())?;
        let lacks_comma = !lines[before].trim_end().ends_with([',', '[']) && !lines[before].contains('#');
        if message.contains("missing comma") && lacks_comma {
            let found = fault(
                before,
                &name,
                "the comma at the end is missing: another element follows".to_owned(),
                lines,
            );
            lines[before].push(',');
            return Some(found);
        }
        let found = fault(at, &name, reason, lines);
        lines[at].clear();
        return Some(found);
    }
    let line = lines.get(at)?.trim_start_matches('\u{feff}').trim().to_owned();
    if line.starts_with('[') {
        let name: String = line.chars().filter(|c| !matches!(c, '[' | ']')).collect();
        let name = name.split('#').next().unwrap_or_default().trim().to_owned();
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if !name.split('.').all(is_name) {
            return None;
        }
        let header = if line.starts_with("[[") { format!("[[{name}]]") } else { format!("[{name}]") };
        if header == line {
            return None;
        }
        lines[at].clone_from(&header);
        return Some(TomlFault {
            line: at + 1,
            key: String::new(),
            reason: format!("invalid section: write {header}"),
        });
    }
    if line.contains("\"\"\"") || line.contains("'''") {
        return None;
    }
    let found = match assignment(&line) {
        Some((name, _)) if !is_key(name) => fault(at, "", INVALID_KEY.to_owned(), lines),
        Some((name, value)) if !known.is_open(name) => fault(at, name, unsaid_reason(name, value), lines),
        Some((name, value)) => fault(at, name, value_reason(name, value, message), lines),
        None if line.is_empty() || line.starts_with('#') => return None,
        None => {
            let (name, reason) = key_reason(&line, known);
            fault(at, name, reason, lines)
        }
    };
    lines[at].clear();
    Some(found)
}

const INVALID_KEY: &str = "invalid key: a key consists of letters, digits, '-' and '_'";

/// The words for an invalid value that must not be told.
fn unsaid_reason(name: &str, value: &str) -> String {
    match value.chars().next() {
        None | Some('#' | '=') => format!("no value: write {name} = VALUE"),
        Some('"' | '\'' | '[' | '{') => {
            format!("invalid value: write {name} = \"VALUE\", with nothing behind it")
        }
        Some(_) => format!("a text needs quotes: write {name} = \"VALUE\""),
    }
}

/// The key of a line without a `=`, if it has one, and the words for it.
fn key_reason<'l>(line: &'l str, known: &KnownNames<'_>) -> (&'l str, String) {
    let value_of = |name: &str, value: &str| match known.is_open(name) && !value.is_empty() {
        true => quoted(value),
        false => "VALUE".to_owned(),
    };
    let is_known = |name: &str| is_key(name) && known.contains(name);
    if let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_known(name.trim())) {
        let (name, value) = (name.trim(), value_of(name.trim(), value.trim()));
        return (
            name,
            format!("a key and its value are separated by =, not by a colon: write {name} = {value}"),
        );
    }
    if is_known(line) {
        return (line, format!("no value: write {line} = VALUE"));
    }
    match line.split_once(char::is_whitespace).filter(|(name, _)| is_known(name)) {
        Some((name, value)) => (name, format!("missing =: write {name} = {}", value_of(name, value.trim()))),
        None => ("", "neither a section nor a key with its value".to_owned()),
    }
}

/// A value as it would be valid: a text without quotes gets them. `VALUE` if it has to be withheld.
fn quoted(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    match inner('"').or_else(|| inner('\'')) {
        Some(text) if may_be_told(text) => value.to_owned(),
        Some(_) => "VALUE".to_owned(),
        None if value.parse::<i64>().is_ok() || flag_of(value).is_some() => shown(value),
        None => requoted(value).unwrap_or_else(|| match value.starts_with(['"', '\'', '[', '{']) {
            true => "VALUE".to_owned(),
            false => format!("\"{}\"", told(value)),
        }),
    }
}

/// The words for an invalid value.
fn value_reason(name: &str, value: &str, message: &str) -> String {
    let bare = value.split('#').next().unwrap_or_default().trim();
    if bare.is_empty() {
        return format!("no value: write {name} = VALUE");
    }
    if let Some(flag) = flag_of(bare) {
        return format!("'{bare}' is neither true nor false: write {name} = {flag}, or quotes around a text");
    }
    let digits: String = bare.chars().filter(|c| !matches!(c, ',' | '.' | '_' | ' ' | '\'')).collect();
    if bare.starts_with(|c: char| c.is_ascii_digit())
        && bare.contains([',', '_', ' ', '\''])
        && is_number(&digits)
    {
        return format!("invalid number '{}': write {name} = {digits}", shown(bare));
    }
    if value.starts_with(OTHER_QUOTES) {
        let inner = value.trim_matches(|c| OTHER_QUOTES.contains(&c));
        return format!("quotation marks must be straight: write {name} = \"{}\"", told(inner));
    }
    match value.chars().next() {
        Some('"') if message.contains("escape") || has_escape(value) => {
            "a backslash in double quotes has a meaning of its own: write the text in single quotes, as in 'a\\b'".to_owned()
        }
        Some(quote @ ('"' | '\'')) => match value[1..].split_once(quote) {
            None => format!("the text is not closed: its {quote} at the end is missing"),
            Some(_) => "nothing may follow the text in quotes".to_owned(),
        },
        Some('[') => match requoted(value) {
            Some(list) => format!("each text in a list needs quotes: write {name} = {list}"),
            None => element_reason(value, message),
        },
        Some('{') => "invalid inline table: write { key = value, other = value }".to_owned(),
        Some('=') => format!("more than one =: write {name} = VALUE"),
        _ => format!("a text needs quotes: write {name} = \"{}\"", told(bare)),
    }
}

/// A list on one line with quotes around each element, if it has elements without quotes.
fn requoted(value: &str) -> Option<String> {
    let inner = value.strip_prefix('[')?.strip_suffix(']')?;
    let elements: Vec<&str> = inner.split(',').map(str::trim).filter(|element| !element.is_empty()).collect();
    let is_quoted = |element: &&str| {
        element.len() > 1
            && element.starts_with('"')
            && element.ends_with('"')
            && element.matches('"').count() == 2
    };
    let is_clear = elements.iter().all(|element| match is_quoted(element) {
        true => may_be_told(element.trim_matches('"')),
        false => may_be_told(element) && !element.contains(['[', ']']),
    });
    if !is_clear || elements.iter().all(is_quoted) || value.len() > 200 {
        return None;
    }
    let quoted: Vec<_> =
        elements.iter().map(|element| format!("\"{}\"", shown(element.trim_matches('"')))).collect();
    Some(format!("[{}]", quoted.join(", ")))
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The words for an invalid element of a list, or a list on one line.
fn element_reason(text: &str, message: &str) -> String {
    let quotes = text.matches('"').count();
    if text.contains(OTHER_QUOTES) {
        "quotation marks must be straight: \"".to_owned()
    } else if message.contains("missing comma") {
        "the elements of a list are separated by commas: one is missing".to_owned()
    } else if quotes % 2 == 1 {
        "a text is not closed: its \" at the end is missing".to_owned()
    } else if message.contains("extra comma") {
        "a comma without an element before it".to_owned()
    } else if message.contains("unclosed") {
        "the list is not closed: its ] is missing".to_owned()
    } else {
        "invalid list: each text in it needs quotes, as in [\"first\", \"second\"]".to_owned()
    }
}

/// The index of the line where the list begins that is still open before line `at`.
fn open_list(lines: &[String], at: usize) -> Option<usize> {
    let mut open: Option<(usize, usize)> = None;
    for (index, line) in lines.iter().enumerate().take(at) {
        let (start, depth) = match (open, assignment(line)) {
            (Some((start, depth)), _) => (start, depth_after(depth, line)),
            (None, Some((_, value))) => (index, depth_after(0, value)),
            (None, None) => continue,
        };
        open = (depth > 0).then_some((start, depth));
    }
    open.map(|(start, _)| start)
}

/// The number of lists that are open after a text, outside of quotes and comments.
fn depth_after(mut depth: usize, text: &str) -> usize {
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => break,
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    depth
}

/// The key and the value of a line.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', '[', '"', '\'']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    (!name.is_empty() && !name.contains(['"', '\'', ',', ':', '/'])).then_some((name, value.trim()))
}

/// The whole key, with the section that the line belongs to.
fn whole_key(lines: &[String], index: usize, name: &str) -> String {
    let header = lines[..index].iter().rev().find_map(|line| {
        let line = line.trim();
        line.starts_with('[').then(|| line.trim_matches(|c| matches!(c, '[' | ']')).to_owned())
    });
    match header {
        _ if name.is_empty() => String::new(),
        Some(section) => format!("{}.{}", shown(&section), shown(name)),
        None => shown(name),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A backslash before a character that has no meaning there.
fn has_escape(value: &str) -> bool {
    let mut rest = value;
    while let Some(at) = rest.find('\\') {
        let next = rest[at + 1..].chars().next();
        if !matches!(next, Some('b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\' | 'u' | 'U' | 'x')) {
            return true;
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}
