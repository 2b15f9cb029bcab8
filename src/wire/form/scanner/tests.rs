use proptest::prelude::*;

use super::super::cut_boundary::CUT;
use super::super::fields;
use super::super::pieces::pieces;
use super::*;
use crate::wire::credential::CredentialError;

const MULTIPART: &str = "multipart/form-data; boundary=b";

/// Scans in one piece: the credential as `user:secret`, and the masked body.
fn scan(content_type: &str, body: &[u8]) -> Result<(Option<String>, String), FormError> {
    let mut scanner = BodyScanner::for_content_type(content_type.as_bytes())?.unwrap();
    let mut body = body.to_vec();
    scanner.scan(&mut body)?;
    let found = scanner.finish()?.map(|held| {
        let presented = held.presented();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        format!("{}:{}", text(presented.username), text(presented.secret))
    });
    Ok((found, String::from_utf8_lossy(&body).into_owned()))
}

fn urlencoded(body: &str) -> Result<(Option<String>, String), FormError> {
    scan("application/x-www-form-urlencoded", body.as_bytes())
}

fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn found(credential: &str, masked: &str) -> Result<(Option<String>, String), FormError> {
    Ok((Some(credential.to_owned()), masked.to_owned()))
}

#[test]
fn urlencoded_bodies() {
    let cases = [
        ("api_user=joe&api_key=se%63", "joe:sec", "api_user=xxx&api_key=xxxxx"),
        ("a=1&%61pi_key=s;c&b=;x&api%5Fuser=j+e&c", "j e:s;c", "a=1&%61pi_key=xxx&b=;x&api%5Fuser=xxx&c"),
        ("api_user=j&api_key=s&api_user=%6a&api_key=s", "j:s", "api_user=x&api_key=x&api_user=xxx&api_key=x"),
        ("api_key&api_user", ":", "api_key&api_user"),
        ("&&api_key=%4&api_user=%", "%:%4", "&&api_key=xx&api_user=x"),
        ("api_key=s&api_user=;api_key=t", ";api_key=t:s", "api_key=x&api_user=xxxxxxxxxx"),
    ];
    for (body, credential, masked) in cases {
        assert_eq!(urlencoded(body), found(credential, masked), "{body}");
    }
    for body in ["", "a=1&b=2", "apiuser=1&x=api_key=2", "a=1;api_keys;b", "%61pi%5Fke=1"] {
        assert_eq!(urlencoded(body), Ok((None, body.to_owned())), "{body}");
    }
}

#[test]
fn urlencoded_bodies_refused() {
    use CredentialError::*;
    let long = format!("api_key={}", "%41".repeat(4097));
    let cases = [
        ("api_user=joe", NoSecret),
        ("api_key=s&x", NoUsername),
        ("api_user=a&api_key=b&api_user=c", Conflict),
        ("api_user&api_key=b&api_user=c", Conflict),
        ("a=1;api_key=b", Ambiguous),
        ("a;b;+api%5Fkey=b", Ambiguous),
        ("a=1;;api_key=b", Ambiguous),
        (";api_key=b", Ambiguous),
        ("api_ke;api_key=b", Ambiguous),
        ("a=1;api_user;api_key=b", Ambiguous),
        // Without a value, which CGI.pm reads as well.
        ("a=1;api_key;b", Ambiguous),
        ("a=1;api_key&b", Ambiguous),
        ("a=1;api_key", Ambiguous),
        ("api_key;b", Ambiguous),
        ("api_key[;x=s&api_user=j", Ambiguous),
        (&long, TooLong),
    ];
    for (body, expected) in cases {
        assert_eq!(urlencoded(body), Err(expected.into()), "{body}");
    }
}

fn undeclared() -> BodyScanner {
    for kind in [" ", "text/plain", "text/plain;charset=utf-8"] {
        assert!(!BodyScanner::for_content_type(kind.as_bytes()).unwrap().unwrap().is_declared());
    }
    BodyScanner::for_content_type(b"").unwrap().unwrap()
}

#[test]
fn bodies_without_a_type() {
    let scan = |body: &[u8]| {
        let (mut scanner, mut body) = (undeclared(), body.to_vec());
        scanner.scan(&mut body).and_then(|()| Ok((scanner.finish()?.is_some(), body)))
    };
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 7 * 37 % 256) as u8).collect();
    let anything = [&b"&;=%".repeat(10_000)[..], &bytes, b"\0--b\r\n&"].concat();
    assert_eq!(scan(&anything), Ok((false, anything.clone())));
    let form = b"a=1&api_user=joe&api_key=s";
    assert_eq!(scan(form), Ok((true, b"a=1&api_user=xxx&api_key=x".to_vec())));
    assert_eq!(scan(b"a&api_key=s"), Err(CredentialError::NoUsername.into()));
    assert_eq!(scan(b"a;api_key=s;b c"), Err(CredentialError::Ambiguous.into()));
    // A client that sends a form encodes these bytes.
    for text in [
        "GET /a?x=1&api_key=9 200\n",
        "a=1&api_key=9\r\n",
        "{\"url\":\"http://a/?b=1&api_key=s\"}",
        "<a href=\"?b=1&amp;api_key=s\">",
        "api_user = joe",
        "api_key \n",
    ] {
        assert_eq!(scan(text.as_bytes()), Ok((false, text.into())));
    }
    for (body, could) in
        [("a=1&api_k", false), ("a&api_key", true), ("a&api_key=", true), ("api_key=s&b", true)]
    {
        let mut scanner = undeclared();
        scanner.scan(&mut body.as_bytes().to_vec()).unwrap();
        assert_eq!(scanner.could_fail_at_the_end(), could, "{body}");
    }
}

#[test]
fn multipart_bodies() {
    let file = "--b\r\nContent-Disposition: form-data; name=\"files[a]\"; filename=\"a\"\r\n\
                Content-Type: application/octet-stream\r\n\r\n\r\n-\r\n--\r\n-b--\r\n\r\r\n";
    let body = |user: &str, key: &str| {
        format!("{}{file}{}{}--b--\r\n", field("to", "a@b"), field("api_user", user), field("api_key", key))
    };
    assert_eq!(
        scan(MULTIPART, body("joe", "s-\u{fc}").as_bytes()),
        found("joe:s-\u{fc}", &body("xxx", "xxxx"))
    );
    assert_eq!(scan(MULTIPART, body("", "%41+").as_bytes()), found(":%41+", &body("", "xxxx")));
    let framed = |user: &str, key: &str| {
        let last = field("api_user", user) + &field("API_KEY", key).replace("--b", "--b \t");
        format!("preamble\r\n-{}\r\n{}--b--  \r\nepilogue", "-", last)
    };
    assert_eq!(scan(MULTIPART, framed("j", "s").as_bytes()), found("j:s", &framed("x", "x")));
    let nested =
        file.replace("application/octet-stream", "multipart/mixed; boundary=c").replace("\r\n-\r\n", "{}");
    let nested = |text: &str| {
        nested.replace("{}", &text.replace("{}", "Content-Disposition: file; filename=a")) + "--b--"
    };
    for text in ["--c\r\n{}\r\n\r\nx\r\n--c--", "api_key\r\n--c\r\n{}\r\n\r\nx", "api_key"] {
        assert_eq!(scan(MULTIPART, nested(text).as_bytes()), Ok((None, nested(text))));
    }
    let hidden = nested("--c\r\n{}; name=api_key\r\n\r\ns\r\n--c--");
    assert!(matches!(scan(MULTIPART, hidden.as_bytes()), Err(FormError::Malformed(_))));
    for none in ["", "--b--", "--b--\r\n", "\r\n--b--\n", "--b\r\n\r\n--b--", &format!("{file}--b--")] {
        assert_eq!(scan(MULTIPART, none.as_bytes()), Ok((None, none.to_owned())), "{none:?}");
    }
}

#[test]
fn multipart_bodies_refused() {
    let end = "--b--\r\n";
    let both = field("api_user", "j") + &field("api_key", "s");
    let malformed = [
        "x".to_owned(),
        "--c\r\n\r\n\r\n--c--".to_owned(),
        both.clone(),
        format!("{both}--b-"),
        format!("{both}--b-\r\n"),
        format!("{both}--b--x"),
        format!("{both}{end}--b--"),
        format!("{both}{end}\r\n{both}{end}"),
        format!("{both}--bb\r\n\r\n\r\n{end}"),
        format!("{both}--b --\r\n"),
        format!("{}{end}", both.replace("--b\r\n", "--b\n")),
        format!("{}{end}", both.replace("\r\n\r\n", "\n\n")),
        format!("{}{end}", both.replace("\r\n", "\n")),
        format!("{}{both}{end}", &field("api_user", "jim")[5..]),
        format!("cContent-DISPOSITION: form-data; name=a\r\n{both}{end}"),
        format!("{both}{end}{}", &field("api_user", "jim")[5..]),
        format!("{both}--b\r\n\r\n{}{end}", &field("api_user", "jim")[5..]),
        format!("{both}--b \r\n\r\nx\r\n{}{end}", &field("api_user", "jim")[5..]),
        format!("{}{both}{end}", field("file", "x\n--b\r\n")),
        format!("{}{both}{end}", field("file", "x--b")),
        format!("{both}{}{end}", field("x\r\n--b", "1")),
        format!("{both}{}{end}", field("x--b", "1")),
        format!("{both}{}{end}", field("api_key", "s\r\n")),
        format!("{both}{}{end}", field("api_key", "s\n")),
        format!("{both}{}{end}", field("api_key", "s\r")),
        format!("{both}{}{end}", field("api_key", "s--b")),
        format!("{}{end}", field("api_user", "j") + &field("api_key", "--b")),
    ];
    for body in malformed {
        let outcome = scan(MULTIPART, body.as_bytes());
        assert!(matches!(outcome, Err(FormError::Malformed(_))), "{body:?}: {outcome:?}");
    }
    use CredentialError::*;
    let cases = [
        (field("api_user", "j"), NoSecret),
        (field("api_key", "s"), NoUsername),
        (both.clone() + &field("api_key", "t"), Conflict),
        (both.clone() + &field("api.key[]", "t"), Conflict),
        (field("api_key", &"s".repeat(4097)), TooLong),
    ];
    for (body, expected) in cases {
        assert_eq!(scan(MULTIPART, (body + end).as_bytes()), Err(expected.into()));
    }
}

/// Werkzeug takes `b`, or `-`, for the boundary of these.
#[test]
fn multipart_bodies_with_delimiters_of_a_cut_boundary() {
    let scan_of = |boundary: &str, is_quoted: bool, body: &str| {
        let body = body.replace("{}", &format!("--{boundary}"));
        let quote = if is_quoted { "\"" } else { "" };
        let kind = format!("multipart/form-data; boundary={quote}{boundary}{quote}");
        let Ok(MediaType::Multipart { boundary }) = MediaType::read(kind.as_bytes()) else {
            panic!("{kind}")
        };
        let read = fields::multipart(&boundary, body.as_bytes(), |_| Ok::<(), FormError>(()));
        let scanned = scan(&kind, body.as_bytes()).map(drop);
        assert_eq!(read.is_ok(), scanned.is_ok(), "{body}");
        scanned
    };
    let head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";
    let cut = Err(CUT);
    for body in [
        format!("--b\r\n{{}}\r\n{head}1\r\n{{}}--\r\n"),
        format!("x --b \t\n\r\n{{}}\r\n{head}1\r\n{{}}--\r\n"),
        format!("{{}}\r\nX: --b\r\n{head}1\r\n{{}}--\r\n"),
        format!("{{}}\r\n{head}--b\r\n{{}}\r\n{head}\r\n{{}}--\r\n"),
        format!("{{}}\r\n{head}--b\nContent-Type: multipart/mixed; boundary=z\r\n{{}}--\r\n"),
    ] {
        assert_eq!(scan_of("b=c", false, &body), cut, "{body}");
        assert_eq!(scan_of("b=c", true, &body), Ok(()), "{body}");
        assert_eq!(scan_of("c", false, &body), Ok(()), "{body}");
    }
    let of = |content: &str| format!("{{}}\r\n{head}{content}\r\n{{}}--\r\n");
    for content in ["--b--", "--bc", "--b=d", "--b x", "----------", "--b", "1\n--b\n", "--b\n1\n\n2"] {
        assert_eq!(scan_of("b=c", false, &of(content)), Ok(()), "{content}");
        let end = format!("{{}}\r\n{head}1\r\n{{}}--\r\n{content}");
        assert_eq!(scan_of("b=c", false, &end), Ok(()), "{content}");
    }
    // Delimiters, and ends of a form, that end like that of the cut boundary.
    assert_eq!(scan_of("b=--b", false, &of("1")), cut);
    assert_eq!(scan_of("--=b--", false, &(of("1") + "----")), Ok(()));
    assert_eq!(scan_of("====1====", false, &of("--\r\n----\r\n--====\r\n")), Ok(()));
    // Text with dashes is text, unless the next part follows without a blank line.
    let note = |text: &str| of(&format!("Hello\r\n{text}"));
    for text in ["------\r\nJoe", "------\r\nJoe\r\n\r\nPS", "Item\r\n------\r\nA\r\n\r\nB"] {
        assert_eq!(scan_of("----=_Part_0", false, &note(text)), Ok(()), "{text}");
    }
    let two = |text: &str| format!("{{}}\r\n{head}------\r\n{text}\r\n{{}}\r\n{head}2\r\n{{}}--\r\n");
    assert_eq!(scan_of("----=_Part_0", false, &two("Joe\r\n\r\nPS")), Ok(()));
    assert_eq!(scan_of("----=_Part_0", false, &two("Joe")), cut);
}

#[test]
fn multipart_bounds() {
    let parts = |n| "--b\r\n\r\n".repeat(n) + "--b--";
    assert_eq!(scan(MULTIPART, parts(20_000).as_bytes()).unwrap().0, None);
    let head = |n: usize| format!("--b\r\nX: {}\r\n\r\n\r\n--b--", "x".repeat(n - 7));
    assert!(scan(MULTIPART, head(16 * 1024).as_bytes()).is_ok());
    assert_eq!(scan(MULTIPART, head(16 * 1024 + 1).as_bytes()), Err(FormError::PartHeaderTooLarge));
    let endless = format!("--b\r\n{}", "x".repeat(20_000));
    assert_eq!(scan(MULTIPART, endless.as_bytes()), Err(FormError::PartHeaderTooLarge));
}

#[test]
fn of_any_credential() {
    let scan = |content_type: &str, body: &str| {
        let scanner = BodyScanner::for_content_type(content_type.as_bytes()).unwrap().unwrap();
        let (mut scanner, mut body) = (scanner.of_any_credential(), body.as_bytes().to_vec());
        scanner.scan(&mut body).and_then(|()| {
            match scanner.finish() {
                Ok(_) | Err(FormError::Credential(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(String::from_utf8(body).unwrap())
        })
    };
    let (long, masked) = ("s%41".repeat(3000), "x".repeat(12_000));
    let cases = [
        ("api_key=s&a=1".to_owned(), "api_key=x&a=1".to_owned()),
        ("api_user=a&api_user=b;c&d".into(), "api_user=x&api_user=xxx&d".into()),
        ("a=1;api_key=s;b=2&c=3".into(), "a=1;api_key=xxxxx&c=3".into()),
        (";;api_user=a;api_key=s".into(), ";;api_user=xxxxxxxxxxx".into()),
        ("a;api_key;api_user=j".into(), "a;api_key;api_user=x".into()),
        (format!("api_key={long}&a=1"), format!("api_key={masked}&a=1")),
        (format!("a=1;api_key={long}"), format!("a=1;api_key={masked}")),
    ];
    for (body, expected) in cases {
        assert_eq!(scan("application/x-www-form-urlencoded", &body), Ok(expected), "{body}");
    }
    let end = "--b--\r\n";
    for value in ["s", &long] {
        let body = |value: &str| field("api_key", value) + &field("a", "1") + &field("API_KEY", "t") + end;
        let expected = body(&"x".repeat(value.len())).replace("\r\nt\r\n", "\r\nx\r\n");
        assert_eq!(scan(MULTIPART, &body(value)), Ok(expected));
    }
    // What is no form could hide one.
    let broken = field("api_key", "s\r\nt") + end;
    assert!(matches!(scan(MULTIPART, &broken), Err(FormError::Malformed(_))));
}

#[test]
fn an_error_stays() {
    let mut scanner = BodyScanner::for_content_type(MULTIPART.as_bytes()).unwrap().unwrap();
    let error = scanner.scan(&mut b"x--b".to_vec()).unwrap_err();
    assert_eq!(scanner.scan(&mut b"\r\n--b--".to_vec()), Err(error));
    assert_eq!(scanner.finish().unwrap_err(), error);
}

proptest! {
    #[test]
    fn any_split_of_a_body_with_a_cut_boundary_gives_the_same(
        boundary in "[-a]{1,2}[=*][-a]{0,2}",
        body in proptest::collection::vec(
            prop_oneof![
                Just("{}"), Just("\r\n{}\r\n"), Just("{}--\r\n"), Just("Content-Disposition: form-data; name=x"),
                Just("Content-Disposition: form-data; name=api_key\r\n\r\n"), Just("\r\n\r\n"), Just("\r\n"),
                Just("---\r\n"), Just("--a"), Just("--aa\n"), Just("-"), Just(" "), Just("a"),
            ],
            0..12,
        ),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let kind = format!("multipart/form-data; boundary={boundary}");
        let body = body.concat().replace("{}", &format!("--{boundary}"));
        let read = |cuts: &[prop::sample::Index]| {
            let mut scanner = BodyScanner::for_content_type(kind.as_bytes()).unwrap().unwrap();
            let mut masked = Vec::new();
            for piece in pieces(body.as_bytes(), cuts) {
                let mut piece = piece.to_vec();
                scanner.scan(&mut piece)?;
                masked.extend(piece);
            }
            scanner.finish().map(|held| (held.is_some(), masked))
        };
        prop_assert_eq!(read(&[]), read(&cuts));
    }
}
