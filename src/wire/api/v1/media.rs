//! Media types of API v1: what a body is in, and what a client accepts.

/// The JSON media types of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonMedia {
    /// `application/json`
    Json,
    /// `application/merge-patch+json` (RFC 7396)
    MergePatch,
}

impl JsonMedia {
    /// Reads a Content-Type. The only parameter is `charset=utf-8`, which JSON is always in. `None` for anything else.
    pub fn of(content_type: &[u8]) -> Option<JsonMedia> {
        let mut parts = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let is_utf8 = |part: &[u8]| {
            part.is_empty()
                || part.eq_ignore_ascii_case(b"charset=utf-8")
                || part.eq_ignore_ascii_case(b"charset=\"utf-8\"")
        };
        if !parts.all(is_utf8) {
            return None;
        }
        if kind.eq_ignore_ascii_case(b"application/json") {
            Some(JsonMedia::Json)
        } else if kind.eq_ignore_ascii_case(b"application/merge-patch+json") {
            Some(JsonMedia::MergePatch)
        } else {
            None
        }
    }
}

/// Returns true if a client accepts `application/json` (RFC 9110 section 12.5.1). `fields` are its `Accept` fields. The most specific
/// range decides; one that can't be read accepts nothing.
pub fn accepts_json<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let ranges = fields.flat_map(|field| field.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut best: Option<(u8, bool)> = None;
    let mut is_any_given = false;
    for range in ranges.filter(|range| !range.is_empty()) {
        is_any_given = true;
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let rank = match kind {
            kind if kind.eq_ignore_ascii_case(b"application/json") => 3,
            kind if kind.eq_ignore_ascii_case(b"application/*") => 2,
            b"*/*" => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_at_checked(2)?;
            name.eq_ignore_ascii_case(b"q=").then_some(value)
        });
        let is_wanted = weight.is_none_or(|weight| weight.iter().any(|digit| (b'1'..=b'9').contains(digit)));
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, is_wanted));
        }
    }
    !is_any_given || best.is_some_and(|(_, is_wanted)| is_wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_are_json() {
        for (text, expected) in [
            ("application/json", Some(JsonMedia::Json)),
            ("Application/JSON ; charset=UTF-8", Some(JsonMedia::Json)),
            ("application/json;charset=\"utf-8\";", Some(JsonMedia::Json)),
            ("application/merge-patch+json", Some(JsonMedia::MergePatch)),
            ("application/json; charset=latin1", None),
            ("application/json; a=b", None),
            ("application/jsonx", None),
            ("text/json", None),
            ("", None),
        ] {
            assert_eq!(JsonMedia::of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn accepted_types() {
        for (field, expected) in [
            ("", true),
            ("*/*", true),
            ("application/*;q=0.1", true),
            ("text/html, application/json", true),
            ("text/html;q=0.9, */*;q=0.8", true),
            ("text/html", false),
            ("application/problem+json", false),
            ("application/json;q=0, */*", false),
            ("*/*, application/json; Q=0.000", false),
            ("*/*;q=0", false),
            ("json", false),
        ] {
            assert_eq!(accepts_json([field.as_bytes()].into_iter()), expected, "{field}");
        }
        assert!(accepts_json(std::iter::empty()));
        assert!(accepts_json([&b"text/html"[..], b"application/json"].into_iter()));
    }

    proptest! {
        #[test]
        fn no_field_panics(field in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (JsonMedia::of(&field), accepts_json([&field[..]].into_iter()));
        }
    }
}
