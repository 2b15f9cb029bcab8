//! Names of fields, generated, as two dozen parsers of real backends read them: whatever one of them takes for `api_user` or `api_key` is
//! recognized, in a query, an urlencoded form and a multipart form.

use std::collections::BTreeMap;

use gatepost::wire::{BodyScanner, take_credential, without_credential};

use crate::common::forms::{MULTIPART, URLENCODED, text_fields};
use crate::common::parsers::{Submission, read_all};

/// What is put into a name: bytes that a parser drops, folds, splits or ends names at, and some that none does.
const TOKENS: [&str; 44] = [
    "[",
    "%5B",
    "]",
    "%5D",
    "[]",
    "%5B%5D",
    "[x]",
    "[0]",
    ".",
    "%2E",
    "+",
    "%20",
    "%00",
    "%0A",
    "%09",
    "%0D%0A",
    "%0B",
    "?",
    "%3F",
    "%",
    "%25",
    "%u005b",
    "%u005F",
    "%u0000",
    "%5F",
    "_",
    "-",
    ";",
    "amp;",
    "%C2%A0",
    "%EF%BB%BF",
    "%uFEFF",
    "\u{feff}",
    "x",
    "'",
    "%27",
    "%22",
    "/",
    "%5C",
    "%c0%af",
    "%ef%bc%bf",
    "(",
    "{",
    ",",
];

/// Whole names with `{}` for the credential's.
const TEMPLATES: [&str; 26] = [
    "{}",
    "%61{}",
    "%u0061{}",
    "[[{}]]",
    "[{}][x]",
    "{}[$ne]",
    "{}[x]y",
    "{}]x",
    "x[{}]",
    "[x][{}]",
    "my_{}",
    "{}s",
    "{}_id",
    "a=1;{}",
    "a=1&amp;{}",
    "amp;{}",
    "??{}",
    "+[{}",
    "{}%00[x]",
    "[+{}]",
    "{}[x",
    ".[{}].x",
    "a=1&+{}",
    "a=1&?{}",
    "[]%5B{}",
    "%20%20{}%20",
];

/// Names with one token at each of their places, or instead of the `_`; and the templates.
fn with_one(key: &str) -> Vec<String> {
    let mut names = Vec::new();
    for token in TOKENS {
        names.extend((0..=key.len()).map(|at| format!("{}{token}{}", &key[..at], &key[at..])));
        names.push(key.replace('_', token));
    }
    names.extend(TEMPLATES.iter().map(|template| {
        let rest = if template.ends_with("61{}") { &key[1..] } else { key };
        template.replace("{}", rest)
    }));
    names
}

/// Names with two tokens, at the places where parsers change names: a sample, the same each time.
fn with_two(key: &str, count: usize) -> Vec<String> {
    let middle = key.find('_').unwrap();
    let mut seed: u32 = 7;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % bound
    };
    let mut put = |name: String, shift: usize| {
        let place = below(5);
        let token = TOKENS[below(TOKENS.len())];
        let middle = if name.is_char_boundary(middle + shift) { middle + shift } else { 0 };
        match place {
            0 => format!("{token}{name}"),
            1 if name.contains('_') => name.replacen('_', token, 1),
            1 | 2 => format!("{name}{token}"),
            3 => format!("{}{token}{}", &name[..middle.min(name.len())], &name[middle.min(name.len())..]),
            _ => format!("{token}{name}{token}"),
        }
    };
    (0..count)
        .map(|_| {
            let once = put(key.into(), 0);
            put(once, 1)
        })
        .collect()
}

/// The bytes that a name stands for, since a multipart form has no escapes.
fn unescaped(name: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(name).collect()
}

/// A place for a field, and a request with a field of that name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Query,
    Urlencoded,
    /// With the name as it is.
    Multipart,
    /// With its escapes decoded.
    MultipartBytes,
}

impl Place {
    fn submission(self, name: &str, value: &str) -> Submission {
        let urlencoded = || format!("{name}{value}&z=1").into_bytes();
        let multipart = |name: &[u8]| {
            let form = text_fields(&[("{}", value.trim_start_matches('=')), ("z", "1")]);
            let (before, after) = form.split_once("{}").unwrap();
            Submission {
                kind: Some(MULTIPART.into()),
                body: [before.as_bytes(), name, after.as_bytes()].concat(),
                ..Submission::default()
            }
        };
        match self {
            Place::Query => Submission { query: urlencoded(), method: Some("GET"), ..Submission::default() },
            Place::Urlencoded => {
                Submission { kind: Some(URLENCODED.into()), body: urlencoded(), ..Submission::default() }
            }
            Place::Multipart => multipart(name.as_bytes()),
            Place::MultipartBytes => multipart(&unescaped(name)),
        }
    }
}

/// Returns true if the gateway finds a credential or a half of one, or refuses the request. What is neither is unchanged.
fn is_recognized(submission: &Submission) -> bool {
    let Some(kind) = &submission.kind else {
        let is_taken = !matches!(take_credential(&submission.query), Ok(None));
        let rest = without_credential(&submission.query);
        assert_eq!(rest.is_some_and(|rest| rest != submission.query), is_taken, "{submission:?}");
        return is_taken;
    };
    let scanner = BodyScanner::for_content_type(kind.as_bytes()).unwrap().unwrap();
    let mut body = submission.body.clone();
    let outcome = scanner.mask_in_place(&mut body);
    let is_recognized = !matches!(outcome, Ok(None));
    assert!(is_recognized || body == submission.body, "{submission:?}");
    is_recognized
}

// Case A13: names that parsers fold into one.
#[test]
fn whatever_a_parser_reads_as_a_credential_is_recognized() {
    let mut names: Vec<String> = with_one("api_user").into_iter().chain(with_one("api_key")).collect();
    names.extend(with_two("api_user", 500));
    names.extend(with_two("api_key", 200));
    names.sort();
    names.dedup();
    let mut cases = Vec::new();
    for name in &names {
        let places = [Place::Query, Place::Urlencoded, Place::Multipart, Place::MultipartBytes];
        let is_escaped = unescaped(name) != name.as_bytes();
        for place in places.into_iter().filter(|place| *place != Place::MultipartBytes || is_escaped) {
            cases.push((place, name, place.submission(name, "=V")));
        }
        if name.len() < 10 {
            // A name without a value.
            cases.extend(
                [Place::Query, Place::Urlencoded].map(|place| (place, name, place.submission(name, ""))),
            );
        }
    }
    let submissions: Vec<Submission> = cases.iter().map(|(.., submission)| submission.clone()).collect();
    let started = std::time::Instant::now();
    let readings = read_all(&submissions);
    println!("{} requests read in {:?}", submissions.len(), started.elapsed());
    let mut read: BTreeMap<(Place, &str), usize> = BTreeMap::new();
    let (mut missed, mut surplus) = (Vec::new(), BTreeMap::<Place, Vec<&str>>::new());
    for ((place, name, submission), readings) in cases.iter().zip(&readings) {
        let is_recognized = is_recognized(submission);
        if !readings.is_empty() && !is_recognized {
            missed.push(format!("{place:?} {name:?}: {readings:?}"));
        }
        if readings.is_empty() && is_recognized {
            surplus.entry(*place).or_default().push(name);
        }
        for parser in readings.keys() {
            *read.entry((*place, parser)).or_default() += 1;
        }
    }
    for ((place, parser), count) in &read {
        println!("{place:?} {parser}: {count}");
    }
    for (place, names) in &surplus {
        println!("{place:?}: recognized, and read by no parser here: {} {names:?}", names.len());
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
    let parsers: std::collections::BTreeSet<&str> = read.keys().map(|(_, parser)| *parser).collect();
    assert!(parsers.len() >= 30, "{parsers:?}");
}
