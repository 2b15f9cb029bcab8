//! The rules for the language of documents and sources, as far as a test can check them (CONTRIBUTING.md, "Language").

use super::documentation::{files_below, pages, prose, read};

/// The largest number of words in a table cell. Longer text belongs below the table.
const LONGEST_CELL: usize = 25;

/// Words that the documentation and the code do not use, and what they use instead.
const REPLACED_WORDS: [(&str, &str); 14] = [
    ("floor", "layer"),
    ("floors", "layers"),
    ("in clear", "unencrypted, without TLS"),
    ("nought", "zero"),
    ("dear", "expensive"),
    ("dearer", "more expensive"),
    ("dearest", "most expensive"),
    ("made plain", "normalized"),
    ("make plain", "normalize"),
    ("blot", "mask"),
    ("blots", "masks"),
    ("blotted", "masked"),
    ("let go of", "the change is in effect"),
    ("lets go of", "the change is in effect"),
];

#[test]
fn table_cells_are_short() {
    let mut seen = 0;
    for page in pages() {
        for row in prose(&read(&page)).filter(|line| line.starts_with('|')) {
            for cell in row.split('|') {
                let words = cell.split_whitespace().count();
                assert!(words <= LONGEST_CELL, "{page}: a cell has {words} words:{cell}");
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "only {seen} were seen: is the test blind?");
}

#[test]
fn replaced_words_are_not_used() {
    let mut found = Vec::new();
    let mut check = |file: &str, number: usize, text: &str| {
        let mut text: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect();
        text.retain(|word| !word.is_empty());
        let text = format!(" {} ", text.join(" "));
        for (word, instead) in REPLACED_WORDS {
            if text.contains(&format!(" {word} ")) {
                found.push(format!("{file}:{number}: '{word}', write '{instead}'"));
            }
        }
    };
    // Not in names of files and the like.
    let without_code = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    for page in pages().into_iter().chain(files_below("config")) {
        for (number, line) in read(&page).lines().enumerate() {
            check(&page, number + 1, &without_code(line));
        }
    }
    for source in files_below("src") {
        for (number, line) in read(&source).lines().enumerate() {
            // Comments, and lines with a text.
            if line.contains("//") || line.contains('"') {
                check(&source, number + 1, &without_code(line));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// rustdoc's index and a search show only this line.
#[test]
fn docstrings_begin_with_a_noun_or_a_verb() {
    let mut found = Vec::new();
    for source in files_below("src") {
        let text = read(&source);
        let mut before = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            for marker in ["/// ", "//! "] {
                let Some(docstring) = line.strip_prefix(marker).filter(|_| !before.starts_with(marker))
                else {
                    continue;
                };
                let first = docstring.split(' ').next().unwrap();
                let is_start = !before.starts_with(marker.trim_end());
                if ["What", "Whether", "How", "Who", "One"].contains(&first)
                    || is_start && ["It", "There", "That", "This"].contains(&first)
                {
                    found.push(format!("{source}:{}: {line}", number + 1));
                }
            }
            before = line;
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
