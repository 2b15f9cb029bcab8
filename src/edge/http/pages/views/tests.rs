//! Every view, filled and read: texts are escaped, nothing is inline, forms and tables are complete.

use std::fs;
use std::path::{Path, PathBuf};

use samples::{Texts, USUAL};

mod palette;
mod samples;

/// Texts that end a tag, an attribute, a title and a script, if they are not escaped.
const HOSTILE: Texts = Texts {
    title: "</title><script>alert(1)</script>",
    name: "\"><img src=x onerror=alert(1)>'",
    note: "'><svg/onload=alert(1)></textarea><script>alert(1)</script>&lt;",
    next: "/a?b=\"><script>alert(1)</script>",
};

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge/http/pages/templates")
}

fn files(extension: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(templates()).unwrap().map(|entry| entry.unwrap().path());
    let chosen = entries.filter(|path| path.extension().is_some_and(|e| e == extension));
    chosen
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// A start tag: its name, and its attributes with their values.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The start tags of a page, as an HTML parser finds them in pages of this form: values in double quotes.
fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
        let mut tag = Tag { name: rest[..end].to_ascii_lowercase(), attributes: Vec::new() };
        rest = &rest[end..];
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || "=/>".contains(c)).unwrap();
            let name = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
            let value = match rest.strip_prefix("=\"") {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"').unwrap();
                    rest = after;
                    value.to_owned()
                }
                None => String::new(),
            };
            assert!(!rest.starts_with('='), "{}: {name} without quotes", tag.name);
            tag.attributes.push((name, value));
        }
        tags.push(tag);
    }
    tags
}

#[test]
fn every_text_is_escaped() {
    let (usual, hostile) = (samples::all(USUAL), samples::all(HOSTILE));
    for ((name, usual), (_, hostile)) in usual.iter().zip(&hostile) {
        let shape = |html| tags(html).into_iter().map(|tag| tag.name).collect::<Vec<_>>();
        assert_eq!(shape(usual), shape(hostile), "{name}");
        let names = |html| {
            let tags = tags(html).into_iter();
            tags.flat_map(|tag| tag.attributes.into_iter().map(|(name, _)| name)).collect::<Vec<_>>()
        };
        assert_eq!(names(usual), names(hostile), "{name}");
        assert!(!hostile.contains("<script>") && !hostile.contains("<img src=x"), "{name}");
    }
}

#[test]
fn nothing_is_inline() {
    for (name, html) in samples::all(USUAL) {
        for tag in tags(&html) {
            assert!(tag.name != "style", "{name}");
            assert!(tag.name != "script" || tag.value("src").is_some(), "{name}");
            for (attribute, value) in &tag.attributes {
                assert!(attribute != "style" && !attribute.starts_with("on"), "{name}: {attribute}");
                assert!(!value.trim_start().to_ascii_lowercase().starts_with("javascript:"), "{name}");
                assert!(!value.starts_with("data:"), "{name}");
            }
        }
    }
    for (name, template) in files("html") {
        for wrong in ["|safe", "| safe", "style=", "<style", "{% filter", "|escape(\"none\")"] {
            assert!(!template.contains(wrong), "{name}: {wrong}");
        }
        let handlers = template.split_whitespace().any(|word| word.starts_with("on") && word.contains("=\""));
        assert!(!handlers, "{name}");
    }
}

#[test]
fn files_name_no_other_origin() {
    let css = fs::read_to_string(templates().join("gatepost.css")).unwrap();
    for wrong in ["url(", "@import", "@font-face", "http:", "https:", "//"] {
        assert!(!css.contains(wrong), "gatepost.css: {wrong}");
    }
    let script = fs::read_to_string(templates().join("gatepost.js")).unwrap();
    for wrong in [
        "fetch(",
        "XMLHttpRequest",
        "innerHTML",
        "eval(",
        "Function(",
        "document.write",
        "http:",
        "https:",
        "import(",
    ] {
        assert!(!script.contains(wrong), "gatepost.js: {wrong}");
    }
    for (name, svg) in files("svg") {
        let elsewhere = svg.replace("http://www.w3.org/2000/svg", "");
        for wrong in ["http:", "https:", "<script", "style", "href", " on"] {
            assert!(!elsewhere.contains(wrong), "{name}: {wrong}");
        }
    }
}

#[test]
fn every_page_has_its_landmarks_and_names() {
    for (name, html) in samples::all(USUAL) {
        let tags = tags(&html);
        let count = |element: &str| tags.iter().filter(|tag| tag.name == element).count();
        for element in ["h1", "main", "title", "html"] {
            assert_eq!(count(element), 1, "{name}: {element}");
        }
        assert!(html.starts_with("<!doctype html>"), "{name} begins with {:?}", &html[..20]);
        assert!(html.contains("<html lang=\"en\">"), "{name}");
        let ids: Vec<_> = tags.iter().filter_map(|tag| tag.value("id")).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{name}: {id} twice");
        }
        for tag in &tags {
            for reference in ["for", "aria-describedby", "aria-labelledby", "data-copy"] {
                for id in tag.value(reference).into_iter().flat_map(str::split_whitespace) {
                    assert!(ids.contains(&id), "{name}: {reference}={id}");
                }
            }
            if let Some(id) = tag.value("href").and_then(|address| address.strip_prefix('#')) {
                assert!(ids.contains(&id), "{name}: #{id}");
            }
        }
        assert!(count("table") == 0 || html.contains("role=\"rowgroup\""), "{name}");
    }
}

#[test]
fn forms_of_a_session_have_its_token() {
    let mut seen = 0;
    for (name, html) in samples::all(USUAL) {
        for form in html.split("<form").skip(1) {
            let (start, _) = form.split_once('>').unwrap();
            let body = form.split("</form>").next().unwrap();
            let is_login = start.contains("/login");
            if start.contains("method=\"post\"") && !is_login {
                assert!(body.contains("type=\"hidden\" name=\"token\""), "{name}: {start}");
                seen += 1;
            }
            assert!(
                is_login || start.contains("method=\"post\"") || !body.contains("name=\"token\""),
                "{name}"
            );
            // A password must never get into an address.
            assert!(start.contains("method=\"post\"") || !body.contains("type=\"password\""), "{name}");
        }
    }
    assert!(seen > 20, "only {seen} were seen: is the test blind?");
}

#[test]
fn errors_stand_at_their_field_and_in_the_summary() {
    let pages = samples::all(USUAL);
    let (_, html) = pages.iter().find(|(name, _)| *name == "add-wrong").unwrap();
    for field in ["username", "password", "confirm"] {
        let input = tags(html).into_iter().find(|tag| tag.value("name") == Some(field)).unwrap();
        assert_eq!(input.value("aria-invalid"), Some("true"), "{field}");
        assert!(input.value("aria-describedby").unwrap().contains(&format!("{field}-error")), "{field}");
        assert!(html.contains(&format!("<a href=\"#{field}\">")), "{field}");
    }
    assert!(html.contains("role=\"alert\" tabindex=\"-1\" autofocus"));
    assert!(html.contains("<title>Error: "));
    // A password is never filled in again.
    let inputs = pages.iter().flat_map(|(_, html)| tags(html));
    let mut passwords = inputs.filter(|tag| tag.value("type") == Some("password"));
    assert!(passwords.all(|tag| tag.value("value").is_none()));
}

/// Writes all pages to a folder, to look at them: `GATEPOST_VIEWS=DIR cargo test --lib write_all_views -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_all_views() {
    let folder = PathBuf::from(std::env::var_os("GATEPOST_VIEWS").unwrap());
    fs::create_dir_all(&folder).unwrap();
    for name in ["gatepost.css", "gatepost.js", "logo.svg", "icon.svg"] {
        fs::copy(templates().join(name), folder.join(name)).unwrap();
    }
    let color = "#1f5fbf";
    fs::write(
        folder.join("accent.css"),
        format!(
            ":root {{ --accent: {color}; --on-accent: #ffffff; }}\n\
        @media (prefers-color-scheme: dark) {{ :root {{ --accent: #7198d8; --on-accent: #1e2127; }} }}\n"
        ),
    )
    .unwrap();
    for (name, html) in samples::all(USUAL) {
        fs::write(folder.join(format!("{name}.html")), html).unwrap();
    }
}
