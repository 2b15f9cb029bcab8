//! The paths that a file names, from the root of the crate on.

use std::path::Path;

/// A module by its path from the root of the crate: `wire/path.rs` is `["wire", "path"]`, and `wire/mod.rs` is `["wire"]`.
pub type Module = Vec<String>;

/// The module of a file, which is given by its path within `src`.
pub fn module_of(inside: &Path) -> Module {
    let names = inside.with_extension("");
    let mut module: Module = names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
        module.pop();
    }
    module
}

/// Every path in the code of `module` that begins with `crate`, `self` or `super`. Those in a module within the file, such as
/// its tests, begin there.
pub fn paths(code: &str, module: &[String]) -> Vec<Module> {
    let inner = |at: usize| Some((at, code[at..].strip_prefix("\nmod ")?.split_once(" {\n")?.0));
    let inner = code.match_indices("\nmod ").filter_map(|(at, _)| inner(at)).find(|(_, name)| is_name(name));
    let (own, within) = code.split_at(inner.map_or(code.len(), |(at, _)| at));
    let mut found = rooted(own, module);
    if let Some((_, name)) = inner {
        found.extend(rooted(within, &[module, &[name.to_owned()]].concat()));
    }
    found
}

fn rooted(code: &str, module: &[String]) -> Vec<Module> {
    let mut found = Vec::new();
    for root in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(root) {
            if !code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                let mut named = Vec::new();
                expand(&code[at..], &[], &mut named);
                found.extend(named.into_iter().filter_map(|path| from_root(&path, module)));
            }
        }
    }
    found
}

/// The paths that begin with the name of one of the `children` of a module.
pub fn paths_to_children<'a>(
    code: &str,
    module: &[String],
    children: impl Iterator<Item = &'a str>,
) -> Vec<Module> {
    let mut found = Vec::new();
    for child in children {
        for (at, _) in code.match_indices(&format!("{child}::")) {
            if !code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                expand(&code[at..], module, &mut found);
            }
        }
    }
    found
}

/// Adds what the path at the beginning of `text` names, all of a group, to `found`; returns the rest of the text.
fn expand<'a>(text: &'a str, before: &[String], found: &mut Vec<Module>) -> &'a str {
    let mut text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        text = group.trim_start();
        while !text.is_empty() && !text.starts_with('}') {
            let rest = expand(text, before, found);
            text = rest.split_once([',', '}']).map_or("", |(alias, _)| &rest[alias.len()..]);
            text = text.trim_start_matches(',').trim_start();
        }
        return text.strip_prefix('}').unwrap_or(text);
    }
    let (name, rest) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
    let path = if name.is_empty() || name == "self" && !before.is_empty() {
        before.to_vec()
    } else {
        [before, &[name.to_owned()]].concat()
    };
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => expand(rest, &path, found),
        _ => {
            found.push(path);
            rest
        }
    }
}

/// The path from the root of the crate on; `None` where it climbs above it.
fn from_root(path: &[String], module: &[String]) -> Option<Module> {
    let climbed = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        _ => Some([&module[..module.len().checked_sub(climbed)?], &path[climbed..]].concat()),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.chars().all(is_word)
}

#[test]
fn climbs_groups_and_inner_modules_are_seen() {
    let module = module_of(Path::new("edge/http/server.rs"));
    assert_eq!(module, ["edge", "http", "server"]);
    assert_eq!(module_of(Path::new("wire/mod.rs")), ["wire"]);
    let code = "use super::super::net::{self, listener::{Connection as C, accept}};\nuse crate::{\n    \
        domain::{Entry, wire},\n    state,\n};\nfn f() { crate::a::b::<u8>(super::c()) }\npub(super) use std::x;\n\
        #[cfg(test)]\nmod tests {\n    use super::*;\n    use super::super::respond::write;\n}\n";
    let mut seen: Vec<_> = paths(code, &module).iter().map(|path| path.join("::")).collect();
    seen.sort();
    let wanted = [
        "a::b",
        "domain::Entry",
        "domain::wire",
        "edge::http::c",
        "edge::http::respond::write",
        "edge::http::server",
        "edge::net",
        "edge::net::listener::Connection",
        "edge::net::listener::accept",
        "state",
    ];
    assert_eq!(seen, wanted);
}
