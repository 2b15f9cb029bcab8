//! Words of a file in its errors: the name that may have been meant, and a text that fits into one line.

/// Finds the one of `known` that is one edit away: a character added, removed or replaced, or two swapped.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let mut known = known;
    known.find(|candidate| one_edit_apart(name.as_bytes(), candidate.as_bytes()))
}

/// Shortens a text from the file and replaces control characters, for one line of an error.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Returns true if the value of that key may be a secret, by its name.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key"].iter().any(|word| name.contains(word))
}

/// Shows the text of an address or a word, and `…` in its place if a password may be in it: with a character that none of them has, after a
/// colon that no port follows, or beside a word for a secret. Whoever reads the log must not read that.
pub(super) fn told(text: &str) -> String {
    if may_be_told(text) { shown(text) } else { "…".to_owned() }
}

/// Returns true if [`told`] shows the text.
pub(super) fn may_be_told(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    // Also the parts of an IPv6 address.
    let is_port = |part: &str| {
        let end = part.find(['/', ']']).unwrap_or(part.len());
        let is_number = end <= 5 && part[..end].bytes().all(|b| b.is_ascii_digit());
        is_number || end <= 4 && part[..end].bytes().all(|b| b.is_ascii_hexdigit())
    };
    let is_harmless = |c: char| c.is_alphanumeric() || "-._~/*+:[]${}".contains(c) || c.is_control();
    // A quantity, such as 15 s.
    if let Some((number, unit)) = text.split_once(' ') {
        let is_number = number.bytes().all(|b| b.is_ascii_digit());
        return is_number && unit.len() <= 3 && unit.bytes().all(|b| b.is_ascii_alphabetic());
    }
    text.chars().all(is_harmless) && authority.split(':').skip(1).all(is_port) && !is_secret(text)
}

fn one_edit_apart(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let start = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let (short, long) = (&short[start..], &long[start..]);
    match long.len() - short.len() {
        0 => match (short, long) {
            ([a, b, rest @ ..], [x, y, other @ ..]) if (a, b) == (y, x) && rest == other => true,
            ([_, rest @ ..], [_, other @ ..]) => rest == other,
            _ => false,
        },
        1 => *short == long[1..],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_edit_is_one_edit() {
        for typo in ["lsten", "listten", "listan", "lisetn", "xlisten", "liste", "listenx", "ilsten"] {
            assert_eq!(nearest(typo, ["upstreams", "listen"].into_iter()), Some("listen"), "{typo}");
        }
        for other in ["listen", "lstn", "nelist", "", "lis", "listen_on"] {
            assert_eq!(nearest(other, ["upstreams", "listen"].into_iter()), None, "{other}");
        }
    }

    #[test]
    fn what_may_hold_a_password_is_not_told() {
        for text in [
            "127.0.0.1:80",
            "[2001:db8::1]:8080",
            "::1",
            "http://api.example.com:9000/base",
            "smtp+starttls://mail.example.com:587",
            "https://*.example.com",
            "10.0.0.0/8",
            "x:99999",
            "http://${BACKEND}:9000",
            "15 s",
            "naïve",
        ] {
            assert_eq!(told(text), text);
        }
        for text in [
            "me:hunter22",
            "smtp://me:hunter22",
            "me:hunter22:host",
            "smtp://me:hunter22@host:25",
            "smtp://host/?password=hunter22",
            "me hunter22",
            "me, hunter22",
            "me; hunter22",
            "me\" hunter22",
            "smtp://me:123456789",
            "upstream_password",
        ] {
            assert_eq!(told(text), "…", "{text}");
        }
    }
}
