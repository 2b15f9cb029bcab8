//! The format of the corpus: a text with one message on each line.
//!
//! - `[…]` sets the frame of the lines below it. `%` in the frame is where each of them goes.
//! - `! refused: why` before a line: Gatepost refuses what both others accept. `! more: why`: it accepts what one of them refuses.
//!   `! repaired: why`: it passes a message on without its fault, which the others do not.
//! - `#` begins a comment, `\r \n \t \0 \\ \xHH` are bytes, `\{COUNT TEXT}` is the text that many times, and `\e` is nothing: for a
//!   line that is empty, or begins with one of these marks.

/// A message of the corpus.
#[derive(Clone, Debug)]
pub struct Case {
    /// The line as it is in the corpus.
    pub line: String,
    pub bytes: Vec<u8>,
    pub exception: Option<Exception>,
}

/// A difference that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    Refused,
    More,
    Repaired,
}

/// Reads a corpus.
pub fn read(text: &str) -> Vec<Case> {
    let mut frame = "%";
    let mut exception = None;
    let mut cases = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(new) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            assert_eq!(new.matches('%').count(), 1, "{line}");
            frame = new;
        } else if let Some(mark) = line.strip_prefix("! ") {
            let (kind, why) = mark.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            assert!(why.len() > 10, "{line}: why?");
            exception = Some(match kind {
                "refused" => Exception::Refused,
                "more" => Exception::More,
                "repaired" => Exception::Repaired,
                _ => panic!("{line}"),
            });
        } else {
            let bytes = unescape(&frame.replace('%', line));
            cases.push(Case { line: format!("{line}  in  {frame}"), bytes, exception: exception.take() });
        }
    }
    assert_eq!(exception, None, "a mark without a line");
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = &rest[at + 1..];
        let skip = match escaped.as_bytes()[0] {
            b'r' => push(&mut bytes, b'\r'),
            b'n' => push(&mut bytes, b'\n'),
            b't' => push(&mut bytes, b'\t'),
            b'0' => push(&mut bytes, b'\0'),
            b'\\' => push(&mut bytes, b'\\'),
            b'e' => 1,
            b'x' => push(&mut bytes, u8::from_str_radix(&escaped[1..3], 16).unwrap()) + 2,
            b'{' => {
                let end = escaped.find('}').unwrap_or_else(|| panic!("{text}"));
                let (count, what) = escaped[1..end].split_once(' ').unwrap_or_else(|| panic!("{text}"));
                bytes.extend(unescape(what).repeat(count.parse().unwrap()));
                end + 1
            }
            _ => panic!("{text}: unknown escape"),
        };
        rest = &escaped[skip..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn push(bytes: &mut Vec<u8>, byte: u8) -> usize {
    bytes.push(byte);
    1
}

#[test]
fn escapes_are_read() {
    let cases = read("# nothing\n[a%\\r]\nb\n! refused: a good reason\n\\e#\\x00\\\\\n[%]\n\\{3 x\\t}\n");
    let bytes: Vec<&[u8]> = cases.iter().map(|case| &case.bytes[..]).collect();
    assert_eq!(bytes, [&b"ab\r"[..], b"a#\0\\\r", b"x\tx\tx\t"]);
    assert_eq!(cases[1].exception, Some(Exception::Refused));
}
