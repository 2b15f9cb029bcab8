//! Ambiguous requests: those that two parsers could read as different ones.

use http::Version;
use http::header::{self, HeaderValue};
use pingora_http::RequestHeader;

/// The reason of a 400 for a request over HTTP/1 whose end, or whose host, another parser could find elsewhere. `None` if none could
/// (RFC 9112 sections 3.2 and 6.3). A recipient may repair some of these. Two that repair them differently allow request smuggling.
///
/// `raw` is the header as it came: pingora accepts a bare LF as the end of a line, and removes a Content-Length that stands beside a
/// Transfer-Encoding.
pub fn ambiguity(request: &RequestHeader, raw: &[u8]) -> Option<&'static str> {
    if memchr::memchr_iter(b'\n', raw).any(|at| at == 0 || raw[at - 1] != b'\r') {
        return Some("Bare LF in the header: each line must end in CR LF");
    }
    let headers = &request.headers;
    if request.version != Version::HTTP_10 && !headers.contains_key(header::HOST) {
        return Some("Missing Host: HTTP/1.1 requires exactly one");
    }
    if let Some(reason) = unclear_host(request) {
        return Some(reason);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|length| !is_number(length.as_bytes())) {
        return Some("Invalid Content-Length: it must be one decimal number");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if !chunked || request.version == Version::HTTP_10 || has_field(raw, b"content-length") {
        return Some(
            "Invalid Transfer-Encoding: it must be `chunked`, once, in HTTP/1.1 and without Content-Length",
        );
    }
    None
}

/// The reason of a 400 for a request of any version that isn't for exactly one valid host. Over HTTP/2 the host may be a field, too,
/// which the backend gets as it came (RFC 9113 section 8.3.1).
pub fn unclear_host(request: &RequestHeader) -> Option<&'static str> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Some("More than one Host");
    }
    // A target that names the host may hold a password, too.
    let host = host.or_else(|| request.uri.authority().map(|authority| authority.as_str().as_bytes()));
    host.is_some_and(|host| !is_host(host)).then_some("Invalid Host")
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    let mut lines =
        raw.split(|b| *b == b'\n').map(|line| line.split(|b| *b == b':').next().unwrap_or_default());
    lines.any(|start| start.eq_ignore_ascii_case(name))
}

fn is_number(text: &[u8]) -> bool {
    (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Returns true if `text` has only the characters of a host with a port (RFC 3986 section 3.2).
fn is_host(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_alphanumeric() || b".-_:[]~%!$&'()*+;=".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: Version, fields: &[(&'static str, &str)]) -> Option<&'static str> {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        request.set_version(version);
        let mut raw = "POST / HTTP/1.1\r\n".to_owned();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
            raw += &format!("{name}: {value}\r\n");
        }
        ambiguity(&request, format!("{raw}\r\n").as_bytes())
    }

    #[test]
    fn one_length_or_one_coding() {
        let host = ("Host", "a.test:80");
        let good: [&[(&str, &str)]; 4] = [
            &[host],
            &[host, ("Content-Length", "0")],
            &[host, ("Transfer-Encoding", "Chunked")],
            &[("Host", "[::1]:8080"), ("Content-Length", "12345")],
        ];
        for fields in good {
            assert_eq!(check(Version::HTTP_11, fields), None, "{fields:?}");
        }
        let bad: [&[(&str, &str)]; 11] = [
            &[],
            &[host, host],
            &[("Host", "a b")],
            &[("Host", "a@b")],
            &[host, ("Content-Length", "1"), ("Content-Length", "1")],
            &[host, ("Content-Length", "1, 1")],
            &[host, ("Content-Length", "+1")],
            &[host, ("Content-Length", "")],
            &[host, ("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
            &[host, ("Transfer-Encoding", "chunked, chunked")],
            &[host, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")],
        ];
        for fields in bad {
            assert!(check(Version::HTTP_11, fields).is_some(), "{fields:?}");
        }
        assert_eq!(check(Version::HTTP_10, &[]), None);
        let mut chunked = RequestHeader::build("POST", b"/", None).unwrap();
        chunked.append_header("Host", "a").unwrap();
        chunked.append_header("Transfer-Encoding", "chunked").unwrap();
        let fields = "Transfer-Encoding: chunked\r\nHost: a\r\n";
        assert_eq!(ambiguity(&chunked, format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes()), None);
        for extra in ["CONTENT-length: 3\r\n", "X-A: b\nX-B: c\r\n", "\n"] {
            assert!(
                ambiguity(&chunked, format!("POST / HTTP/1.1\r\n{fields}{extra}\r\n").as_bytes()).is_some()
            );
        }
        assert!(check(Version::HTTP_10, &[("Transfer-Encoding", "chunked")]).is_some());
    }
}
