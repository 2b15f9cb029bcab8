use proptest::prelude::*;

use super::*;
use crate::wire::http::mail_path::sends_mail;
use crate::wire::{Readings, normalize};

fn pattern(text: &str) -> RoutePattern {
    RoutePattern::new(&PathPattern::parse(text).unwrap())
}

#[test]
fn matching() {
    let cases = [
        ("/", "/", true),
        ("/", "/a", false),
        ("/*", "/", true),
        ("/*", "/a/b", true),
        ("/status", "/status", true),
        ("/status", "/status/", false),
        ("/status", "/Status", false),
        ("/status/", "/status/", true),
        ("/public/*", "/public/", true),
        ("/public/*", "/public/a/b/", true),
        ("/public/*", "/public", false),
        ("/public/*", "/publicity/a", false),
        ("/public*", "/publicity", true),
        ("/public*", "/public/a", false),
        ("/users/*/posts", "/users/4/posts", true),
        ("/users/*/posts", "/users//posts", false),
        ("/users/*/posts", "/users/4/5/posts", false),
        ("/users/*/posts/*", "/users/4/posts/5", true),
        ("/v1/*.json", "/v1/a.json", true),
        ("/v1/*.json", "/v1/.json", true),
        ("/v1/a*a", "/v1/a", false),
        ("/v1/things:send", "/v1/things%3Asend", true),
        ("/v1/*", "/v1/%C3%BC", true),
    ];
    for (text, path, expected) in cases {
        assert_eq!(pattern(text).matches(path.as_bytes()), expected, "{text} {path}");
        assert!(!expected || pattern(text).covers(path.as_bytes()), "{text} {path}");
    }
}

#[test]
fn covering() {
    for path in ["/Admin/SEND", "/admin/send/"] {
        assert!(pattern("/admin/send").covers(path.as_bytes()), "{path}");
        assert!(!pattern("/admin/send").matches(path.as_bytes()), "{path}");
    }
    assert!(!pattern("/admin/send").covers("/admin/sends".as_bytes()));
    assert!(pattern("/admin/*").covers("/ADMIN".as_bytes()));
    assert!(!pattern("/admin/*").covers("/administration".as_bytes()));
    assert!(pattern("/admin/").covers("/admin".as_bytes()));
    assert!(pattern("/a/*.json").covers("/a/b%3F.json".as_bytes()));
    assert!(!pattern("/admin/send").covers("/admin/send%3Fx".as_bytes()));
}

#[test]
fn without_extensions() {
    let cases = [
        ("/send.php", Some(("/send", ".php"))),
        ("/v1/send.php/", Some(("/v1/send", ".php"))),
        ("/*/mail.send.json", Some(("/x/mail.send", ".json"))),
        ("/send", None),
        ("/v1.0/send", None),
        ("/v1/*.json", None),
        ("/.htaccess", None),
        ("/send.php/*", None),
        ("/", None),
    ];
    for (text, expected) in cases {
        let found = RoutePattern::without_extension(&PathPattern::parse(text).unwrap());
        let extension = found.as_ref().map(|(_, extension)| &extension[..]);
        assert_eq!(extension, expected.map(|(_, extension)| extension.as_bytes()), "{text}");
        if let (Some((stem, _)), Some((path, _))) = (found, expected) {
            assert!(stem.matches(path.as_bytes()), "{text}");
        }
    }
}

/// The path that the most lenient backend could read in a raw path.
fn lenient(raw: &str, times: usize, parameters: bool, backslashes: bool) -> String {
    let mut bytes = raw.as_bytes().to_vec();
    for _ in 0..times {
        bytes = percent_encoding::percent_decode(&bytes).collect();
    }
    let mut text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    if backslashes {
        text = text.replace('\\', "/");
    }
    let mut segments = Vec::new();
    let end = text.find(['?', '#', '\0']).unwrap_or(text.len());
    for segment in text[..end].split('/') {
        let segment = if parameters { segment.split(';').next().unwrap_or_default() } else { segment };
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment.trim_end_matches(['.', ' '])),
        }
    }
    format!("/{}", segments.join("/"))
}

proptest! {
    #[test]
    fn a_normalized_path_is_normalized(raw in "/[%./a-c0-9;éB]{0,16}|/(%2[0-9e-f]|%25|/|\\.|[a-c%é;]){0,8}") {
        if let Ok(plain) = normalize(raw.as_bytes()) {
            prop_assert!(plain.starts_with('/') && plain.is_ascii());
            prop_assert!(!plain.contains("/../") && !plain.contains("/./"));
            prop_assert_eq!(normalize(plain.as_bytes()), Ok(plain.clone()));
        }
    }

    /// A pattern can match what it says, and none is refused that could without an escape or an empty segment.
    #[test]
    fn a_pattern_is_an_ordinary_path(text in "/([ -~]|[/.*;a]){0,12}") {
        let odd = |c: char| c.is_ascii_whitespace() || "%;?#\"<>[]\\^`{|}".contains(c);
        let plain = !text.contains(odd) && !text.contains("//") && normalize(text.as_bytes()).is_ok_and(|plain| plain == text);
        let loose = text.split('/').any(|segment| segment.ends_with('.') || segment.matches('*').count() > 1);
        prop_assert_eq!(PathPattern::parse(&text).is_ok(), plain && !loose, "{}", text);
    }

    /// Whatever the most lenient backend makes of a path is a reading, and routes cover it.
    #[test]
    fn every_path_that_could_send_mail_is_recognized(
        before in proptest::collection::vec(prop::sample::select(TRICKS), 0..4),
        seams in proptest::collection::vec(prop::sample::select(TRICKS), 3),
        times in 0..4usize,
        parameters in any::<bool>(),
        backslashes in any::<bool>(),
        words in prop::sample::select(vec![["api", "mail.send.json"], ["API", "mail%2esend.%6ason"], ["v3", "mail/send"]]),
    ) {
        let [slash, end, other] = &seams[..] else { unreachable!() };
        let raw = format!("/{}/{}{slash}/{}{end}{other}", before.concat(), words[0], words[1]);
        let Ok(plain) = normalize(raw.as_bytes()) else { return Ok(()) };
        let Ok(readings) = Readings::of(raw.as_bytes(), &plain) else { return Ok(()) };
        let seen = lenient(&plain, times, parameters, backslashes);
        let all = || readings.iter().map(|reading| &reading.path[..]).chain([plain.as_bytes()]);
        if ["/api/mail.send.json", "/v3/mail/send"].contains(&&*seen) {
            prop_assert!(all().any(sends_mail), "{} is {} and could be {}", raw, plain, seen);
        }
        let routes = [pattern("/api/mail.send.json"), pattern("/v3/mail/*")];
        let covered = |route: &RoutePattern| all().any(|path| route.covers(path));
        prop_assert!(seen != "/api/mail.send.json" || covered(&routes[0]), "{}", plain);
        prop_assert!(seen != "/v3/mail/send" || covered(&routes[1]), "{}", plain);
    }
}

const TRICKS: &[&str] = &[
    "",
    "/",
    "//",
    "/.",
    "/..",
    "/x/..",
    "%2e",
    "%2E%2e",
    "%252e",
    "/%252e%252e/",
    "%2f",
    "%5c",
    "\\",
    ";x",
    "%3b",
    ".",
    "%20",
    "%00",
    "%3f",
    "%23",
    "/x",
    "public",
    "/public/..",
    "%25",
    "%2525",
    "..",
    "/%2e%2e",
    "\t",
    "%c0%ae",
    "é",
];
