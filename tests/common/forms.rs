//! Forms as clients send them, with `b` as the boundary of them all.

use super::http::{Request, request};

pub const URLENCODED: &str = "application/x-www-form-urlencoded";
pub const MULTIPART: &str = "multipart/form-data; boundary=b";

/// A POST of a body of that type.
pub fn form(path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Request {
    framed(path, kind, body, false)
}

/// The same, in chunks or of a length that is told.
pub fn framed(path: &str, kind: &str, body: impl Into<Vec<u8>>, chunked: bool) -> Request {
    let request = request("POST", path).header("Content-Type", kind);
    if chunked { request.chunked(body) } else { request.body(body) }
}

pub fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A multipart form of these fields.
pub fn multipart(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        field(&mut body, &format!("name=\"{name}\""), value);
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

/// The same for fields of text.
pub fn text_fields(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    String::from_utf8(multipart(&fields)).unwrap()
}

/// An attachment of that size, and the credential after it, as npm `sendgrid` sends them.
pub fn after_attachment(login: &str, size: usize) -> Vec<u8> {
    let (name, password) = login.split_once(':').unwrap();
    let mut body = Vec::with_capacity(size + 1024);
    field(&mut body, "name=\"files[a]\"; filename=\"a\"", &vec![b'a'; size]);
    field(&mut body, "name=\"api_user\"", name.as_bytes());
    field(&mut body, "name=\"api_key\"", password.as_bytes());
    body.extend_from_slice(b"--b--\r\n");
    body
}

fn field(body: &mut Vec<u8>, attributes: &str, value: &[u8]) {
    body.extend_from_slice(format!("--b\r\nContent-Disposition: form-data; {attributes}\r\n\r\n").as_bytes());
    body.extend_from_slice(value);
    body.extend_from_slice(b"\r\n");
}
