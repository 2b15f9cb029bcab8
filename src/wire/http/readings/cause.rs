//! The name of what makes a path ambiguous, for the text of a refusal.

use super::steps::Step;
use crate::wire::http::path::{dots, scripts};
use crate::wire::http::pattern_segment::escaped;

/// The most bytes of a sequence that are shown.
const LONGEST_NAME: usize = 32;

/// The sequence in `written`, the client's path, that leads to a reading by these steps.
pub(super) fn sequence(written: &[u8], steps: &[Step]) -> String {
    // Most often, what is done after decoding says which escape it is.
    let (decoding, others): (Vec<_>, Vec<_>) = steps.iter().partition(|step| **step == Step::Decode);
    let found = others.iter().chain(&decoding).find_map(|step| of_step(written, *step));
    let found = found.or_else(|| escape(written, |_| true));
    let found = found.unwrap_or_else(|| unusual(written));
    // A name may be long. Its end is what counts.
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => byte.escape_ascii().to_string(),
    };
    found[found.len().saturating_sub(LONGEST_NAME)..].iter().map(shown).collect()
}

/// The text that a step changes, as the client wrote it.
fn of_step(written: &[u8], step: Step) -> Option<&[u8]> {
    match step {
        // What comes before the dot segment, which itself is nothing unusual.
        Step::Unresolved => [Step::Parameters, Step::Backslash, Step::MergeSlashes, Step::Ampersand]
            .iter()
            .find_map(|step| of_step(written, *step))
            .or_else(|| written.split(|byte| *byte == b'/').find(|segment| dots(segment).is_some())),
        Step::Decode => {
            let of_path = escape(written, |byte| matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#' | b'&'));
            let others = || escape(written, |byte| matches!(byte, b'%' | b'.' | 0..=b' '));
            of_path.or_else(others)
        }
        Step::WideEscape => {
            let at = written.windows(2).position(|pair| pair[0] == b'%' && pair[1] | 0x20 == b'u')?;
            written.get(at..at + 6)
        }
        Step::Overlong | Step::DropInvalid | Step::UnicodeFold => escape(written, |byte| byte > 0x7f),
        Step::Backslash => either(written, b"\\", b'\\'),
        Step::MergeSlashes | Step::MergeFirst | Step::Authority => either(written, b"//", b'/'),
        Step::Dots | Step::FirstDots | Step::EncodedDots => {
            let escapes = |byte| matches!(byte, b'/' | b'\\' | b'.' | b'%');
            escape(written, escapes).or_else(|| either(written, b"..", b'.'))
        }
        Step::Parameters | Step::ParameterCut => either(written, b";", b';'),
        Step::Query => escape(written, |byte| byte == b'?'),
        Step::Fragment => escape(written, |byte| byte == b'#'),
        Step::Ampersand => either(written, b"&", b'&'),
        Step::Nul => escape(written, |byte| byte == 0),
        Step::Trim | Step::TrimLine => escape(written, |byte| byte <= b' '),
        Step::Breaks => escape(written, |byte| matches!(byte, b'\t' | b'\n' | b'\r')),
        Step::FormFeed => escape(written, |byte| byte == 0x0c),
        Step::LooseEnds => {
            let loose = |segment: &&[u8]| segment.ends_with(b".") && dots(segment).is_none();
            let dot =
                written.split(|byte| *byte == b'/').find(loose).map(|segment| &segment[segment.len() - 1..]);
            dot.or_else(|| escape(written, |byte| matches!(byte, b' ' | b'.')))
        }
        Step::Scheme => {
            let start = written.iter().take_while(|byte| **byte == b'/').count();
            let end = start + memchr::memchr(b':', &written[start..])?;
            Some(&written[start..=end])
        }
        Step::ScriptName => {
            let script = scripts(written).next().map(|script| &written[script]);
            script.or_else(|| escape(written, |byte| byte == b'/'))
        }
    }
}

/// `plain` if the path contains it, else the escape of `byte`, or of the `%` of that.
fn either<'p>(written: &'p [u8], plain: &[u8], byte: u8) -> Option<&'p [u8]> {
    let at = memchr::memmem::find(written, plain);
    let found = at.map(|at| &written[at..at + plain.len()]);
    found
        .or_else(|| escape(written, |other| other == byte))
        .or_else(|| escape(written, |other| other == b'%'))
}

/// The first escape of a byte of that kind.
fn escape(written: &[u8], kind: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let is_wanted = |at: &usize| escaped(&written[*at..]).is_some_and(&kind);
    (0..written.len()).find(is_wanted).map(|at| &written[at..at + 3])
}

/// The first byte that is none of the usual ones.
fn unusual(written: &[u8]) -> &[u8] {
    let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let at = written.iter().position(|byte| !usual(byte)).unwrap_or(0);
    written.get(at..=at).unwrap_or_default()
}
