use proptest::prelude::*;

use super::*;
use crate::wire::smtp::data::{DataRead, DataReader};

/// The outcome of reading some input.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Vec<u8>,
    fault: bool,
    /// The input behind the end.
    left: Option<Vec<u8>>,
    size: u64,
    may_have_ended: bool,
}

fn read(pieces: &[&[u8]]) -> Outcome {
    let (mut reader, mut content, mut fault, mut left) = (NewlineNormalizer::new(), Vec::new(), false, None);
    for piece in pieces {
        let mut input = *piece;
        loop {
            if let Some(left) = &mut left {
                let left: &mut Vec<u8> = left;
                left.extend_from_slice(input);
                break;
            }
            let before = content.len();
            match reader.read(&mut input, &mut content) {
                NormalizedRead::Content => assert!(content.len() > before),
                NormalizedRead::More => {
                    assert!(input.is_empty() && content.len() == before);
                    break;
                }
                NormalizedRead::End => left = Some(Vec::new()),
                NormalizedRead::Fault => fault = true,
            }
        }
    }
    let may_have_ended = reader.may_have_ended();
    Outcome { content, fault, left, size: reader.size(), may_have_ended }
}

fn whole(text: &str) -> (String, Option<String>) {
    let Outcome { content, fault, left, .. } = read(&[text.as_bytes()]);
    assert!(!fault, "{text:?}");
    let string = |bytes| String::from_utf8(bytes).unwrap();
    (string(content), left.map(string))
}

// Case D5: only CR LF . CR LF ends the message, and LF . CR LF goes out as `..`.
#[test]
fn a_line_end_of_any_kind_becomes_cr_lf_and_only_one_kind_of_end_counts() {
    for (text, content) in [
        (".", ""),
        ("a", "\r\na"),
        ("a\nb", "\r\na\r\nb"),
        ("a\n.\r\nb", "\r\na\r\n..\r\nb"),
        ("a\n.\nb", "\r\na\r\n..\r\nb"),
        ("a\r\n.\nb", "\r\na\r\n..\r\nb"),
        ("\n.\r\nb", "\r\n\r\n..\r\nb"),
        (".\nb", "\r\n..\r\nb"),
        ("a\n\nb\n", "\r\na\r\n\r\nb\r\n"),
        // Dots of a client that stuffs them, and of one that does not.
        ("a\n..\n...b", "\r\na\r\n..\r\n...b"),
        ("a\n.b\n..c", "\r\na\r\n..b\r\n..c"),
        ("a\r\n.b\r\n..c\r\n. d", "\r\na\r\n.b\r\n..c\r\n.. d"),
        // CRs before a LF, and others.
        ("a\r\r\nb\r\r\r\n\r\r\nc", "\r\na\r\nb\r\n\r\nc"),
        ("a\r\n.\r\r\nb", "\r\na\r\n..\r\nb"),
        ("a\rb\r\rc", "\r\na b c"),
        ("a\r.\rb", "\r\na . b"),
        ("a\r\n.\rb\r\n\rc", "\r\na\r\n.. b\r\nc"),
        ("a\n\r.\r\nb", "\r\na\r\n..\r\nb"),
        ("a\r\n\r.\r\nb", "\r\na\r\n..\r\nb"),
        ("a\n\r\n\r\r..b\n\r.c", "\r\na\r\n\r\n..b\r\n..c"),
    ] {
        let end = if text == "." { "\r\n" } else { "\r\n.\r\n" };
        let sent = format!("{text}{end}QUIT\r\n");
        assert_eq!(whole(&sent), (content.to_owned(), Some("QUIT\r\n".to_owned())), "{text:?}");
    }
    for text in ["a\n.\r\n", "a\n.\n", "a\r.\r", "a\r\n.\r", "a\r\n.\n", "a\r\n.\r\r\n", "a\r\n..\r\n", ""] {
        assert_eq!(whole(text).1, None, "{text:?}");
    }
}

// Case D6: a client may believe that it has ended its message.
#[test]
fn a_dot_in_a_line_of_its_own_may_be_meant_as_the_end() {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\n.\n\n", "\r\n.\r\r\n", "\n.\n.\r"] {
        assert!(read(&[format!("a{end}").as_bytes()]).may_have_ended, "{end:?}");
    }
    assert!(read(&[b".\n"]).may_have_ended);
    for text in ["", ".", "\n", "a.\n", "a\n..\n", "a\n.b\n", "a\n. \n", "a\n.", "a\n.\nb", "a\r\n.\r\n"] {
        assert!(!read(&[text.as_bytes()]).may_have_ended, "{text:?}");
    }
}

#[test]
fn size_counts_what_is_passed_on_without_stuffed_dots() {
    // The CR LF before the content takes the place of the one at its end.
    for (text, size) in [
        ("a\n.\r\n\r\n.\r\n", 8),
        ("a\r\n.\r\n", 3),
        ("\n..\r\n.\r\n", 5),
        ("a\rb\r\n.\r\n", 5),
        (".\r\n", 0),
    ] {
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!([read(&[text.as_bytes()]).size, read(&single).size], [size, size], "{text:?}");
    }
}

#[test]
fn the_end_is_taken_together_with_the_content_before_it() {
    let (mut reader, mut out, mut input) = (NewlineNormalizer::new(), Vec::new(), &b"a\nb\r\n.\r\nQUIT"[..]);
    assert_eq!(reader.read(&mut input, &mut out), NormalizedRead::Content);
    assert_eq!((out.as_slice(), input), (&b"\r\na\r\nb"[..], &b"QUIT"[..]));
    assert!(reader.take_end() && !reader.take_end());
}

/// The rule for whole messages: the content with its first CR LF, if it is without NUL, and the input behind the end.
fn model(bytes: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let all = [b"\r\n", bytes].concat();
    let end = all.windows(5).position(|w| w == b"\r\n.\r\n");
    let left = end.map(|end| all[end + 5..].to_vec());
    let content = &all[..end.unwrap_or(all.len())];
    if content.contains(&0) || content.is_empty() {
        return ((!content.contains(&0)).then(Vec::new), left);
    }
    let (mut out, mut follows_crlf) = (Vec::new(), true);
    let text = String::from_utf8([&content[2..], b"\r\n"].concat()).unwrap();
    let text = text.strip_suffix('\n').unwrap();
    for line in text.split('\n') {
        let bare = line.trim_end_matches('\r');
        let ended_by_crlf = bare.len() < line.len();
        let bare_start = bare.trim_start_matches('\r');
        follows_crlf &= bare_start.len() == bare.len();
        let bare = bare_start;
        let is_stuffed = bare.starts_with("..");
        let is_usual = follows_crlf && bare[1.min(bare.len())..].starts_with(|c: char| c > ' ');
        if bare.starts_with('.') && !is_stuffed && !is_usual {
            out.extend_from_slice(b"\r\n.");
        } else {
            out.extend_from_slice(b"\r\n");
        }
        // One blank for CRs in a row.
        let mut bytes: Vec<u8> = bare.bytes().collect();
        bytes.dedup_by(|next, byte| (*next, *byte) == (b'\r', b'\r'));
        out.extend(bytes.into_iter().map(|byte| if byte == b'\r' { b' ' } else { byte }));
        follows_crlf = ended_by_crlf;
    }
    (Some(out), left)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    // Case D5: any split of the input gives what the rule for whole messages gives.
    #[test]
    fn any_split_reads_as_the_model_does(
        bytes in proptest::collection::vec(prop::sample::select(b"\r\r\r\n\n\n....a \0".to_vec()), 0..40),
        clean in any::<bool>(),
        end in any::<bool>(),
        cuts in proptest::collection::vec(0..45_usize, 0..6),
    ) {
        let mut bytes: Vec<u8> = bytes.into_iter().filter(|byte| !clean || *byte != 0).collect();
        if end {
            bytes.extend_from_slice(b"\r\n.\r\n");
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let split = read(&pieces);
        prop_assert_eq!(&split, &read(&[&bytes]));
        let (content, left) = model(&bytes);
        prop_assert_eq!(split.fault, content.is_none());
        prop_assert_eq!(&split.left, &left);
        if let (Some(content), Some(_)) = (&content, &left) {
            prop_assert_eq!(&split.content, content);
        } else if content.is_some() {
            // Bytes that are withheld may become anything.
            for rest in [&b"x\r\n.\r\n"[..], b"\nx\r\n.\r\n"] {
                let (content, _) = model(&[&bytes[..], rest].concat());
                prop_assert!(content.unwrap().starts_with(&split.content));
            }
        }
        if !split.fault {
            // No reader finds an end in it, nor a line end other than CR LF, and SIZE counts what is left of it.
            let again = [&split.content[split.content.len().min(2)..], b"\r\n.\r\n"].concat();
            let (mut strict, mut input) = (DataReader::new(), &again[..]);
            let mut size = 0;
            if !split.content.is_empty() {
                loop {
                    match strict.read(&mut input) {
                        DataRead::Content(_) => size = strict.size(),
                        DataRead::End => break,
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
            }
            prop_assert!(input.is_empty() || split.content.is_empty());
            prop_assert_eq!(split.size, size);
        }
    }

    // Case D5: content that needs nothing passes as it does where nothing is normalized.
    #[test]
    fn content_without_faults_is_the_same_for_both_readers(
        bytes in proptest::collection::vec(prop::sample::select(b"\n\n...ab ".to_vec()), 0..40),
    ) {
        let bytes = String::from_utf8(bytes).unwrap().replace('\n', "\r\n") + "\r\n.\r\n";
        let (mut strict, mut input, mut content) = (DataReader::new(), bytes.as_bytes(), Vec::new());
        loop {
            match strict.read(&mut input) {
                DataRead::Content(piece) => content.extend_from_slice(piece),
                DataRead::End => break,
                // A dot and a blank.
                DataRead::Fault | DataRead::More => return Ok(()),
            }
        }
        let normalized = read(&[bytes.as_bytes()]);
        prop_assert_eq!(normalized.size, strict.size());
        prop_assert_eq!(normalized.content, content);
        prop_assert_eq!(normalized.left.unwrap(), input);
    }
}
