use super::*;
use crate::wire::{normalize, steps_of};

fn readings(raw: &str) -> Vec<String> {
    let normalized = normalize(raw.as_bytes()).unwrap();
    let readings = Readings::of(raw.as_bytes(), &normalized).unwrap();
    let mut all: Vec<String> = readings.iter().map(|one| one.path.escape_ascii().to_string()).collect();
    all.sort();
    all
}

// Case B1: what servers read.
#[test]
fn readings_of_paths() {
    let cases: [(&str, &[&str]); 29] = [
        ("/a/b", &[]),
        ("/projects/group%2Frepo", &["/projects/group/repo"]),
        ("/@scope%2fname", &["/@scope/name"]),
        ("/api/queues/%2F/q", &["/api/queues///q", "/api/queues/q"]),
        ("/a%252Fb", &["/a%2Fb", "/a/b"]),
        ("/zones/example.com.", &["/zones/example.com"]),
        ("/Acme%20Inc./x", &["/Acme Inc./x", "/Acme Inc/x", "/Acme%20Inc/x"]),
        ("/img/https://host/p.png", &["/img/https:/host/p.png"]),
        ("/cal;v=1/x", &["/cal", "/cal/x"]),
        ("//host/a", &["/a", "/host/a"]),
        ("/http://host/a", &["//host/a", "/a", "/host/a", "/http:/host/a"]),
        ("/index.php/a", &["/a"]),
        ("/x/index.php/a", &["/a"]),
        ("/a.py/b", &["/b"]),
        ("/x/a.py/b", &[]),
        ("/x/CGI-bin/a.py/b", &["/b"]),
        ("/a/%u002e%u002e/b", &["/a/../b", "/b"]),
        ("/a%3Fb", &["/a", "/a?b"]),
        ("/a&b", &["/a"]),
        ("/a%0a", &["/a", "/a\\n"]),
        ("/a%09b", &["/a\\tb", "/ab"]),
        ("/a%0D%0Ab", &["/a\\r\\nb", "/ab"]),
        ("/a%0ab%0cc", &["/a\\nb\\x0cc", "/a\\nbc", "/ab\\x0cc", "/abc"]),
        ("/a%ff/b", &["/a/b", "/a\\xff/b"]),
        ("/a%c0%afb", &["/a/b", "/a\\xc0\\xafb", "/ab"]),
        ("/a\\b", &["/a/b", "/a\\\\b"]),
        // Before dot segments are removed, and in both orders with `//`.
        ("/x;/../a", &["/x", "/x/../a", "/x;/../a"]),
        ("/x//../a", &["/a", "/x/../a", "/x//../a"]),
        ("/a%c5%bfb", &["/a\\xc5\\xbfb", "/asb"]),
    ];
    for (path, expected) in cases {
        let found = readings(path);
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn the_text_names_the_sequence() {
    let cases = [
        ("/api%2Fmail.send.json", "/api/mail.send.json", "%2F"),
        ("/a%20b%2fc%3Fd", "/a b/c", "%3F"),
        ("/x;/../a", "/x;/../a", ";"),
        ("/x%5c..%5ca", "/a", "%5c"),
        ("/x\\a", "/x/a", "\\"),
        ("/a//b", "/a/b", "//"),
        ("//h/a", "/a", "//"),
        ("/a%252Fb", "/a/b", "%25"),
        ("/v3%u002fa", "/v3/a", "%u002f"),
        ("/a;b", "/a", ";"),
        ("/a%3Bb", "/a", "%3B"),
        ("/a%26b", "/a", "%26"),
        ("/a%00.x", "/a", "%00"),
        ("/a%0a", "/a", "%0a"),
        ("/b%20a%0Dc", "/b ac", "%0D"),
        ("/b%20a%0Cc", "/b ac", "%0C"),
        ("/x/..%2fa", "/a", "%2f"),
        ("/a./b", "/a/b", "."),
        ("/a\"\\é.php/b", "/b", "a\"\\\\xc3\\xa9.php"),
        ("/a%ffb", "/ab", "%ff"),
        ("/index.php/a", "/a", "index.php"),
        ("/ftp:/a", "/a", "ftp:"),
    ];
    for (raw, reading, named) in cases {
        let normalized = normalize(raw.as_bytes()).unwrap();
        let readings = Readings::of(raw.as_bytes(), &normalized).unwrap();
        let found = readings.iter().find(|one| one.path == reading.as_bytes()).expect(raw);
        assert_eq!(readings.ambiguity(found), AmbiguousPath::Sequence(named.to_owned()), "{raw}");
    }
}

#[test]
fn bounds() {
    use AmbiguousPath::{TooLong, TooMany};
    let of = |path: &str| Readings::of(path.as_bytes(), &normalize(path.as_bytes()).unwrap()).map(|_| ());
    assert_eq!(of(&format!("/{}%20", "a".repeat(LONGEST_PATH))), Err(TooLong));
    assert_eq!(of(&format!("/{}%20", "a".repeat(LONGEST_PATH - 100))), Ok(()));
    assert_eq!(of(&format!("/{}", "%C3%BC".repeat(1_300))), Ok(()));
    assert_eq!(of(&"//a".repeat(1_000)), Err(TooMany));
    assert_eq!(of(&format!("/{}a", "a.php/".repeat(300))), Err(TooMany));
    for text in [TooLong.to_string(), TooMany.to_string(), AmbiguousPath::Sequence("//".into()).to_string()] {
        assert!(text.starts_with("Ambiguous path: ") && text.len() < 250, "{text}");
    }
}

/// The bytes that a search looks at are bounded, so that no path is expensive: with optimization, 8 KiB take less than 5 ms.
#[test]
fn no_path_is_expensive() {
    let pieces = [
        "%25",
        "%2525",
        ";/../",
        "%3b/..%2f",
        "//",
        "/%2e%2e",
        "a.php/",
        "%c0%af",
        "%u002f",
        "\\",
        "&",
        "%3F%23",
        ".%20/",
        "/a%2F..;b",
        "http:",
        "%C5%BF",
        "/./",
        "%00",
        "a%0a%0c/",
        "a;b&c%2f",
    ];
    for piece in pieces {
        for length in [LONGEST_PATH - 16, 60 * 1024] {
            let path = format!("/{}", piece.repeat(length / piece.len()));
            let Ok(normalized) = normalize(path.as_bytes()) else { continue };
            let work = steps_of(|| {
                let found = Readings::of(path.as_bytes(), &normalized);
                assert!(length < LONGEST_PATH || matches!(found, Err(AmbiguousPath::TooLong)));
            });
            // Each step, and each decoding.
            assert!(work <= 25 * MOST_BYTES, "{piece}: {work} bytes");
        }
    }
}
