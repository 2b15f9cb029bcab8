//! Forms as clients send them, with `b` as the boundary of them all.

use super::http::{Request, request};

pub const URLENCODED: &str = "application/x-www-form-urlencoded";
pub const MULTIPART: &str = "multipart/form-data; boundary=b";

/// A field of a multipart form.
fn part(name: &str, value: &[u8]) -> Vec<u8> {
    let mut part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").into_bytes();
    part.extend_from_slice(value);
    part.extend_from_slice(b"\r\n");
    part
}

pub fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body: Vec<u8> = parts.iter().flat_map(|(name, value)| part(name, value)).collect();
    body.extend_from_slice(b"--b--\r\n");
    body
}

pub fn urlencoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub fn form(path: &str, kind: &str, body: impl Into<Vec<u8>>, chunked: bool) -> Request {
    let request = request("POST", path).header("Content-Type", kind);
    if chunked { request.chunked(body) } else { request.body(body) }
}
