//! The colours of the stylesheet: texts are readable on everything that they stand on, in both schemes.

use std::collections::BTreeMap;
use std::fs;

use super::templates;

/// Texts, and the grounds that they stand on.
const TEXTS: [(&str, &[&str]); 9] = [
    ("text", &["ground", "raised", "sunken", "hover", "good-ground", "bad-ground", "care-ground"]),
    ("muted", &["ground", "raised", "sunken", "hover", "tabs", "good-ground"]),
    ("good", &["good-ground", "raised"]),
    ("bad", &["ground", "raised", "sunken", "hover", "bad-ground"]),
    ("care", &["ground", "raised", "hover"]),
    ("email", &["email-ground"]),
    ("api", &["api-ground"]),
    ("web", &["web-ground"]),
    ("accent", &["ground", "raised", "sunken"]),
];

/// Shapes without text, such as the border of a field.
const SHAPES: [(&str, &[&str]); 2] =
    [("line-strong", &["ground", "raised"]), ("accent", &["ground", "raised", "hover"])];

/// The variables of the light scheme, and those that are in effect in the dark one.
fn schemes() -> [BTreeMap<String, [u8; 3]>; 2] {
    let css = fs::read_to_string(templates().join("gatepost.css")).unwrap();
    let mut blocks = css.split(":root {").skip(1).map(|block| variables(block.split('}').next().unwrap()));
    let light = blocks.next().unwrap();
    let mut dark = light.clone();
    dark.extend(blocks.next().unwrap());
    [light, dark]
}

fn variables(block: &str) -> BTreeMap<String, [u8; 3]> {
    let declarations = block.split(';').filter_map(|text| text.trim().strip_prefix("--")?.split_once(": #"));
    declarations.map(|(name, digits)| (name.to_owned(), color(digits))).collect()
}

fn color(digits: &str) -> [u8; 3] {
    let full = match digits.len() {
        3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
        _ => digits.to_owned(),
    };
    let value = u32::from_str_radix(&full, 16).unwrap();
    let [_, red, green, blue] = value.to_be_bytes();
    [red, green, blue]
}

/// The relative luminance (WCAG 2.2).
fn luminance(color: [u8; 3]) -> f64 {
    let [red, green, blue] = color.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn texts_and_shapes_are_readable_in_both_schemes() {
    for (scheme, colors) in ["light", "dark"].iter().zip(schemes()) {
        let check = |pairs: &[(&str, &[&str])], least: f64| {
            for (name, grounds) in pairs {
                for ground in *grounds {
                    // A configured accent colour is as readable on white at least, which no link of these pages leaves.
                    if *scheme == "light" && *name == "accent" && *ground != "raised" {
                        continue;
                    }
                    let found = contrast(colors[*name], colors[*ground]);
                    assert!(found >= least, "{scheme}: {name} on {ground} has {found:.2}:1");
                }
            }
        };
        check(&TEXTS, 4.5);
        check(&SHAPES, 3.0);
        assert!(contrast(colors["on-accent"], colors["accent"]) >= 4.5, "{scheme}");
        assert!(contrast([255; 3], colors["removal"]) >= 4.5, "{scheme}");
    }
}

/// Generated accent colours of the dark scheme are readable on this colour and all darker ones.
#[test]
fn no_ground_of_the_dark_scheme_is_lighter_than_the_accent_allows() {
    let [_, dark] = schemes();
    for ground in ["ground", "raised", "sunken", "hover", "tabs"] {
        assert!(luminance(dark[ground]) <= luminance([0x1e, 0x21, 0x27]), "{ground}");
    }
}
