//! What has to be true of any input: each function is one fuzz target, and `tests/house/seeds.rs` holds the seeds against it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gatepost::config::BareNewline;
use gatepost::domain::{PathPattern, Permission, PermissionEdit, Permissions};
use gatepost::wire::smtp::extensions::ServiceExtensions;
use gatepost::wire::smtp::proxy_protocol::{self, LONGEST as LONGEST_PROXY};
use gatepost::wire::smtp::reply_parser::{self, LONGEST_LINE, LONGEST_REPLY, ReplyError};
use gatepost::wire::smtp::reply_salvage::ReplySalvage;
use gatepost::wire::smtp::session::SessionSettings;
use gatepost::wire::{
    BASIC_BUFFER, BasicBuffer, BasicError, BodyScanner, CallParameters, ChunkedDecoder, ChunkedError,
    ChunkedItem, CredentialsCall, FormError, PathError, ReadingKind, Readings, RequestTarget, RoutePattern,
    basic as read_basic, is_ordinary, normalize, sends_mail, take_credential, without_credential,
};

use super::driver::{Delivered, Driver, settings};

#[path = "chunked_reference.rs"]
mod chunked_reference;
#[path = "heads.rs"]
mod heads;
#[path = "name_reference.rs"]
mod name_reference;
#[path = "own_pages.rs"]
mod own_pages;
#[path = "readings_model.rs"]
mod readings_model;

pub use heads::{request_head, response_head};
pub use own_pages::{next_address, own_cookies};

/// What is read is what a JSON value of the text says.
pub fn permissions(text: &str) {
    let mut parameters = CallParameters::new();
    if parameters.add_query(text.as_bytes()).is_ok() {
        let _ = parameters.permissions();
    }
    let Ok(edit) = PermissionEdit::from_json(text) else { return };
    let value: serde_json::Value = serde_json::from_str(text).expect("it was read");
    let object = value.as_object().expect("nothing else is read");
    assert_eq!(object.len(), edit.named().iter().count());
    for permission in Permission::ALL {
        let written = object.get(permission.as_str()).map(|v| v.as_u64().expect("0 or 1"));
        assert_eq!(edit.named().contains(permission), written.is_some());
        assert_eq!(edit.granted().contains(permission), written == Some(1));
        assert_eq!(edit.for_new().contains(permission), written != Some(0));
    }
    assert!(edit.apply(Permissions::NONE) == edit.granted());
}

/// Decodes as the reference does, and what the reference encodes is read.
pub fn basic(data: &[u8]) {
    let mut buffer = BasicBuffer::default();
    if let Ok(presented) = read_basic(data, &mut buffer) {
        let text = std::str::from_utf8(data).expect("base64 is ASCII").trim();
        let encoded = text[5..].trim().trim_end_matches('=').to_owned();
        let padding = "=".repeat((4 - encoded.len() % 4) % 4);
        let decoded = BASE64_STANDARD.decode(encoded + &padding).expect("the reference reads it");
        assert_eq!(decoded, [presented.username, b":", presented.secret].concat());
        assert!(!presented.username.contains(&b':'));
    }
    let header = format!("Basic {}", BASE64_STANDARD.encode(data));
    match read_basic(header.as_bytes(), &mut buffer) {
        Ok(presented) => assert_eq!(data, [presented.username, b":", presented.secret].concat()),
        Err(BasicError::TooLong) => assert!(data.len() > BASIC_BUFFER - 3),
        Err(error) => assert!(error == BasicError::Malformed && !data.contains(&b':')),
    }
}

/// Any cut of a chunked body gives the same data and the same verdict at the same byte, a simple reader agrees, and nothing is
/// valid again once it is invalid.
pub fn chunked(data: &[u8]) {
    use chunked_reference::Body;
    let mut whole = ChunkedDecoder::new();
    let (expected, decoded) = decode(&mut whole, data);
    let mut pieces = ChunkedDecoder::new();
    let (mut read, mut decoded_pieces, mut error) = (0, Vec::new(), None);
    // The cuts come from the input itself.
    for (at, byte) in data.iter().enumerate() {
        if (byte % 3 > 0 && at + 1 < data.len()) || at < read {
            continue;
        }
        let (found, piece) = decode(&mut pieces, &data[read..=at]);
        decoded_pieces.extend(piece);
        match found {
            Ok(count) => read += count,
            Err(found) => {
                error = Some(found);
                break;
            }
        }
        if pieces.is_complete() {
            break;
        }
    }
    assert_eq!((error.map_or(Ok(read), Err), pieces.is_complete()), (expected, whole.is_complete()));
    let (verdict, read_simply) = chunked_verdict(data);
    assert!(decoded == read_simply && decoded_pieces == read_simply, "other data");
    match verdict {
        Body::Whole(length) => assert!(whole.is_complete() && length == read),
        Body::Beginning => assert!(error.is_none() && !whole.is_complete()),
        Body::Invalid => assert!(error.is_some_and(|error| pieces.next(b"0\r\n\r\n") == Err(error))),
    }
}

/// The number of bytes of `input` that belong to the body, or the error; and the data until then.
fn decode(decoder: &mut ChunkedDecoder, input: &[u8]) -> (Result<usize, ChunkedError>, Vec<u8>) {
    let (mut read, mut data) = (0, Vec::new());
    loop {
        match decoder.next(&input[read..]) {
            Ok((consumed, ChunkedItem::Data(range))) => {
                assert!(!range.is_empty() && range.end == consumed, "data is read to its end");
                data.extend_from_slice(&input[read..][range]);
                read += consumed;
            }
            Ok((consumed, item)) => {
                read += consumed;
                assert!(item == ChunkedItem::End || read == input.len(), "there is more to read");
                return (Ok(read), data);
            }
            Err(error) => return (Err(error), data),
        }
    }
}

/// What the simple reader says. It looks at whole lines, so what it takes for a beginning may be invalid: then no end of a
/// line makes it a body.
fn chunked_verdict(data: &[u8]) -> (chunked_reference::Body, Vec<u8>) {
    use chunked_reference::{Body, read};
    let (verdict, decoded) = read(data);
    if verdict == Body::Beginning && ChunkedDecoder::new().validate(data).is_err() {
        for end in ["\r\n", "\n", "\r\n\r\n", "0\r\n\r\n", "\"\r\n\r\n", ":\r\n\r\n"] {
            let ended = read(&[data, end.as_bytes()].concat()).0;
            assert!(!matches!(ended, Body::Whole(_)), "{end:?} makes it a body");
        }
        return (Body::Invalid, decoded);
    }
    (verdict, decoded)
}

/// A header is read once it is there whole, never before; what follows it doesn't matter; and it is no longer than it may be.
pub fn proxy_protocol(data: &[u8]) {
    let whole = proxy_protocol::parse(data);
    let len = match whole {
        Ok(Some(header)) => header.len,
        Ok(None) => data.len() + 1,
        Err(_) => data.len(),
    };
    assert!(!matches!(whole, Ok(Some(_))) || len <= data.len().min(LONGEST_PROXY));
    assert!(whole != Ok(None) || data.len() < LONGEST_PROXY);
    for end in 0..data.len().min(LONGEST_PROXY + 1) {
        let cut = proxy_protocol::parse(&data[..end]);
        match (whole, cut) {
            (Err(_), cut) => assert!(matches!(cut, Ok(None) | Err(_)), "{end}"),
            (_, cut) if end < len => assert_eq!(cut, Ok(None), "{end}"),
            (whole, cut) => assert_eq!(cut, whole, "{end}"),
        }
    }
}

/// A field is a credential exactly if the rule says so of its name, in a query, an urlencoded form, or a multipart form.
pub fn field_names(text: &[u8]) {
    let name = |field: &[u8]| field.split(|b| *b == b'=').next().unwrap_or_default().to_vec();
    let mut fields = text.split(|b| matches!(b, b'&' | b';'));
    let has_credential = fields.any(|field| name_reference::is_credential(&name(field)));
    assert_eq!(!matches!(take_credential(text), Ok(None)), has_credential);
    let without = without_credential(text);
    assert_eq!(without.is_some(), has_credential);
    assert!(without.is_none_or(|rest| matches!(take_credential(&rest), Ok(None))));
    let scanner =
        |kind: &str| BodyScanner::for_content_type(kind.as_bytes()).expect("a form").expect("a form");
    let is_found = |kind: &str, body: &[u8]| {
        let mut masked = body.to_vec();
        let is_found = !matches!(scanner(kind).mask_in_place(&mut masked), Ok(None));
        assert!(is_found || masked == body);
        is_found
    };
    assert_eq!(is_found("application/x-www-form-urlencoded", text), has_credential);
    // A client that sends a form encodes these bytes; with them it is text.
    if !text.iter().any(|b| b"\r\n \"".contains(b)) {
        assert_eq!(is_found("text/plain", text), has_credential);
    }
    // Names that need no quoting, that no library decodes further, and that hold no boundary.
    let holds = |word: &[u8]| text.windows(word.len()).any(|at| at == word);
    let is_unusual = text.iter().any(|b| *b < b' ' || *b == 0x7f || b"\"\\".contains(b));
    if is_unusual || holds(b"=?") || holds(b"--b") {
        return;
    }
    let parts: [&[u8]; 3] =
        [b"--b\r\nContent-Disposition: form-data; name=\"", text, b"\"\r\n\r\nx\r\n--b--\r\n"];
    let is_dropped = |b: &u8| b" '/".contains(b);
    let start = text.iter().position(|b| !is_dropped(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_dropped(b)).map_or(start, |at| at + 1);
    let is_credential = name_reference::is_credential(&text[start..end]);
    let is_found = is_found("multipart/form-data; boundary=b", &parts.concat());
    // A name that only contains one, and could hide it, is refused as well.
    assert!(is_found || !is_credential);
    assert!(
        !is_found
            || is_credential
            || text.to_ascii_lowercase().windows(3).any(|word| word == b"api")
            || text.contains(&b'%')
    );
}

/// What is left holds no credential, and is what came without some of its parameters.
pub fn query(query: &[u8]) {
    let taken = take_credential(query);
    let mut parameters = CallParameters::new();
    let all = parameters.add_query(query).is_ok().then(|| parameters.credential());
    match taken {
        Err(_) => {}
        Ok(None) => assert!(all.is_none_or(|credential| matches!(credential, Ok(None)))),
        Ok(Some(taken)) => {
            assert!(matches!(take_credential(&taken.rest), Ok(None)));
            let mut came = query.split(|b| *b == b'&');
            let kept: Vec<&[u8]> = taken.rest.split(|b| *b == b'&').collect();
            let all_left_in_order = kept.iter().all(|piece| came.any(|other| other == *piece));
            assert!(taken.rest.is_empty() || all_left_in_order);
            if let Some(all) = all {
                let all = all.expect("as the query's").expect("there is one");
                assert_eq!(all.presented().username, taken.credential.presented().username);
                assert_eq!(all.presented().secret, taken.credential.presented().secret);
            }
        }
    }
}

/// A normalized path is its own normalized path, and differs from the client's only where it has to.
pub fn path(data: &[u8]) {
    let Ok(target) = RequestTarget::split(data) else { return };
    let normalized = match normalize(target.path) {
        Ok(normalized) => normalized,
        Err(error) => return assert_ne!(error, PathError::NotAPath),
    };
    assert!(normalized.starts_with('/') && normalized.is_ascii());
    assert!(!normalized.contains("/../") && !normalized.contains("/./"));
    assert_eq!(normalize(normalized.as_bytes()), Ok(normalized.clone()));
    let _ = CredentialsCall::from_path(&normalized);
    if let Ok(pattern) = PathPattern::parse(&normalized) {
        let pattern = RoutePattern::new(&pattern);
        let path = normalized.as_bytes();
        assert!(pattern.matches(path) && pattern.covers(path) && pattern.covers(&path.to_ascii_uppercase()));
    }
}

/// Every path that three functions of servers make of a path, in any order, is one of its readings. An ordinary path has none.
pub fn readings(data: &[u8]) {
    let path = [b"/", data].concat();
    let Ok(normalized) = normalize(&path) else { return };
    let found = Readings::of(&path, &normalized);
    // The model is slow.
    let Some(expected) =
        readings_model::compose(&normalized.as_bytes()[..normalized.len().min(64)], 3, false)
    else {
        return;
    };
    if normalized.len() > 64 {
        return;
    }
    let Ok(found) = found else { return };
    for reading in expected.keys().filter(|reading| reading[..] != *normalized.as_bytes()) {
        assert!(!is_ordinary(&path), "{} is {}", path.escape_ascii(), reading.escape_ascii());
        let mut all = found.iter().filter(|found| found.kind != ReadingKind::Folded);
        assert!(
            all.any(|found| found.path == *reading),
            "{} is {}",
            path.escape_ascii(),
            reading.escape_ascii()
        );
    }
    for reading in found.iter() {
        assert!(reading.path.starts_with(b"/"));
        assert!(found.ambiguity(reading).to_string().is_ascii());
    }
    let sends = |path: &[u8]| sends_mail(&path.to_ascii_lowercase());
    let by_model = expected.keys().any(|path| sends(path));
    assert!(!by_model || sends(normalized.as_bytes()) || found.iter().any(|found| sends(&found.path)));
}

/// [`check_form`], with the cuts in front.
pub fn urlencoded(data: &[u8]) {
    let (cuts, body) = data.split_at(data.len().min(3));
    check_form(b"application/x-www-form-urlencoded", body, cuts);
}

/// [`check_form`], with the cuts in front. A first line that isn't empty gives the attributes of the Content-Type.
pub fn multipart(data: &[u8]) {
    let (cuts, rest) = data.split_at(data.len().min(3));
    let end = rest.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (line, body) = rest.split_at(end);
    let attributes = if line.is_empty() { b"boundary=b" } else { line };
    let content_type = [b"multipart/form-data; ", attributes].concat();
    check_form(&content_type, body.strip_prefix(b"\n").unwrap_or(body), cuts);
}

/// Any cut gives the same replies, and what is passed on is what was read: it can be read again, as one reply.
pub fn smtp_reply(bytes: &[u8], cuts: &[u8]) {
    let (replies, error, left) = read_replies(bytes, &[]);
    let (again, other_error, other_left) = read_replies(bytes, cuts);
    assert_eq!((&replies, error.is_some(), left), (&again, other_error.is_some(), other_left));
    for written in replies {
        let read = reply_parser::parse(&written).expect("what is written is a reply").expect("all of it");
        assert_eq!(read.1, written.len());
    }
    let mut whole = ReplySalvage::default();
    let mut pieces = ReplySalvage::default();
    whole.read(bytes);
    let step = cuts.first().map_or(1, |cut| usize::from(*cut).max(1));
    bytes.chunks(step).for_each(|piece| {
        pieces.read(piece);
    });
    assert_eq!(whole.reply(), pieces.reply());
}

/// What a client says gives the same replies and messages however it is cut, and the driver watches that a backend is asked
/// for valid transactions of somebody who may only; on a listener that normalizes line ends, and on one that does not. What a backend says is read the same however much of it is there.
pub fn smtp_session(data: &[u8]) {
    let Some((cuts, bytes)) = data.split_at_checked(3) else { return };
    // Bytes behind STARTTLS are an error if they are there, and a handshake if they aren't yet.
    for bare_newline in BareNewline::ALL {
        hold_session(cuts, bytes, &SessionSettings { bare_newline, ..settings() });
    }
    let read = reply_parser::parse(bytes);
    if let Ok(Some((reply, len))) = &read {
        assert!((200..600).contains(&reply.code()) && *len <= bytes.len());
        assert_eq!(reply_parser::parse(&bytes[..*len]), read);
        assert_eq!(reply_parser::parse(&bytes[..*len - 1]), Ok(None));
    }
}

/// The checks of [`smtp_session`] for a listener with these settings.
fn hold_session(cuts: &[u8], bytes: &[u8], settings: &SessionSettings) {
    if !bytes.windows(8).any(|w| w.eq_ignore_ascii_case(b"STARTTLS")) {
        let mut whole = Driver::new(settings.clone());
        let mut split = Driver::new(settings.clone());
        whole.feed(bytes);
        let cuts = cuts.iter().map(|cut| usize::from(*cut).min(bytes.len()));
        let mut cuts: Vec<usize> = cuts.chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            split.feed(&bytes[pair[0]..pair[1]]);
        }
        let loses = bytes.windows(4).any(|w| w == b"lost");
        assert_eq!(whole.comparable(loses), split.comparable(loses));
        assert_eq!((&whole.delivered, whole.closed), (&split.delivered, split.closed));
        for message in &whole.delivered {
            assert!(!message.content.starts_with(b".\r\n") && message.content.starts_with(b"Received: "));
            let ended = message.content.windows(5).any(|w| w == b"\r\n.\r\n");
            assert!(message.chunked || !ended, "an end within a message");
            let line_ends = message.content.windows(2).filter(|w| w == b"\r\n").count();
            let bytes = message.content.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
            assert!(message.chunked || bytes == 2 * line_ends, "a line end other than CR LF");
            assert!(message.chunked || !message.content.contains(&0));
            assert!(!begins_as_in_an_mbox(message), "the first line is taken for the end of the header");
        }
    } else {
        Driver::new(settings.clone()).feed(bytes);
    }
}

/// Whether a line that separates messages in an mbox stands directly behind the lines that are ours.
fn begins_as_in_an_mbox(message: &Delivered) -> bool {
    let text = String::from_utf8_lossy(&message.content);
    let is_ours = |line: &str| line.starts_with("X-Gatepost-User: ") || line.starts_with("X-Mailbox-Line: ");
    let line = text.split("\r\n").skip(1).find(|line| !line.starts_with(['\t', ' ']) && !is_ours(line));
    let line = line.unwrap_or_default();
    let line = if message.chunked { line } else { line.strip_prefix('.').unwrap_or(line) };
    line.trim_start_matches('>').starts_with("From ")
}

/// Username and secret.
type Credential = (Vec<u8>, Vec<u8>);

/// A credential that was found, and what would be forwarded.
type Scanned = (Option<Credential>, Vec<u8>);

/// Scans `body` in pieces whose lengths are `cuts`, over and over: the credential, and what would be forwarded.
fn scan(content_type: &[u8], body: &[u8], cuts: &[u8]) -> Result<Scanned, FormError> {
    let Some(mut scanner) = BodyScanner::for_content_type(content_type)? else {
        return Ok((None, body.to_vec()));
    };
    let mut forwarded = body.to_vec();
    let mut rest = &mut forwarded[..];
    let mut lengths = cuts.iter().map(|cut| usize::from(*cut)).cycle();
    while !rest.is_empty() {
        let len = lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (chunk, after) = rest.split_at_mut(len);
        scanner.scan(chunk)?;
        rest = after;
    }
    let held = scanner.finish()?;
    Ok((held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec())), forwarded))
}

/// What has to be true of any form: cuts make no difference, only values change, a second look finds only fillers, and
/// the reader that has the whole body finds the same credential.
fn check_form(content_type: &[u8], body: &[u8], cuts: &[u8]) {
    let whole = scan(content_type, body, &[]);
    assert_eq!(scan(content_type, body, &[1]), whole);
    assert_eq!(scan(content_type, body, cuts), whole);
    let Ok((found, forwarded)) = whole else { return };
    assert_eq!(forwarded.len(), body.len());
    assert!(forwarded.iter().zip(body).all(|(new, old)| new == old || *new == b'x'));
    if let Some(again) = scan(content_type, &forwarded, &[]).expect("a masked form is one").0 {
        let fillers = |value: &[u8]| value.iter().all(|b| *b == b'x');
        assert!(found.is_some() && fillers(&again.0) && fillers(&again.1));
    }
    let mut parameters = CallParameters::new();
    if parameters.add_body(content_type, body).is_ok() {
        let held = parameters.credential().expect("as the scanner");
        assert_eq!(held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec())), found);
        let _ = parameters.permissions();
    }
}

/// All replies, read as the bytes come in pieces of these lengths; and the error that ended it, and what is left.
fn read_replies(bytes: &[u8], cuts: &[u8]) -> (Vec<Vec<u8>>, Option<ReplyError>, usize) {
    let (mut buffer, mut replies, mut rest) = (Vec::new(), Vec::new(), bytes);
    let mut lengths = cuts.iter().map(|cut| usize::from(*cut)).cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        loop {
            match reply_parser::parse(&buffer) {
                Ok(Some((reply, taken))) => {
                    assert!(taken <= buffer.len() && (200..600).contains(&reply.code()));
                    let mut written = Vec::new();
                    reply.write(&mut written);
                    replies.push(written);
                    let _ = ServiceExtensions::parse(&reply);
                    buffer.drain(..taken);
                }
                Ok(None) => break,
                Err(error) => return (replies, Some(error), 0),
            }
        }
        while let Some(surplus) = reply_parser::surplus(&buffer) {
            buffer.drain(surplus);
        }
        assert!(buffer.len() <= LONGEST_REPLY + 2 * LONGEST_LINE + 4);
    }
    (replies, None, buffer.len())
}
