//! Watches for the delimiters of parsers that cut an unquoted boundary at its first unusual character.
//!
//! Of `boundary=----=_Part_0`, Werkzeug takes `----`. It ignores the real delimiters, but a line of six dashes inside of a part
//! is a delimiter to it. What follows is a part for Werkzeug, and content for all other parsers.

use memchr::memchr;

use super::error::FormError;
use super::header_parameters::is_token;
use super::media_type::Boundary;

/// The error for a body that such a parser would split.
pub(crate) const CUT: FormError = FormError::Malformed(
    "a line that some parsers take for a boundary; put the boundary in quotes: boundary=\"…\"",
);

/// Finds, in content that comes in pieces, what these parsers take for the start of a part.
///
/// That is `--`, the cut boundary, white space, and a line break. Werkzeug finds its first delimiter at any position of a line,
/// so the start of the line doesn't matter. A delimiter with two more dashes ends the form and adds no field.
pub(crate) struct CutDelimiters(Vec<CutDelimiter>);

impl CutDelimiters {
    /// The delimiters of all parsers that would cut this boundary; `None` if there are none.
    ///
    /// A parser that is left with no character finds no boundary and reads no form.
    pub(crate) fn of(boundary: &Boundary) -> Option<Box<CutDelimiters>> {
        if boundary.is_quoted {
            return None;
        }
        // Mojolicious: `[\w'(),.:?\-+/]+`.
        let is_known_to_mojolicious = |b: &u8| b.is_ascii_alphanumeric() || b"_'(),.:?-+/".contains(b);
        let text = &boundary.text;
        let mut lengths = [
            text.iter().take_while(|b| is_token(b)).count(),
            text.iter().take_while(|b| is_known_to_mojolicious(b)).count(),
        ]
        .to_vec();
        lengths.dedup();
        lengths.retain(|len| (1..text.len()).contains(len));
        let delimiters: Vec<_> = lengths.iter().map(|len| CutDelimiter::new(&text[..*len])).collect();
        (!delimiters.is_empty()).then(|| Box::new(CutDelimiters(delimiters)))
    }

    /// Reads the next piece up to the line break behind a delimiter. Returns the position of that line break, `None` without
    /// one.
    pub(crate) fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < piece.len() {
            if self.0.iter().all(|delimiter| delimiter.progress == Progress::Matched(0)) {
                at += memchr(b'-', &piece[at..])?;
            }
            let mut is_found = false;
            for delimiter in &mut self.0 {
                is_found |= delimiter.read(piece[at]);
            }
            if is_found {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// Returns true if the end of the content would end the line of a delimiter.
    pub(crate) fn is_found_at_end(&self) -> bool {
        self.0.iter().any(CutDelimiter::is_whole)
    }
}

/// The delimiter of one cut boundary, found by the Knuth-Morris-Pratt algorithm, which never looks back.
struct CutDelimiter {
    text: Vec<u8>,
    /// For each length of a match, the next shorter match at its end.
    shorter: Vec<usize>,
    is_dashes: bool,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// The number of bytes of the text that have come.
    Matched(usize),
    /// All of the text, which is only dashes, and one more dash.
    OneDashMore,
    /// All of the text, and white space.
    Padding,
    /// A row of dashes, whose start is read as the end of a form.
    ManyDashes,
}

impl CutDelimiter {
    fn new(boundary: &[u8]) -> CutDelimiter {
        let text = [b"--", boundary].concat();
        let mut delimiter = CutDelimiter {
            shorter: vec![0, 0],
            is_dashes: text.iter().all(|b| *b == b'-'),
            progress: Progress::Matched(0),
            text,
        };
        for len in 1..delimiter.text.len() {
            let shorter = delimiter.longer_by(delimiter.shorter[len], delimiter.text[len]);
            delimiter.shorter.push(shorter);
        }
        delimiter
    }

    fn is_whole(&self) -> bool {
        match self.progress {
            Progress::Matched(len) => len == self.text.len(),
            Progress::OneDashMore | Progress::Padding => true,
            Progress::ManyDashes => false,
        }
    }

    /// Reads one byte. Returns true if it is the line break behind a delimiter.
    fn read(&mut self, byte: u8) -> bool {
        let is_whole = self.is_whole();
        self.progress = match (self.progress, byte) {
            (_, b'\r' | b'\n') => Progress::Matched(0),
            // White space in Python's regular expressions.
            (_, b' ' | b'\t' | 0x0b | 0x0c) if is_whole => Progress::Padding,
            (Progress::Matched(_), b'-') if is_whole && self.is_dashes => Progress::OneDashMore,
            (Progress::OneDashMore | Progress::ManyDashes, b'-') => Progress::ManyDashes,
            (Progress::Matched(len), _) => Progress::Matched(self.longer_by(len, byte)),
            (_, _) => Progress::Matched(self.longer_by(0, byte)),
        };
        is_whole && matches!(byte, b'\r' | b'\n')
    }

    /// The length of the match after this byte.
    fn longer_by(&self, mut len: usize, byte: u8) -> usize {
        loop {
            if self.text.get(len) == Some(&byte) {
                return len + 1;
            }
            if len == 0 {
                return 0;
            }
            len = self.shorter[len];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pieces::pieces;
    use super::*;

    fn delimiters(boundary: &str) -> Option<Box<CutDelimiters>> {
        CutDelimiters::of(&Boundary { text: boundary.into(), is_quoted: false })
    }

    #[test]
    fn cut_boundaries() {
        let cases: [(&str, &[&str]); 16] = [
            ("----=_Part_0_123.456", &["----"]),
            ("--==_mimepart_5", &["--"]),
            ("1419===", &["1419"]),
            ("a:b", &["a"]),
            ("a/b", &["a"]),
            ("a?b", &["a"]),
            ("a(b", &["a"]),
            ("a)b", &["a"]),
            ("a*b", &["a"]),
            // Werkzeug's and that of Mojolicious.
            ("a*b=c", &["a*b", "a"]),
            ("a:b=c", &["a", "a:b"]),
            ("*****=", &["*****"]),
            // Nothing is left of it, or all.
            ("====1419====", &[]),
            ("*****1419*****", &[]),
            (":::", &[]),
            ("----WebKitFormBoundaryX'+_-.", &[]),
        ];
        for (boundary, expected) in cases {
            let found = delimiters(boundary).map_or(Vec::new(), |all| {
                all.0.iter().map(|d| String::from_utf8_lossy(&d.text[2..]).into_owned()).collect()
            });
            assert_eq!(found, expected, "{boundary}");
        }
        assert!(CutDelimiters::of(&Boundary { text: b"a:b".to_vec(), is_quoted: true }).is_none());
    }

    #[test]
    fn delimiters_of_cut_boundaries() {
        let found = |boundary: &str, text: &str| {
            let mut delimiters = delimiters(boundary).unwrap();
            delimiters.find(text.as_bytes()).is_some() || delimiters.is_found_at_end()
        };
        for text in
            ["--a\r\n", "--a\n", "--a\r", "--a", "x\r\n--a \t\x0b\x0c\r\n", "x--a\n", "---a\n", "--a--a\n"]
        {
            assert!(found("a=b", text), "{text:?}");
        }
        for text in ["--a=b\r\n", "--ab\n", "-a\n", "--a--", "--a--\r\n", "--a x\n", "--a\0\n", "-- a\n"] {
            assert!(!found("a=b", text), "{text:?}");
        }
        for (dashes, expected) in [(5, false), (6, true), (7, true), (8, false), (9, false), (40, false)] {
            for text in ["{}\r\n", "x\n{}", "x {} \n"] {
                let text = text.replace("{}", &"-".repeat(dashes));
                assert_eq!(found("----=_Part_0", &text), expected, "{text:?}");
            }
        }
        assert!(!found("----=_Part_0", "---------- Forwarded message ----------\r\n------=_Part_0\r\n"));
        assert!(found("a*b=c", "--a\n") && found("a*b=c", "--a*b\n") && !found("a*b=c", "--a*b=c\n"));
    }

    /// The reference: a search at every position.
    fn is_in(boundary: &str, text: &[u8]) -> bool {
        let delimiter = format!("--{boundary}");
        let is_dashes = delimiter.bytes().all(|b| b == b'-');
        (0..text.len()).any(|at| {
            let Some(rest) = text[at..].strip_prefix(delimiter.as_bytes()) else { return false };
            let before = text[..at].iter().rev().take_while(|b| is_dashes && **b == b'-').count();
            before < 2 && {
                let after = rest.iter().find(|b| !b" \t\x0b\x0c".contains(b));
                matches!(after, None | Some(b'\r' | b'\n'))
            }
        })
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same(
            boundary in "[-a]{1,5}",
            text in "[-a \r\n=]{0,40}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut delimiters = delimiters(&format!("{boundary}=")).unwrap();
            let mut start = 0;
            let mut found = None;
            for piece in pieces(text.as_bytes(), &cuts) {
                found = found.or(delimiters.find(piece).map(|at| start + at));
                start += piece.len();
            }
            let expected = is_in(&boundary, text.as_bytes());
            prop_assert_eq!(found.is_some() || delimiters.is_found_at_end(), expected);
            if let Some(at) = found {
                prop_assert!(!is_in(&boundary, &[&text.as_bytes()[..at - 1], b"x"].concat()));
                prop_assert!(is_in(&boundary, &text.as_bytes()[..=at]));
            }
        }
    }
}
