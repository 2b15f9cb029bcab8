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
}
