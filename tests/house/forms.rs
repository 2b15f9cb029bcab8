//! Forms, however they are cut into chunks: the credential is found, its bytes are masked, and nothing else changes.

use gatepost::wire::{BodyScanner, CallParameters, FormError};
use proptest::prelude::*;
use proptest::sample::Index;

type Outcome = Result<(Option<(Vec<u8>, Vec<u8>)>, Vec<u8>), FormError>;

/// Scans `body` cut at `cuts`: the credential, and what would be forwarded.
fn scan(content_type: &str, body: &[u8], cuts: &[usize]) -> Outcome {
    let mut scanner = BodyScanner::for_content_type(content_type.as_bytes())?.expect("a form's type");
    let mut forwarded = body.to_vec();
    let mut rest = &mut forwarded[..];
    let mut start = 0;
    for cut in cuts.iter().copied().chain([body.len()]) {
        let (chunk, after) = rest.split_at_mut(cut - start);
        scanner.scan(chunk)?;
        (rest, start) = (after, cut);
    }
    let held = scanner.finish()?;
    let found = held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec()));
    Ok((found, forwarded))
}

fn cuts(body: &[u8], indexes: &[Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = indexes.iter().map(|i| i.index(body.len() + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// A body in pieces; those that are marked are values of a credential.
#[derive(Default)]
struct Sample {
    body: Vec<u8>,
    masked: Vec<u8>,
}

impl Sample {
    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.body.extend_from_slice(text.as_ref());
        self.masked.extend_from_slice(text.as_ref());
    }

    fn secret(&mut self, text: impl AsRef<[u8]>) {
        self.body.extend_from_slice(text.as_ref());
        self.masked.resize(self.body.len(), b'x');
    }
}

/// Percent-encodes what must be, and of the rest whatever `also` says.
fn encode(value: &[u8], also: u32) -> String {
    let encoded = |(at, byte): (usize, &u8)| {
        if byte.is_ascii_alphanumeric() && also >> (at % 32) & 1 == 0 {
            char::from(*byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    value.iter().enumerate().map(encoded).collect()
}

fn key(secret: bool) -> impl Strategy<Value = String> {
    let plain = if secret { "api_key" } else { "api_user" };
    prop_oneof![
        4 => Just(plain.to_owned()),
        1 => Just(plain.to_uppercase()),
        1 => Just(plain.replace('_', ".")),
        1 => Just(plain.replace('_', "%5F")),
        1 => Just(format!("{plain}[]")),
        1 => Just(format!("[{plain}]")),
        1 => Just(format!("?]{plain}%5D")),
        1 => Just(plain.replace('a', "%u0061")),
    ]
}

fn indexes() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..12)
}

/// The fields before, between and after those of the credential: names and contents that nearly are something else.
fn others(content: &'static str) -> impl Strategy<Value = [Vec<(String, String)>; 3]> {
    let field = || {
        ("[ab]?(api_)?(use|user_|kei)?[=%4]?", content).prop_filter("no credential", |(name, _)| {
            !["api_user", "api_key"].iter().any(|key| name.starts_with(key))
        })
    };
    let fields = || proptest::collection::vec(field(), 0..4);
    [fields(), fields(), fields()]
}

proptest! {
    #[test]
    fn urlencoded(
        names in (key(false), key(true)),
        values in (proptest::collection::vec(any::<u8>(), 0..12), proptest::collection::vec(any::<u8>(), 0..12)),
        also in any::<u32>(),
        others in others("[%=0-9a-f;+]{0,12}"),
        at in indexes(),
    ) {
        let mut sample = Sample::default();
        let mut add = |others: &[(String, String)], name: &str, value: &str| {
            for (name, value) in others {
                sample.text(format!("{}={value}&", name.replace('=', "")));
            }
            sample.text(format!("{name}="));
            sample.secret(value);
            sample.text("&");
        };
        add(&others[0], &names.0, &encode(&values.0, also));
        add(&others[1], &names.1, &encode(&values.1, also.rotate_left(7)));
        for (name, value) in &others[2] {
            sample.text(format!("&{}={value}", name.replace('=', "")));
        }
        let kind = "application/x-www-form-urlencoded";
        let outcome = scan(kind, &sample.body, &cuts(&sample.body, &at));
        prop_assert_eq!(outcome, Ok((Some(values), sample.masked)));
    }

    #[test]
    fn multipart(
        names in (key(false), key(true)),
        values in ("[^\r\n]{0,12}", "[-b%a]{0,6}"),
        others in others("[-\r\nc]{0,16}"),
        boundary in "[-b]{1,4}",
        padding in "[ \t]{0,2}",
        at in indexes(),
    ) {
        // A boundary must not occur in content; the alphabets above nearly make it.
        let boundary = format!("{boundary}B");
        let mut sample = Sample::default();
        let head = |name: &str| {
            format!("--{boundary}{padding}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n")
        };
        let mut add = |others: &[(String, String)], field: Option<(&str, &str)>| {
            for (name, content) in others {
                sample.text(head(name) + content + "\r\n");
            }
            if let Some((name, value)) = field {
                sample.text(head(name));
                sample.secret(value);
                sample.text("\r\n");
            }
        };
        add(&others[0], Some((&names.0, &values.0)));
        add(&others[1], Some((&names.1, &values.1)));
        add(&others[2], None);
        sample.text(format!("--{boundary}--\r\nepilogue"));
        let kind = format!("multipart/form-data; boundary=\"{boundary}\"");
        let outcome = scan(&kind, &sample.body, &cuts(&sample.body, &at));
        let found = (values.0.into_bytes(), values.1.into_bytes());
        if found.0.windows(boundary.len() + 2).any(|w| w == format!("--{boundary}").as_bytes()) {
            prop_assert!(outcome.is_err());
        } else {
            prop_assert_eq!(outcome, Ok((Some(found), sample.masked)));
        }
    }

    /// Whatever it is, also an error: the cuts make no difference. What was forwarded differs from what came only in
    /// fillers.
    #[test]
    fn any_split_gives_the_same(
        words in proptest::collection::vec(prop::sample::select(vec![
            "--b", "--b\r\n", "--b--", "\r\n", "\n", "\r", "-", " ", "\t", ";", "&", "=", "%", "%61pi_key", "api_user",
            "api_key", "Content-Disposition: form-data; name=", "\"", "filename=x", "x", "\\", "5F", "é", "[", "]", "%u", "0061", "\u{feff}", "\0",
            "\r\n\r\n", "\r\n--b\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\n", "Content-Type: a\r\n",
            "\r\n--b\r\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\n", "\r\n--b--\r\n",
        ]), 0..16),
        multipart in any::<bool>(),
        at in indexes(),
    ) {
        let kind = if multipart { "multipart/form-data; boundary=b" } else { "application/x-www-form-urlencoded" };
        let body = words.concat().into_bytes();
        let whole = scan(kind, &body, &[]);
        prop_assert_eq!(&scan(kind, &body, &cuts(&body, &at)), &whole);
        let every: Vec<usize> = (0..body.len()).collect();
        prop_assert_eq!(&scan(kind, &body, &every), &whole);
        if let Ok((found, forwarded)) = whole {
            prop_assert_eq!(forwarded.len(), body.len());
            prop_assert!(forwarded.iter().zip(&body).all(|(new, old)| new == old || *new == b'x'));
            prop_assert!(found.is_some() || forwarded == body);
            // The other reader of forms, which has the whole body in memory, finds the same.
            let mut parameters = CallParameters::new();
            prop_assert_eq!(parameters.add_body(kind.as_bytes(), &body), Ok(()));
            let held = parameters.credential().unwrap();
            let credential = held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec()));
            prop_assert_eq!(credential, found);
        }
    }
}

/// `npm sendgrid` puts its credentials last: 25 MiB of attachment are passed over fast.
#[test]
fn credentials_after_a_large_attachment() {
    let mut sample = Sample::default();
    sample.text("--b\r\nContent-Disposition: form-data; name=\"files[a]\"; filename=\"a\"\r\n\r\n");
    let line = b"\r\n--\r\n-b\r\r\n--a--".repeat(1024);
    while sample.body.len() < 25 << 20 {
        sample.text(&line);
    }
    for (name, value) in [("api_user", "joe"), ("api_key", "passw0rd")] {
        sample.text(format!("\r\n--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"));
        sample.secret(value);
    }
    sample.text("\r\n--b--\r\n");
    let cuts: Vec<usize> = (0..sample.body.len()).step_by(65_521).collect();
    let (found, forwarded) = scan("multipart/form-data; boundary=b", &sample.body, &cuts).unwrap();
    assert_eq!(found, Some((b"joe".to_vec(), b"passw0rd".to_vec())));
    assert!(forwarded == sample.masked);
}
