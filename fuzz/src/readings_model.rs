//! What servers read in a path, the slow way: each function is written from its description alone, and all are combined.

use std::collections::BTreeMap;

/// The paths that one function makes of a path.
type Made = Vec<Vec<u8>>;

/// A function.
pub struct Function {
    kind: Kind,
    extension: Extension,
    apply: fn(&[u8]) -> Made,
}

/// What a function changes.
#[derive(PartialEq)]
enum Kind {
    /// Which path it is.
    Structural,
    /// The same, by a script in the path, which may be what answers.
    Script,
    /// Only its end or case.
    Loose,
}

/// What a function does to the extension of a path.
#[derive(PartialEq)]
enum Extension {
    Kept,
    Dropped,
    Added,
}

const fn structural(apply: fn(&[u8]) -> Made) -> Function {
    Function { kind: Kind::Structural, extension: Extension::Kept, apply }
}

const fn loose(extension: Extension, apply: fn(&[u8]) -> Made) -> Function {
    Function { kind: Kind::Loose, extension, apply }
}

/// All functions.
pub const FUNCTIONS: [Function; 32] = [
    structural(|path| vec![percent_decoded(path)]),
    structural(|path| vec![percent_decoded(&percent_decoded(path))]),
    structural(|path| vec![percent_decoded(&percent_decoded(&percent_decoded(path)))]),
    structural(wide),
    structural(|path| vec![latin(&text(path).replace('\\', "/"))]),
    structural(|path| vec![merged(path)]),
    structural(|path| vec![first_merged(path)]),
    structural(|path| vec![resolved(path, false)]),
    structural(|path| vec![resolved(path, true)]),
    structural(|path| vec![segments(path, |segment| segment.split(';').next().unwrap_or("").to_owned())]),
    structural(|path| vec![before(path, ';')]),
    structural(|path| vec![before(path, '?')]),
    structural(|path| vec![before(path, '#')]),
    structural(|path| vec![before(path, '&')]),
    structural(|path| vec![before(path, '\0')]),
    structural(|path| vec![latin(&format!("/{}", text(path)[1..].trim_matches(|c| c <= ' ')))]),
    structural(|path| vec![path.strip_suffix(b"\n").unwrap_or(path).to_vec()]),
    structural(|path| vec![latin(&text(path).replace(['\t', '\n', '\r'], ""))]),
    structural(|path| vec![latin(&text(path).replace('\x0c', ""))]),
    structural(|path| vec![segments(path, windows)]),
    structural(authority),
    structural(scheme),
    Function { kind: Kind::Script, extension: Extension::Kept, apply: scripts },
    structural(without_invalid),
    structural(overlong),
    // `/send/x`, `/send.json`, a file that is found without its extension, and other case.
    loose(Extension::Kept, prefixes),
    loose(Extension::Dropped, extensions),
    loose(Extension::Added, |path| vec![[path, b".php"].concat()]),
    loose(Extension::Added, |path| vec![[path, b".json"].concat()]),
    loose(Extension::Kept, |path| vec![path.to_ascii_lowercase()]),
    loose(Extension::Kept, |path| vec![path.to_ascii_uppercase()]),
    loose(Extension::Kept, folded),
];

/// The paths that come of `path` by up to `depth` functions in any order, with whether each comes of structural ones alone. `None`
/// if there are very many. No server adds an extension where it has dropped another one.
pub fn compose(path: &[u8], depth: usize, with_loose: bool) -> Option<BTreeMap<Vec<u8>, bool>> {
    // By path, and whether an extension was dropped.
    let mut all = BTreeMap::from([((path.to_vec(), false), true)]);
    let mut last = all.clone();
    for _ in 0..depth {
        let mut next: BTreeMap<(Vec<u8>, bool), bool> = BTreeMap::new();
        for ((path, dropped), is_structural) in &last {
            for function in FUNCTIONS.iter().filter(|function| with_loose || function.kind != Kind::Loose) {
                if *dropped && function.extension == Extension::Added {
                    continue;
                }
                let is_structural = *is_structural && function.kind == Kind::Structural;
                let dropped = *dropped || function.extension == Extension::Dropped;
                for made in (function.apply)(path) {
                    let key = (made, dropped);
                    let known = all.get(&key).copied();
                    if key.0.starts_with(b"/") && known.is_none_or(|known| is_structural && !known) {
                        *next.entry(key).or_default() |= is_structural;
                    }
                }
            }
        }
        for (key, is_structural) in &next {
            *all.entry(key.clone()).or_default() |= is_structural;
        }
        last = next;
        if all.len() > 20_000 {
            return None;
        }
    }
    let mut paths = BTreeMap::new();
    for ((path, _), is_structural) in all {
        *paths.entry(path).or_default() |= is_structural;
    }
    Some(paths)
}

/// Each byte as the character of that number, so that text functions can be used on any bytes.
fn text(path: &[u8]) -> String {
    path.iter().map(|byte| char::from(*byte)).collect()
}

/// The opposite of [`text`].
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("from a byte")).collect()
}

/// Decodes each `%HH` once.
pub fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let path = text(path);
    let mut pieces = path.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => decoded.extend([char::from(byte)].into_iter().chain(piece[2..].chars())),
            None => decoded.extend(['%'].into_iter().chain(piece.chars())),
        }
    }
    latin(&decoded)
}

fn wide(path: &[u8]) -> Made {
    let path = text(path);
    let mut made = Vec::new();
    let mut rest = &path[..];
    while let Some(c) = rest.chars().next() {
        let lower = rest.to_ascii_lowercase();
        let digits = lower.strip_prefix("%u").and_then(|digits| digits.get(..4));
        match digits.filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit())) {
            Some(digits) => {
                let number = u32::from_str_radix(digits, 16).expect("digits");
                let character = char::from_u32(number).unwrap_or('\u{fffd}');
                made.extend(character.to_string().into_bytes());
                rest = &rest[6..];
            }
            None => {
                made.extend(latin(&c.to_string()));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    vec![made]
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut path = text(path);
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    latin(&path)
}

fn first_merged(path: &[u8]) -> Vec<u8> {
    latin(&format!("/{}", text(path).trim_start_matches('/')))
}

/// Removes dot segments as RFC 3986 section 5.2.4 has it, with `%2e` for a dot or without.
fn resolved(path: &[u8], encoded: bool) -> Vec<u8> {
    let path = text(path);
    let mut kept: Vec<&str> = Vec::new();
    let count = path[1..].split('/').count();
    for (number, segment) in path[1..].split('/').enumerate() {
        let plain =
            if encoded { segment.replace("%2e", ".").replace("%2E", ".") } else { segment.to_owned() };
        match &plain[..] {
            "." => {}
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if number + 1 == count {
            kept.push("");
        }
    }
    latin(&format!("/{}", kept.join("/")))
}

fn segments(path: &[u8], change: fn(&str) -> String) -> Vec<u8> {
    latin(&text(path).split('/').map(change).collect::<Vec<_>>().join("/"))
}

fn windows(segment: &str) -> String {
    if segment == "." || segment == ".." { segment } else { segment.trim_end_matches(['.', ' ']) }.to_owned()
}

fn before(path: &[u8], end: char) -> Vec<u8> {
    latin(text(path).split(end).next().unwrap_or_default())
}

fn authority(path: &[u8]) -> Made {
    let path = text(path);
    let Some(rest) = path.strip_prefix("//") else { return Vec::new() };
    let rest = rest.trim_start_matches('/');
    vec![latin(rest.find('/').map_or("/", |at| &rest[at..]))]
}

fn scheme(path: &[u8]) -> Made {
    let path = text(path);
    let Some((name, rest)) = path.trim_start_matches('/').split_once(':') else { return Vec::new() };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_http = ["http", "https"].contains(&&name.to_ascii_lowercase()[..]);
    match (is_name && rest.starts_with('/'), is_http) {
        (true, _) => vec![latin(rest)],
        (false, true) => vec![latin(&format!("/{rest}"))],
        _ => Vec::new(),
    }
}

fn scripts(path: &[u8]) -> Made {
    let path = text(path);
    let parts: Vec<&str> = path.split('/').collect();
    let is_script = |at: usize| {
        let name = parts[at].to_ascii_lowercase();
        let ends_in = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        let is_place = at == 1 || parts[at - 1].eq_ignore_ascii_case("cgi-bin");
        !name.contains('@')
            && (ends_in(&[".php", ".php5", ".cgi", ".jsp"]) || is_place && ends_in(&[".do", ".pl"]))
    };
    let rest = |at: usize| latin(&format!("/{}", parts[at + 1..].join("/")));
    let is_rest = |made: &Vec<u8>| !text(made).trim_matches('/').is_empty();
    (1..parts.len() - 1).filter(|at| is_script(*at)).map(rest).filter(is_rest).collect()
}

fn without_invalid(path: &[u8]) -> Made {
    let mut path = path.to_vec();
    while let Err(error) = std::str::from_utf8(&path) {
        let start = error.valid_up_to();
        path.drain(start..start + error.error_len().unwrap_or(path.len() - start));
    }
    vec![path]
}

fn overlong(path: &[u8]) -> Made {
    let mut made = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] & 0xfe == 0xc0 && at + 1 < path.len() {
            made.push((path[at] & 1) << 6 | path[at + 1] & 0x3f);
            at += 2;
        } else {
            made.push(path[at]);
            at += 1;
        }
    }
    vec![made]
}

fn prefixes(path: &[u8]) -> Made {
    (1..path.len()).filter(|at| path[*at] == b'/').map(|at| path[..at].to_vec()).collect()
}

fn extensions(path: &[u8]) -> Made {
    let start = path.iter().rposition(|byte| *byte == b'/').expect("it begins with one") + 1;
    (start + 1..path.len()).filter(|at| path[*at] == b'.').map(|at| path[..at].to_vec()).collect()
}

fn folded(path: &[u8]) -> Made {
    let mut path = text(path);
    for (letter, plain) in [("\u{17f}", "s"), ("\u{212a}", "k"), ("\u{131}", "i"), ("\u{130}", "i")] {
        path = path.replace(&text(letter.as_bytes()), plain);
    }
    vec![latin(&path)]
}
