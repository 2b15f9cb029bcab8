//! Files that import each other in a circle: none of them can be understood, or moved, alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::imports::{Module, module_of, paths, paths_to_children};
use super::{root, sources, uncommented};

pub type Files = BTreeMap<Module, String>;
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The code of each file of `src`, without tests.
pub fn files() -> Files {
    let mut files = Files::new();
    for path in sources(&root()) {
        let inside = path.strip_prefix(root()).unwrap();
        let is_test = inside.ends_with("tests.rs") || inside.iter().any(|name| name == "tests");
        if !is_test && inside != Path::new("main.rs") {
            let code = uncommented(&fs::read_to_string(&path).unwrap());
            let own = code.split("#[cfg(test)]\nmod tests").next().unwrap();
            files.insert(module_of(inside), own.to_owned());
        }
    }
    files
}

/// Which files each file imports from. A name that a module passes on by `pub use` counts for the file that it comes from.
fn imports(files: &Files) -> Imports {
    let mut passed_on = BTreeMap::new();
    let mut named = BTreeMap::new();
    for (module, code) in files {
        let (exports, own) = split_exports(code);
        for path in named_in(&exports, module, files) {
            let name = path.last().cloned();
            passed_on.insert([module.clone(), name.into_iter().collect()].concat(), path);
        }
        named.insert(module.clone(), named_in(&own, module, files));
    }
    let file_of = |path: &Module| -> Option<Module> {
        let mut path = path.clone();
        // No name is passed on through more modules than this.
        for _ in 0..8 {
            let ends = || (1..=path.len()).rev();
            let known = ends()
                .find(|end| passed_on.contains_key(&path[..*end]) || files.contains_key(&path[..*end]))?;
            match passed_on.get(&path[..known]) {
                Some(other) => path = [&other[..], &path[known..]].concat(),
                None => return Some(path[..known].to_vec()),
            }
        }
        None
    };
    let imported = |(module, named): (Module, Vec<Module>)| {
        let others = named.iter().filter_map(file_of).filter(|other| *other != module).collect();
        (module, others)
    };
    named.into_iter().map(imported).collect()
}

/// Splits code into what `pub use` re-exports and the rest.
fn split_exports(code: &str) -> (String, String) {
    let (mut exports, mut own) = (String::new(), String::new());
    let mut is_export = false;
    for line in code.split_inclusive('\n') {
        is_export |= line.starts_with("pub use ") || line.starts_with("pub(") && line.contains(") use ");
        if is_export {
            exports.push_str(line)
        } else {
            own.push_str(line)
        }
        is_export &= !line.contains(';');
    }
    (exports, own)
}

fn named_in(code: &str, module: &[String], files: &Files) -> Vec<Module> {
    let is_child = |other: &&Module| other.len() == module.len() + 1 && other.starts_with(module);
    let children = files.keys().filter(is_child).map(|child| child[module.len()].as_str());
    let mut named = paths(code, module);
    named.extend(paths_to_children(code, module, children));
    named
}

/// Sets of files that can all be reached from one another.
fn circles(imports: &Imports) -> BTreeSet<Vec<Module>> {
    let reached: BTreeMap<_, _> =
        imports.keys().map(|module| (module, reached_from(module, imports))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reached {
        let leads_back = |other: &&&Module| reached.get(*other).is_some_and(|back| back.contains(module));
        let circle: Vec<Module> = others.iter().filter(leads_back).map(|other| (**other).clone()).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles
}

fn reached_from<'a>(module: &'a Module, imports: &'a Imports) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        for other in imports.get(module).into_iter().flatten() {
            if reached.insert(other) {
                next.push(other);
            }
        }
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports(&files());
    let count = imports.values().map(BTreeSet::len).sum::<usize>();
    assert!(count > 300, "only {count} imports were seen: is the test blind?");
    let names = |circle: &Vec<Module>| circle.iter().map(|module| module.join("::")).collect::<Vec<_>>();
    let circles: Vec<_> = circles(&imports).iter().map(names).collect();
    assert!(circles.is_empty(), "circles of imports: {circles:?}");
}

#[test]
fn planted_circles_are_found() {
    let found = |sources: &[(&str, &str)]| -> Vec<String> {
        let of = |name: &str| name.split("::").map(str::to_owned).collect::<Module>();
        let files = sources.iter().map(|(name, code)| (of(name), (*code).to_owned())).collect();
        circles(&imports(&files)).iter().flatten().map(|module| module.join("::")).collect()
    };
    let listing = ("edge", "pub mod a;\npub mod b;\n\npub use a::{A, Other};\npub(super) use b::B;\n");
    let straight = ("edge::b", "use super::a::A;\npub struct B;");
    assert_eq!(found(&[listing, ("edge::a", "use crate::wire::W;"), straight]), [""; 0]);
    assert_eq!(found(&[listing, ("edge::a", "use super::b::B;"), straight]), ["edge::a", "edge::b"]);
    // Through names that the folder passes on.
    assert_eq!(
        found(&[listing, ("edge::a", "fn f() { crate::edge::B; }"), straight]),
        ["edge::a", "edge::b"]
    );
    // Through a third file, and a child.
    let third = ("edge::c", "use super::b;");
    assert_eq!(found(&[listing, ("edge::a", "use super::c;"), straight, third]).len(), 3);
    let child = ("edge::b::d", "use super::B;");
    assert_eq!(found(&[("edge::b", "mod d;\nuse d::D;"), child]), ["edge::b", "edge::b::d"]);
    assert_eq!(found(&[("edge::b", "mod d;\nstruct B;"), child]), [""; 0]);
}
