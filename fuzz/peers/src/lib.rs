//! Other readers of HTTP/1, pingora's and hyper's: what ours accepts, they read in the same way. Where one of them can't, the case has
//! a name in [`Excepted`].

use std::sync::{Arc, Mutex};

use gatepost_fuzz::wire::{BodyLength, ChunkedDecoder, ChunkedItem, RequestHead, ResponseHead};
use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

mod hyper_peer;
mod pingora_peer;

/// A message as a reader found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The method and target, or the status.
    pub start: String,
    /// The fields, by their names in lower case; the values of one name in their order.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// The reasons that a reader is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excepted {
    /// Behind it, the connection belongs to another protocol.
    Tunnel,
    /// The target is none of the forms that are forwarded. The parser of targets refuses it.
    Target,
    /// hyper treats any transfer coding of a response but a last `chunked` as one until the end of the connection. Gatepost ignores
    /// `identity` and empty elements.
    Coding,
    /// pingora compares the authority of an absolute target with Host by their bytes. Gatepost ignores the case of a name.
    Authority,
    /// An interim response, a 204 and a 304 have no body, whatever they announce. The others refuse an invalid announcement.
    NoBody,
    /// pingora doesn't merge equal lengths.
    Lengths,
    /// hyper refuses a response of HTTP/1.0 with a transfer coding. Gatepost reads it, and closes the connection.
    OldCoding,
}

/// The request that follows on the same connection. A reader that finds the end in another place doesn't find it.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";

/// What ours accepts as a whole request, the others accept with the same method, target, fields and body, and they find the next
/// request behind it.
pub fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let Ok(Some(length)) = head.read(data) else { return };
    let Some((body, end)) = body(head.body_length(), &data[length..], true) else { return };
    if excepted_request(&head).is_some() {
        return;
    }
    let ours = Message {
        start: start(head.method(), &encoded(head.target())),
        fields: sorted(head.fields().iter().map(|field| (field.name, field.value))),
        body,
    };
    let adapted = adapted_request(&head, data, length);
    let bytes = [&adapted[..], &data[length..length + end], NEXT].concat();
    let keeps_open = head.keeps_open() && head.version() == Version::HTTP_11;
    for (peer, found) in [
        ("pingora", run(pingora_peer::requests(bytes.clone()))),
        ("hyper", run(hyper_peer::requests(bytes.clone()))),
    ] {
        let shown = bytes.escape_ascii();
        if peer == "pingora" && excepted_for_pingora(&head).is_some() {
            continue;
        }
        assert_eq!(found.first(), Some(&ours), "{peer}: {shown}");
        if let Some(next) = found.get(1) {
            assert_eq!(next.start, "GET /next", "{peer}: {shown}");
        }
        assert!(!keeps_open || found.len() == 2, "{peer} finds no next request: {shown}");
    }
}

fn excepted_request(head: &RequestHead) -> Option<Excepted> {
    let target = head.target();
    let absolute = target.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"http://"));
    if head.method() == "CONNECT" || head.asks_for_websocket() {
        return Some(Excepted::Tunnel);
    }
    let forwarded = target.first() == Some(&b'/') || absolute && http::Uri::try_from(encoded(target)).is_ok();
    (!forwarded).then_some(Excepted::Target)
}

fn excepted_for_pingora(head: &RequestHead) -> Option<Excepted> {
    let host = head.fields().iter().find(|field| field.name.eq_ignore_ascii_case(b"host"));
    let differs = head.authority().is_some_and(|authority| host.is_none_or(|host| host.value != authority));
    differs.then_some(Excepted::Authority)
}

/// The head in a form that the others know: a minor version of 1 or 0, and a target as it is forwarded.
fn adapted_request(head: &RequestHead, data: &[u8], length: usize) -> Vec<u8> {
    let rest = data[..length].iter().skip_while(|byte| matches!(byte, b'\r' | b'\n')).copied();
    let rest: Vec<u8> = rest.skip_while(|byte| *byte != b'\r').collect();
    let minor = if head.version() == Version::HTTP_10 { 0 } else { 1 };
    let line = format!("{} {} HTTP/1.{minor}", head.method(), encoded(head.target()));
    [line.as_bytes(), &rest].concat()
}

/// The method and target. An absolute target is written in one way: hyper adds an empty path.
fn start(method: &http::Method, target: &str) -> String {
    match http::Uri::try_from(target) {
        Ok(uri) if uri.scheme().is_some() => format!("{method} {uri}"),
        _ => format!("{method} {target}"),
    }
}

/// The target with the bytes encoded that a URI may not have.
fn encoded(target: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^' | 0x80.. => format!("%{byte:02X}"),
        _ => char::from(*byte).to_string(),
    };
    target.iter().map(encode).collect()
}

/// What ours accepts as a whole response, the others accept with the same status, fields and body.
pub fn response_head(data: &[u8]) {
    let mut head = ResponseHead::default();
    let (mut at, mut text) = (0, data);
    loop {
        text = text.trim_ascii_start();
        let Ok(Some(length)) = head.read(&data[at..]) else { return };
        at += length;
        if !head.is_interim() {
            break;
        }
        if announces_body(&head) {
            return;
        }
        text = &data[at..];
    }
    let Ok(length) = head.body_length(false) else { return };
    let Some((body, end)) = body(length, &data[at..], false) else { return };
    let ours = Message {
        start: head.status().to_string(),
        fields: sorted(head.fields().iter().map(|field| (field.name, field.value))),
        body,
    };
    let ours = without_overridden_length(ours);
    let bytes = adapted_responses(&data[..at + end]);
    let excepted = excepted_response(&head, text.starts_with(b"HTTP/1.0"));
    if !matches!(excepted, Some(Excepted::Tunnel | Excepted::NoBody | Excepted::Coding | Excepted::Lengths)) {
        let found = run(pingora_peer::response(bytes.clone()));
        assert_eq!(found.as_ref(), Some(&ours), "pingora: {}", bytes.escape_ascii());
    }
    if !matches!(excepted, Some(Excepted::Tunnel | Excepted::NoBody | Excepted::Coding | Excepted::OldCoding))
    {
        let found = run(hyper_peer::response(bytes.clone()));
        let found = found.map(without_overridden_length);
        assert_eq!(found.as_ref(), Some(&ours), "hyper: {}", bytes.escape_ascii());
    }
}

/// Returns true if a response has a field that announces a body: see [`Excepted::NoBody`] for one that has none.
fn announces_body(head: &ResponseHead) -> bool {
    let announcing = [&b"content-length"[..], b"transfer-encoding"];
    head.fields().iter().any(|field| announcing.iter().any(|name| field.name.eq_ignore_ascii_case(name)))
}

/// The message without the length that a transfer coding overrides. pingora leaves it out.
fn without_overridden_length(mut message: Message) -> Message {
    if message.fields.iter().any(|(name, _)| name == "transfer-encoding") {
        message.fields.retain(|(name, _)| name != "content-length");
    }
    message
}

fn excepted_response(head: &ResponseHead, old: bool) -> Option<Excepted> {
    let named = |name: &'static [u8]| {
        head.fields()
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let codings: Vec<&[u8]> = named(b"transfer-encoding").collect();
    let lengths: Vec<&[u8]> = named(b"content-length").collect();
    let is_number =
        |length: &&[u8]| !length.is_empty() && length.len() < 20 && length.iter().all(u8::is_ascii_digit);
    if head.status() == 101 {
        Some(Excepted::Tunnel)
    } else if matches!(head.status(), 204 | 304) && !(codings.is_empty() && lengths.iter().all(is_number)) {
        Some(Excepted::NoBody)
    } else if !codings.is_empty() && !(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked")) {
        Some(Excepted::Coding)
    } else if !codings.is_empty() && old {
        Some(Excepted::OldCoding)
    } else if lengths.len() > 1 || lengths.first().is_some_and(|length| length.contains(&b',')) {
        Some(Excepted::Lengths)
    } else {
        None
    }
}

/// The responses with minor versions of 1 or 0.
fn adapted_responses(data: &[u8]) -> Vec<u8> {
    let (mut adapted, mut at) = (data.to_vec(), 0);
    let mut head = ResponseHead::default();
    while let Ok(Some(length)) = head.read(&data[at..]) {
        let start = at + data[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if let Some(minor @ b'2'..=b'9') = adapted.get_mut(start + 7) {
            *minor = b'1';
        }
        at += length;
        if !head.is_interim() {
            break;
        }
    }
    adapted
}

/// A whole body at the start of `data`, and where it ends.
fn body(length: BodyLength, data: &[u8], of_request: bool) -> Option<(Vec<u8>, usize)> {
    match length {
        BodyLength::None => Some((vec![], 0)),
        BodyLength::Known(length) => {
            let body = data.get(..usize::try_from(length).ok()?)?;
            Some((body.to_vec(), body.len()))
        }
        BodyLength::Chunked => chunked_body(data),
        BodyLength::UntilClose => {
            assert!(!of_request, "a request doesn't end with its connection");
            Some((data.to_vec(), data.len()))
        }
    }
}

fn chunked_body(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut decoder = ChunkedDecoder::new();
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (consumed, item) = decoder.next(&data[at..]).ok()?;
        match item {
            ChunkedItem::Data(range) => body.extend_from_slice(&data[at..][range]),
            ChunkedItem::End => return Some((body, at + consumed)),
            ChunkedItem::NeedMore => return None,
        }
        at += consumed;
    }
}

/// The fields by name. Blanks within a value count as one space: readers unfold lines in their own ways.
fn sorted<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Vec<(String, Vec<u8>)> {
    let words = |value: &[u8]| {
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(&b' ')
    };
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (String::from_utf8_lossy(name).to_ascii_lowercase(), words(value)))
        .collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

fn fields_of(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// A connection on which all of `bytes` have come, and then its end.
async fn connection(bytes: &[u8]) -> (DuplexStream, DuplexStream) {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(bytes).await.expect("there is room for all of it");
    far.shutdown().await.expect("it is open");
    (near, far)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// The rest of a connection.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

type Found = Arc<Mutex<Vec<Message>>>;
