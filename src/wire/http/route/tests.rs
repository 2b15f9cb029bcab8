use proptest::prelude::*;

use super::*;
use crate::wire::http::mail_path::sends_mail;
use crate::wire::normalize;

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
        assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
        assert!(!expected || pattern(text).covers(path), "{text} {path}");
    }
}

#[test]
fn covering() {
    for path in ["/Admin/SEND", "/admin/send/"] {
        assert!(pattern("/admin/send").covers(path), "{path}");
        assert!(!pattern("/admin/send").matches(path), "{path}");
    }
    assert!(!pattern("/admin/send").covers("/admin/sends"));
    assert!(pattern("/admin/*").covers("/ADMIN"));
    assert!(!pattern("/admin/*").covers("/administration"));
    assert!(pattern("/admin/").covers("/admin"));
    assert!(pattern("/a/*.json").covers("/a/b%3F.json"));
    assert!(!pattern("/admin/send").covers("/admin/send%3Fx"));
}

#[test]
fn cutting_short() {
    let cases: [(&str, &[&str]); 7] = [
        ("/a/b", &[]),
        ("/a%20b%C3%BC%3", &[]),
        ("/a%3Fb", &["/a"]),
        ("/a/%23", &["/a/"]),
        ("/a%20b%3Fc%3Fd", &["/a%20b"]),
        ("/a%23b%3Fc", &["/a%23b", "/a"]),
        ("/%3F%23", &["/", "/%3F"]),
    ];
    for (path, expected) in cases {
        assert_eq!(cut_short(path).collect::<Vec<_>>(), expected, "{path}");
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
            prop_assert!(!plain.contains("//") && !plain.contains("/../") && !plain.contains("/./"));
            prop_assert_eq!(normalize(plain.as_bytes()), Ok(plain.clone()));
            // The same to a backend that decodes once and doesn't cut at what was an encoded `?` or `#`.
            if !["%23", "%3f", "%3F"].iter().any(|cut| raw.contains(cut)) {
                prop_assert_eq!(lenient(&raw, 1, false, false), lenient(&plain, 1, false, false));
            }
        }
    }

    /// A pattern is a normalized path without escapes, so that each can match what it says, and none is refused that could.
    #[test]
    fn a_pattern_is_a_normalized_path(text in "/([ -~]|[/.*;a]){0,12}") {
        let plain = normalize(text.as_bytes()).is_ok_and(|plain| plain == text) && !text.contains('%');
        let stars = text.split('/').any(|segment| segment.matches('*').count() > 1);
        prop_assert_eq!(PathPattern::parse(&text).is_ok(), plain && !stars, "{}", text);
    }

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
        let seen = lenient(&plain, times, parameters, backslashes);
        if ["/api/mail.send.json", "/v3/mail/send"].contains(&&*seen) {
            prop_assert!(sends_mail(&plain), "{} is {} and could be {}", raw, plain, seen);
        }
        let routes = [pattern("/api/mail.send.json"), pattern("/v3/mail/*")];
        let covered = |route: &RoutePattern| route.covers(&plain) || cut_short(&plain).any(|p| route.covers(p));
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
