//! Names of types: each is declared once in the crate, so that a name means one thing wherever it is read.

use std::collections::BTreeMap;

use super::circles::files;

/// Names that several modules may declare, because a module makes the meaning of each obvious, and the reason.
const OBVIOUS: [(&str, &str); 0] = [];

/// The names of the types and traits that `code` declares, without associated types, which belong to their trait.
fn declared(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let item = line.trim_start();
        let item = match item.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.trim_start(),
            None => item,
        };
        let (kind, rest) = item.split_once(' ')?;
        let is_type = match kind {
            "struct" | "enum" | "union" | "trait" => true,
            "type" => !line.starts_with(' '),
            _ => false,
        };
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
        (is_type && name.starts_with(|c: char| c.is_ascii_uppercase())).then_some(name)
    })
}

#[test]
fn type_names_are_declared_once() {
    let files = files();
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (module, code) in &files {
        for name in declared(code) {
            places.entry(name).or_default().push(module.join("::"));
        }
    }
    assert!(places.len() > 300, "only {} types were seen: is the test blind?", places.len());
    let is_obvious = |name: &str| OBVIOUS.iter().any(|(obvious, _)| *obvious == name);
    places.retain(|name, modules| modules.len() > 1 && !is_obvious(name));
    assert!(places.is_empty(), "types of the same name: {places:?}");
}

#[test]
fn declarations_are_seen() {
    let code = "pub struct A(u8);\npub(super) enum B<T> {\n    C,\n}\nimpl X for A {\n    type Y = u8;\n}\n\
                type D = u8;\n    pub enum E {}\ntrait F {}\nlet struct_g = 1;\nunion H {}\nstruct I;\n// struct J\n";
    assert_eq!(declared(code).collect::<Vec<_>>(), ["A", "B", "D", "E", "F", "H", "I"]);
}
