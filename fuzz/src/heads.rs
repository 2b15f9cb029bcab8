//! The heads of HTTP/1 messages: what has to be true of any input, without another reader.

use gatepost::wire::{BodyLength, FieldKind, HeadError, HeaderFields, RequestHead, ResponseHead};

/// A head is read once it is there whole, and never before. It says what its lines say, one by one.
pub fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let whole = head.read(data);
    cuts(data, &whole, |part| RequestHead::default().read(part));
    // The memory of another head makes no difference.
    let mut used = head.clone();
    let _ = used.read(b"PUT /used HTTP/1.0\r\nContent-Length: 3\r\nX: y\r\n\r\n");
    assert_eq!(used.read(data), whole);
    let Ok(Some(length)) = whole else { return };
    assert_eq!((used.method(), used.target()), (head.method(), head.target()));
    assert!(used.fields().iter().eq(head.fields().iter()));
    let text = data[..length].strip_suffix(b"\r\n\r\n").expect("an empty line ends a head");
    let start = text.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let mut lines = lines(&text[start..]);
    let line = lines.next().expect("a request line");
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else { panic!("{}", line.escape_ascii()) };
    // A fragment is left out.
    let target = target.split(|b| *b == b'#').next().unwrap_or_default();
    assert_eq!((method, target), (head.method().as_str().as_bytes(), head.target()));
    assert!(version.len() == 8 && version.starts_with(b"HTTP/1."));
    assert!(is_token(method) && target.iter().all(|b| *b > b' ' && *b != 0x7f));
    let written = lines.map(|line| {
        let colon = line.iter().position(|b| *b == b':').expect("a line is a field");
        (&line[..colon], trimmed(&line[colon + 1..]))
    });
    assert!(written.eq(head.fields().iter().map(|field| (field.name, field.value))));
    check_fields(head.fields());
    let lengths: Vec<&[u8]> = head.fields().all(FieldKind::ContentLength).collect();
    let codings: Vec<&[u8]> = head.fields().all(FieldKind::TransferEncoding).collect();
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    match (&lengths[..], &codings[..]) {
        ([], []) => assert_eq!(head.body_length(), BodyLength::None),
        ([one], []) => assert_eq!(Some(head.body_length()), number(one).map(BodyLength::Known)),
        ([], [one]) => {
            assert!(head.body_length() == BodyLength::Chunked && one.eq_ignore_ascii_case(b"chunked"));
            assert_ne!(version, b"HTTP/1.0");
        }
        _ => panic!("the end is in two places"),
    }
}

/// A head is read once it is there whole, and never before.
pub fn response_head(data: &[u8]) {
    let mut head = ResponseHead::default();
    let whole = head.read(data);
    cuts(data, &whole, |part| ResponseHead::default().read(part));
    let mut used = head.clone();
    let _ = used.read(b"HTTP/1.0 404 No\r\nContent-Length: 3\r\nX: y\r\n\r\n");
    assert_eq!(used.read(data), whole);
    if whole == Ok(None) || whole.is_err() {
        return;
    }
    assert!(used.fields().iter().eq(head.fields().iter()));
    assert!((100..1000).contains(&head.status()));
    assert!(!head.reason().iter().any(|b| is_control(*b)));
    check_fields(head.fields());
    assert_eq!(head.body_length(true), Ok(BodyLength::None));
}

/// Holds the results of all beginnings of `data` against that of the whole.
fn cuts(
    data: &[u8],
    whole: &Result<Option<usize>, HeadError>,
    read: impl Fn(&[u8]) -> Result<Option<usize>, HeadError>,
) {
    let mut invalid = None;
    for end in 0..=data.len().min(1500) {
        let cut = read(&data[..end]);
        match (whole, &cut) {
            (Ok(Some(length)), _) if end >= *length => assert_eq!(cut, Ok(Some(*length)), "{end}"),
            (Ok(_), _) => assert_eq!(cut, Ok(None), "{end}"),
            (Err(_), Ok(found)) => assert!(found.is_none() && invalid.is_none(), "{end}: {invalid:?}"),
            (Err(_), Err(error)) => invalid = Some(*error),
        }
    }
}

fn check_fields(fields: &HeaderFields) {
    for field in fields.iter() {
        assert!(is_token(field.name), "{}", field.name.escape_ascii());
        assert!(!field.value.iter().any(|b| is_control(*b)), "{}", field.value.escape_ascii());
        assert_eq!(trimmed(field.value), field.value);
        assert_eq!(FieldKind::of(field.name), field.kind);
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(2).position(|pair| pair == b"\r\n");
        rest = end.map(|end| &text[end + 2..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_text = |b: &u8| !matches!(b, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |at| at + 1);
    &value[start..end]
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |b: &u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(b);
    !text.is_empty() && text.iter().all(is_tchar)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}
