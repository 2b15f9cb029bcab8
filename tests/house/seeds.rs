//! The seeds of the fuzz targets, whole and cut off at any place, before the properties that the targets hold: what fuzzing
//! begins with is true in every test run.

#[path = "../../fuzz/src/properties.rs"]
pub mod properties;

use std::fs;
use std::path::Path;

use crate::common::driver::{self, Driver, settings};

/// The name of a target, and what it holds against an input.
type Property<'a> = (&'a str, &'a dyn Fn(&[u8]));

#[test]
fn seeds_have_the_properties() {
    let smtp_reply = |data: &[u8]| properties::smtp_reply(data, &[3, 1, 7]);
    let permissions = |data: &[u8]| properties::permissions(&String::from_utf8_lossy(data));
    let targets: [Property<'_>; 16] = [
        ("basic", &properties::basic),
        ("chunked", &properties::chunked),
        ("field_names", &properties::field_names),
        ("multipart", &properties::multipart),
        ("next_address", &properties::next_address),
        ("own_cookies", &properties::own_cookies),
        ("path", &properties::path),
        ("permissions", &permissions),
        ("proxy_protocol", &properties::proxy_protocol),
        ("query", &properties::query),
        ("readings", &properties::readings),
        ("request_head", &properties::request_head),
        ("response_head", &properties::response_head),
        ("smtp_reply", &smtp_reply),
        ("smtp_session", &properties::smtp_session),
        ("urlencoded", &properties::urlencoded),
    ];
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, property) in targets {
        let seeds: Vec<_> = fs::read_dir(fuzz.join("seeds").join(name)).unwrap().collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let path = seed.unwrap().path();
            println!("{}", path.display());
            let seed = fs::read(path).unwrap();
            for end in 0..=seed.len() {
                property(&seed[..end]);
            }
        }
    }
    for seed in fs::read_dir(fuzz.join("seeds/smtp_session")).unwrap() {
        let path = seed.unwrap().path();
        let seed = fs::read(&path).unwrap();
        let mut driver = Driver::new(settings());
        // The first bytes are places at which the rest is split.
        driver.feed(&seed[3..]);
        let is_one_of = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
        let without = is_one_of(&["replies", "name_with_a_line_feed"]);
        assert_eq!(driver.transactions == 0, without, "{}: {}", path.display(), driver.text());
    }
    let folders = fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count();
    assert_eq!(folders, targets.len(), "a target is missing here");
}
