//! Watches for the parts that exist for parsers that cut an unquoted boundary at its first unusual character.
//!
//! Of `boundary=----=_Part_0`, Werkzeug takes `----`. It ignores the real delimiters, but a line of six dashes inside of a
//! part is a delimiter to it. What follows is a part for Werkzeug, and content for all other parsers. A part needs a header
//! with Content-Disposition. Without one, Werkzeug refuses the whole form and Mojolicious ignores the part, so that the
//! dashes are only text.

use memchr::memchr;

use super::error::FormError;
use super::header_parameters::is_token;
use super::media_type::Boundary;
use super::word_matcher::WordMatcher;

/// The error for a body that such a parser would split.
pub(crate) const CUT: FormError = FormError::Malformed(
    "a line that some parsers take for a boundary, with a part behind it; put the boundary in quotes: boundary=\"…\"",
);

/// Finds, in content that comes in pieces, what these parsers take for a part: a delimiter, and a header that makes a field.
///
/// A delimiter is `--`, the cut boundary, white space, and a line break. Werkzeug finds its first delimiter at any position
/// of a line, so the start of the line doesn't matter. A delimiter with two more dashes ends a form and adds no field.
pub(crate) struct CutParts {
    delimiters: Vec<CutDelimiter>,
    /// The header behind the last delimiter, until it ends.
    header: Option<CutHeader>,
}

impl CutParts {
    /// The parts for all parsers that would cut this boundary; `None` if there are none.
    ///
    /// A parser that is left with no character finds no boundary and reads no form.
    pub(crate) fn of(boundary: &Boundary) -> Option<Box<CutParts>> {
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
        (!delimiters.is_empty()).then(|| Box::new(CutParts { delimiters, header: None }))
    }

    /// Reads the next piece up to the position at which a part certainly exists for one of these parsers. Returns that
    /// position, or `None` at the end of the piece.
    pub(crate) fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < piece.len() {
            let is_idle = self.delimiters.iter().all(|delimiter| delimiter.progress == Progress::Matched(0));
            if is_idle && self.header.is_none() {
                at += memchr(b'-', &piece[at..])?;
            }
            let byte = piece[at];
            let read = self.header.as_mut().map(|header| header.read(byte));
            match read {
                Some(HeaderRead::Field) => return Some(at),
                Some(HeaderRead::End) => self.header = None,
                Some(HeaderRead::More) | None => {}
            }
            let mut is_found = false;
            for delimiter in &mut self.delimiters {
                is_found |= delimiter.read(byte);
            }
            if is_found {
                self.header = Some(CutHeader::after(byte));
            }
            at += 1;
        }
        None
    }
}

/// The header of a part behind a cut delimiter, read until every one of these parsers has found its end.
///
/// Werkzeug's header ends at CR LF CR LF, LF LF or CR CR, and Mojolicious' at the first line without a field, where a line ends at an
/// LF. So it has ended for both at LF LF and at CR LF CR LF behind the line break of the delimiter. A field of the form needs
/// Content-Disposition. Mojolicious also reads the parts of a part that is a multipart itself.
struct CutHeader {
    /// The delimiter ended in CR, so that an LF still belongs to its line break.
    may_skip_lf: bool,
    /// The last four bytes.
    last: u32,
    words: [WordMatcher; 2],
}

enum HeaderRead {
    More,
    /// A field for one of these parsers.
    Field,
    /// The header has ended, without a field.
    End,
}

impl CutHeader {
    /// The header behind a delimiter that `line_break` has ended.
    fn after(line_break: u8) -> CutHeader {
        let words = [WordMatcher::new(b"content-disposition"), WordMatcher::new(b"multipart")];
        CutHeader { may_skip_lf: line_break == b'\r', last: 0, words }
    }

    fn read(&mut self, byte: u8) -> HeaderRead {
        if std::mem::take(&mut self.may_skip_lf) && byte == b'\n' {
            return HeaderRead::More;
        }
        if self.words.iter_mut().any(|word| word.read(byte)) {
            return HeaderRead::Field;
        }
        self.last = self.last << 8 | u32::from(byte);
        let ends = self.last & 0xffff == u32::from_be_bytes(*b"\0\0\n\n")
            || self.last == u32::from_be_bytes(*b"\r\n\r\n");
        if ends { HeaderRead::End } else { HeaderRead::More }
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

    fn parts(boundary: &str) -> Option<Box<CutParts>> {
        CutParts::of(&Boundary { text: boundary.into(), is_quoted: false })
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
            let found = parts(boundary).map_or(Vec::new(), |all| {
                all.delimiters.iter().map(|d| String::from_utf8_lossy(&d.text[2..]).into_owned()).collect()
            });
            assert_eq!(found, expected, "{boundary}");
        }
        assert!(CutParts::of(&Boundary { text: b"a:b".to_vec(), is_quoted: true }).is_none());
    }

    /// Returns true if a delimiter is found, by the field behind it.
    fn found(boundary: &str, text: &str) -> bool {
        parts(boundary).unwrap().find(format!("{text}Content-Disposition").as_bytes()).is_some()
    }

    #[test]
    fn delimiters_of_cut_boundaries() {
        for text in ["--a\r\n", "--a\n", "--a\r", "x\r\n--a \t\x0b\x0c\r\n", "x--a\n", "---a\n", "--a--a\n"] {
            assert!(found("a=b", text), "{text:?}");
        }
        let others =
            ["--a=b\r\n", "--ab\n", "-a\n", "--a--", "--a", "--a--\r\n", "--a x\n", "--a\0\n", "-- a\n"];
        for text in others {
            assert!(!found("a=b", text), "{text:?}");
        }
        for (dashes, expected) in [(5, false), (6, true), (7, true), (8, false), (9, false), (40, false)] {
            for text in ["{}\r\n", "x\n{}\n", "x {} \n"] {
                let text = text.replace("{}", &"-".repeat(dashes));
                assert_eq!(found("----=_Part_0", &text), expected, "{text:?}");
            }
        }
        assert!(!found("----=_Part_0", "---------- Forwarded message ----------\r\n------=_Part_0\r\n"));
        assert!(found("a*b=c", "--a\n") && found("a*b=c", "--a*b\n") && !found("a*b=c", "--a*b=c\n"));
    }

    #[test]
    fn a_delimiter_without_a_field_behind_it_is_text() {
        let is_part = |behind: &str| parts("a=b").unwrap().find(format!("--a{behind}").as_bytes()).is_some();
        for field in [
            "\r\nContent-Disposition",
            "\nX: y\r\ncONTENT-dISPOSITION : form-data",
            "\r\nX: y\r\n folded\r\n\tmore\r\nContent-Disposition: form-data",
            "\r\n \u{a0}Content-Disposition\t: form-data",
            // The line break of the delimiter is no part of a blank line.
            "\r\n\r\nContent-Disposition: form-data",
            "\r\n\nContent-Disposition: form-data",
            "\n\r\nContent-Disposition: form-data",
            "\r\rContent-Disposition: form-data",
            // Blank lines for one of these parsers only.
            "\r\nX: y\r\rContent-Disposition",
            "\r\nX: y\r\r\nContent-Disposition",
            "\r\nX: y\n\r\nContent-Disposition",
            // What looks like another delimiter, or the real one, in the header.
            "\r\n--a=b\r\nContent-Disposition: form-data",
            "\r\nx\r\n--a\r\n\r\nContent-Disposition: form-data",
            "\r\nContent-Content-Disposition",
            // A part whose own parts have the fields.
            "\r\nContent-Type: MultiPart/mixed; boundary=z\r\n\r\n--z\r\nContent-Disposition: form-data",
        ] {
            assert!(is_part(field), "{field:?}");
        }
        for text in [
            "\r\n",
            "\r\nRegards\r\n\r\nContent-Disposition: form-data",
            "\nRegards\n\nContent-Disposition: form-data",
            "\r\nContent-\r\n Disposition: form-data",
            "\r\nContent_Disposition: form-data\r\n\r\n",
            "\r\nContent-Type: text/plain\r\n\r\nmultipart",
        ] {
            assert!(!is_part(text), "{text:?}");
        }
    }

    /// The reference: a search at every position.
    fn is_in(boundary: &str, text: &[u8]) -> bool {
        let delimiter = format!("--{boundary}");
        let is_dashes = delimiter.bytes().all(|b| b == b'-');
        (0..text.len()).any(|at| {
            let Some(rest) = text[at..].strip_prefix(delimiter.as_bytes()) else { return false };
            let before = text[..at].iter().rev().take_while(|b| is_dashes && **b == b'-').count();
            let padding = rest.iter().take_while(|b| b" \t\x0b\x0c".contains(b)).count();
            let line_break = rest[padding..].iter().take_while(|b| b"\r\n".contains(b)).count();
            let header = match &rest[padding..] {
                [b'\r', b'\n', header @ ..] | [b'\r' | b'\n', header @ ..] => header,
                _ => return false,
            };
            let ends = |length: &usize| {
                header[..*length].ends_with(b"\n\n") || header[..*length].ends_with(b"\r\n\r\n")
            };
            let end = (0..=header.len()).find(ends).unwrap_or(header.len());
            let header = header[..end].to_ascii_lowercase();
            let has = |word: &[u8]| memchr::memmem::find(&header, word).is_some();
            before < 2 && line_break > 0 && (has(b"content-disposition") || has(b"multipart"))
        })
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same(
            boundary in "[-a]{1,5}",
            text in "([-a \r\n=]{0,4}|\r\n\r\n|--a{1,3}\r?\n|------\r\n|Content-Disposition|content-|multipart){0,12}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut parts = parts(&format!("{boundary}=")).unwrap();
            let mut start = 0;
            let mut found = None;
            for piece in pieces(text.as_bytes(), &cuts) {
                found = found.or_else(|| parts.find(piece).map(|at| start + at));
                start += piece.len();
            }
            prop_assert_eq!(found.is_some(), is_in(&boundary, text.as_bytes()));
            if let Some(at) = found {
                prop_assert!(!is_in(&boundary, &text.as_bytes()[..at]));
                prop_assert!(is_in(&boundary, &text.as_bytes()[..=at]));
            }
        }
    }
}
