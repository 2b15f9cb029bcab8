use proptest::prelude::*;

use super::*;

fn pass(pieces: &[&[u8]], dots: bool) -> (String, u32) {
    let mut filter = HeaderFilter::new(dots);
    let mut out = Vec::new();
    for piece in pieces {
        let body = filter.pass(piece, &mut out);
        assert!(body.is_empty() || filter.is_over());
        out.extend_from_slice(body);
    }
    filter.finish(&mut out);
    (String::from_utf8(out).unwrap(), filter.hops())
}

fn whole(text: &str, dots: bool) -> String {
    pass(&[text.as_bytes()], dots).0
}

#[test]
fn forged_fields_are_removed() {
    let forged = [
        "X-Gatepost-User: root\r\n",
        "x-gatepost-user:root\r\n",
        "X_Gatepost_User : root\r\n",
        "X-Gatepost-User\t:\r\n root\r\n\troot\r\n",
        "X-Gatepost-User: a\r\n.\troot\r\n",
        ".X-Gatepost-User: root\r\n",
        "X-Gatepost-User: root\n",
        "X-Gatepost-User: root\r",
        "X-Gatepost-User\r\n: root\r\n",
        "X-Gatepost-User: a\r\nX-Gatepost-User: b\r\n",
        "X-Gatepost-User\x0b: root\r\n",
        "X-Gatepost-User\x0c: root\r\n",
        "X-Gatepost-User \x01\x7f : root\r\n",
        "X-Gatepost-User\u{a0}: root\r\n",
    ];
    for line in forged {
        // A name on a line of its own leaves a line that begins with a colon, without a name.
        let left = if line.contains("\r\n: ") { ": root\r\n" } else { "" };
        let text = format!("\r\nA: b\r\n{line}Subject: c\r\n\r\nbody\r\n");
        assert_eq!(whole(&text, true), format!("\r\nA: b\r\n{left}Subject: c\r\n\r\nbody\r\n"), "{line:?}");
    }
    assert_eq!(whole("\r\nA: b\nX-Gatepost-User: x\nC: d\n\n", false), "\r\nA: b\nC: d\n\n");
    assert_eq!(whole("\r\nA: b\rX-Gatepost-User: x\rC: d", false), "\r\nA: b\rC: d");
    assert_eq!(whole("\r\nX-Gatepost-User: x", false), "\r\n");
    // What was the empty line at the end of the header is none any more once the line before it is gone.
    assert_eq!(whole("\r\nA: b\rX-Gatepost-User: x\r\n\r\nX-Gatepost-User: y", false), "\r\nA: b\r\r\n");
    // A lenient backend's header ends here, and a strict one's doesn't.
    assert_eq!(whole("\r\nA: b\n\nX-Gatepost-User: x\r\n\r\nc", false), "\r\nA: b\n\n\r\nc");
}

#[test]
fn forged_fields_behind_bytes_that_some_trim_are_removed() {
    let before = ["\x0c", "\x0b", "\u{a0}", "\x01 \x7f\t", "\x0c\0 ", "\r ", "\n\t", "\r\r ", "\u{2003} "];
    for before in before {
        // What is skipped passes, and so stands before the next line.
        let passed = whole(&format!("\r\nA: b\r\n{before}X-Gatepost-User: root\r\nC: d\r\n"), false);
        assert_eq!(passed, format!("\r\nA: b\r\n{before}C: d\r\n"), "{before:?}");
    }
    for behind in [
        "X-Gatepost\x0c-User: a\r\n",
        "A\x0cX-Gatepost-User: a\r\n",
        "\u{e4}: a\r\n",
        "\x0c \u{e4}\r\n folded\r\n",
    ] {
        let text = format!("\r\nA: b\r\n{behind}Subject: c\r\n\r\nbody\r\n");
        assert_eq!(whole(&text, false), text, "{behind:?}");
    }
}

#[test]
fn other_fields_stay() {
    let good = [
        "X-Gatepost-Users: a\r\n",
        "X-Gatepost-Use: a\r\n",
        "X-Gatepost: a\r\n",
        "X-: a\r\n",
        " X-Gatepost-User: folded\r\n",
        "..X-Gatepost-User: a\r\n",
        "X\r\n",
        "\r\nX-Gatepost-User: in the body\r\n",
        "\r\n\r\nX-Gatepost-User: in the body\r\n",
        ".",
    ];
    for line in good {
        let text = format!("\r\nA: b\r\n{line}Subject: c\r\n\r\nbody\r\n");
        assert_eq!(whole(&text, true), text, "{line:?}");
    }
    assert_eq!(whole("\r\n.X-Gatepost-User: a\r\n", false), "\r\n.X-Gatepost-User: a\r\n");
    assert_eq!(whole("\r\nX-Gatepost-User", true), "\r\nX-Gatepost-User");
}

#[test]
fn nothing_continues_the_fields_of_gatepost() {
    // By DATA and by BDAT.
    for start in [" root\r\n", "\troot\r\n\r\nx", "\x0broot\r\n", "\x0croot", " \r\n\r\nx"] {
        for dots in [false, true] {
            assert_eq!(whole(&format!("\r\n{start}"), dots), format!("\r\n\r\n{start}"), "{start:?}");
        }
        let forged = format!("\r\nX-Gatepost-User: x\r\n{start}");
        assert!(!whole(&forged, false).contains("root"), "{start:?}");
    }
    // By BDAT.
    for start in [
        "\u{a0}root\r\n",
        "\u{feff}A: b\r\n",
        "\0 root\r\n",
        "\r root",
        "\r\r\n",
        "\n root",
        "\r\0 root",
        "\n",
        "\x7f root",
    ] {
        assert_eq!(whole(&format!("\r\n{start}"), false), format!("\r\n\r\n{start}"), "{start:?}");
    }
    for forged in ["X-Gatepost-User: x\r\n", "X-Gatepost-User: x\r\n\tx\n", "X-Gatepost-User:\r\n\0"] {
        for start in ["\r root", "\n root"] {
            assert_eq!(whole(&format!("\r\n{forged}{start}"), false), format!("\r\n\r\n{start}"));
        }
    }
    assert_eq!(whole("\r\nX-Gatepost-User: x\r\n\0 root\r\nA: b", false), "\r\nA: b");
    // An empty line is the end of the header, as always.
    assert_eq!(whole("\r\n\r\n root", true), "\r\n\r\n root");
    assert_eq!(whole("\r\n\r", false), "\r\n\r");
}

#[test]
fn skippable_bytes_hide_no_name() {
    for name in
        ["X-Gatepost-\0User", "\0\0X-Gatepost-User\0", "X-\rGatepost\r\r-User", "\r\0X_Gate\0\r\0post-User"]
    {
        let passed = whole(&format!("\r\nA: b\r\n{name}: root\r\nC: d\r\n"), false);
        let plain = passed.replace(['\0', '\r'], "");
        assert_eq!(plain.trim_start(), "A: b\nC: d\n", "{name:?}");
    }
    assert_eq!(whole("\r\nX-Gatepost\r\n-User: a", false), "\r\nX-Gatepost\r\n-User: a");
    assert_eq!(whole("\r\nX-Gatepost\r", false), "\r\nX-Gatepost\r");
    assert_eq!(whole("\r\nX\r\0X-Gatepost-User: x\r\nA: b", false), "\r\nX\r\0A: b");
    for good in ["X\rY: a\r\n", "X-\0\rGate: a\r\n", "\0\0A: b\r\n", "\0X-\0A: b\r\n"] {
        let text = format!("\r\nA: b\r\n{good}\r\n");
        assert_eq!(whole(&text, false), text);
    }
    let many = format!("X{}-Gatepost-User: root\r\n", "\0".repeat(99));
    assert_eq!(whole(&format!("\r\nA: b\r\n{many}"), false), "\r\nA: b\r\n");
    assert_eq!(pass(&[b"\r\nRe\0ceived: a\r\n\0received: b\r\n"], false).1, 2);
}

#[test]
fn an_mbox_separator_becomes_a_field() {
    let line = "From joe Sat Nov 28 08:00:00 2026\r\n";
    let cases = [
        (format!("{line}A: b\r\n\r\nc"), format!("X-Mailbox-Line: {line}A: b\r\n\r\nc")),
        (format!(">{line}A: b"), format!("X-Mailbox-Line: >{line}A: b")),
        (format!(">>>{line}"), format!("X-Mailbox-Line: >>>{line}")),
        (
            format!("{line}>{line}{line}A: b"),
            format!("X-Mailbox-Line: {line}X-Mailbox-Line: >{line}X-Mailbox-Line: {line}A: b"),
        ),
        // No more of it is looked at than Postfix does.
        ("From ".into(), "X-Mailbox-Line: From ".into()),
        ("From joe\r\n".into(), "X-Mailbox-Line: From joe\r\n".into()),
        // A lone CR ends a line for some only: to others the next separator stands directly behind this one.
        ("From \r.\r\nFrom ".into(), "X-Mailbox-Line: From \r.\r\nX-Mailbox-Line: From ".into()),
        // Content behind it is separated from it as from a field of Gatepost.
        (format!("{line} x"), format!("X-Mailbox-Line: {line}\r\n x")),
        (format!("{line}\tx\r\n"), format!("X-Mailbox-Line: {line}\r\n\tx\r\n")),
        (format!("{line}\r\n x"), format!("X-Mailbox-Line: {line}\r\n x")),
        (
            format!("{line}X-Gatepost-User: root\r\n{line}A: b"),
            format!("X-Mailbox-Line: {line}X-Mailbox-Line: {line}A: b"),
        ),
        (format!("X-Gatepost-User: root\r\n root\r\n{line}A: b"), format!("X-Mailbox-Line: {line}A: b")),
    ];
    for (text, expected) in &cases {
        for dots in [false, true] {
            let pieces: Vec<_> = ["\r\n", text].concat().into_bytes();
            let bytes: Vec<&[u8]> = pieces.chunks(1).collect();
            assert_eq!(whole(&format!("\r\n{text}"), dots), format!("\r\n{expected}"), "{text:?}");
            assert_eq!(pass(&bytes, dots).0, format!("\r\n{expected}"), "{text:?}");
        }
    }
    // The dot is stuffed, and so isn't part of the line.
    assert_eq!(whole(&format!("\r\n.{line}"), true), format!("\r\nX-Mailbox-Line: {line}"));
    assert_eq!(whole(&format!("\r\n.>{line}"), true), format!("\r\nX-Mailbox-Line: >{line}"));
    // A name is recognized behind a separator that ends in a lone CR or LF, and nothing continues that.
    for end in ["\r", "\n"] {
        let text = format!("\r\nFrom a{end}X-Gatepost-User: root{end}From b{end} c");
        let expected = format!("\r\nX-Mailbox-Line: From a{end}X-Mailbox-Line: From b{end}\r\n\r\n c");
        assert_eq!(whole(&text, false), expected);
    }
    let most = ">".repeat(usize::from(QUOTES));
    assert_eq!(whole(&format!("\r\n{most}{line}"), false), format!("\r\nX-Mailbox-Line: {most}{line}"));
}

#[test]
fn lines_that_are_no_mbox_separator_stay() {
    let long = ">".repeat(usize::from(QUOTES) + 1) + "From joe";
    for text in [
        "From: joe\r\n",
        "from joe\r\n",
        "FROM joe\r\n",
        "From\tjoe\r\n",
        "From",
        "Fro",
        ">",
        ">>",
        ">From",
        "> From joe\r\n",
        ">A: b\r\n",
        "A: b\r\nFrom joe\r\n",
        "Received: x\r\nFrom joe\r\n",
        "\r\nFrom joe\r\n",
        "F\rom joe\r\n",
        &long,
    ] {
        assert_eq!(whole(&format!("\r\n{text}"), false), format!("\r\n{text}"), "{text:?}");
    }
    assert_eq!(whole("\r\n..From joe", true), "\r\n..From joe");
    assert_eq!(whole("\r\n.From", true), "\r\n.From");
    assert_eq!(whole("\r\n.From joe", false), "\r\n.From joe");
    assert_eq!(pass(&[b"\r\nFrom joe\r\nReceived: x\r\n"], true).1, 1);
    assert_eq!(whole("\r\nF\rX-Gatepost-User: root\r\nA: b", false), "\r\nF\rA: b");
}

#[test]
fn hops_are_counted() {
    let text = "\r\nReceived: a\r\nreceived : b\r\n\tReceived: c\r\nReceived-SPF: d\r\n.RECEIVED: e\r\n\r\nReceived: f\r\n";
    assert_eq!(pass(&[text.as_bytes()], true), (text.to_owned(), 3));
}

proptest! {
    #[test]
    fn any_split_passes_the_same(
        words in proptest::collection::vec(prop::sample::select(vec![
            "\r", "\n", "\r\n", "\r\n", ".", " ", "\t", "\0", ":", "a", "\x0b", "\x0c", "\x01", "\u{a0}", "X-Gatepost-User", "x-gatepost-user:", "Received:", "_", "X-Gate", "post-User",
            "From ", "From x", ">", "F",
        ]), 0..20),
        cuts in proptest::collection::vec(0..200_usize, 0..6),
        dots in any::<bool>(),
    ) {
        let text = match dots {
            // What DATA lets through.
            true => words.concat().replace("\r\n", "\n").replace(['\r', '\0'], "").replace('\n', "\r\n"),
            false => words.concat(),
        };
        let text = format!("\r\n{text}");
        prop_assume!(!dots || text.split("\r\n.").skip(1).all(|line| !line.starts_with(|c| c <= ' ')));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let passed = pass(&pieces, dots);
        prop_assert_eq!(&passed, &pass(&[text.as_bytes()], dots));
        // For every kind of reader, no forged field is left, and nothing continues the fields of Gatepost.
        let ours = format!("X-Gatepost-User: joe{}", passed.0);
        let bare = ours.replace("\r\n", "\n").replace('\r', "");
        let readings = [
            ours.split("\r\n").map(str::to_owned).collect::<Vec<_>>(),
            ours.replace('\0', "").split("\r\n").map(str::to_owned).collect(),
            ours.replace("\r\n", "\n").split(['\r', '\n']).map(str::to_owned).collect(),
            bare.split('\n').map(str::to_owned).collect(),
            bare.replace('\0', "").split('\n').map(str::to_owned).collect(),
        ];
        // Neither a strict nor a lenient reader sees an mbox separator behind the fields of Gatepost. No other line becomes a field.
        for lines in [&readings[0], &readings[2]] {
            let mut behind = lines[1..].iter().map(|line| if dots { line.strip_prefix('.').unwrap_or(line) } else { line });
            let next = behind.find(|line| !line.starts_with("X-Mailbox-Line: ")).unwrap_or_default();
            prop_assert!(!next.trim_start_matches('>').starts_with("From "), "{:?}", passed.0);
        }
        for lines in readings {
            let mut header = lines.iter().map_while(|line| (!line.is_empty()).then_some(line.as_str()));
            prop_assert_eq!(header.next(), Some("X-Gatepost-User: joe"));
            for (at, line) in header.enumerate() {
                let line = if dots { line.strip_prefix('.').unwrap_or(line) } else { line };
                prop_assert!(at > 0 || !line.starts_with(|c: char| !c.is_ascii_graphic() && c != '\r'), "{:?}", passed.0);
                let continues = line.starts_with([' ', '\t']);
                let name = line.split_once(':').map_or("", |(name, _)| name);
                let name = name.trim_matches(|c: char| !c.is_ascii_graphic());
                prop_assert!(continues || !name.eq_ignore_ascii_case("x-gatepost-user"), "{:?}", passed.0);
            }
        }
    }
}
