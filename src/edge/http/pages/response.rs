//! Responses of Gatepost's own pages, each with the fields that protect it (docs/security.md).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::files::PageFile;
use super::origin::{CookieWay, is_local};
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::headers::answer::AnswerHead;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::proxy::exchange::{BrokenOff, Exchange};
use crate::edge::http::respond;
use crate::wire::FieldKind;

/// The policy for pages: nothing but files of their own origin, no frames, forms to their own origin only.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The policy for files. An image that is opened alone runs no script.
const FILE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";

/// The time for which browsers use TLS only, once TLS ended here.
const HSTS: &str = "max-age=31536000";

/// The challenge of a 401 page. No browser knows the scheme, so none shows a password box of its own (RFC 9110 section 11.6.1).
const CHALLENGE: &str = "Cookie realm=\"Gatepost\"";

/// A response with a page, a file, or a redirection.
#[derive(Debug)]
pub struct PageResponse {
    status: u16,
    content_type: &'static str,
    body: Bytes,
    policy: &'static str,
    caching: &'static str,
    fields: Vec<(&'static str, Cow<'static, str>)>,
}

impl PageResponse {
    /// A page. A 401 has a challenge that no browser acts upon.
    pub fn html(status: u16, html: String) -> PageResponse {
        let page = PageResponse::new(status, "text/html; charset=utf-8", html.into());
        if status == 401 { page.with("WWW-Authenticate", CHALLENGE) } else { page }
    }

    /// A redirection to a page that is fetched by GET. `address` is a path with its query, in ASCII.
    pub fn see_other(address: String) -> PageResponse {
        PageResponse::new(303, "text/plain; charset=utf-8", Bytes::new()).with("Location", address)
    }

    /// A file, which browsers keep for good.
    pub fn file(file: &PageFile) -> PageResponse {
        PageResponse {
            policy: FILE_POLICY,
            caching: "public, max-age=31536000, immutable",
            ..PageResponse::new(200, file.content_type, file.content.clone())
        }
    }

    /// A body of another type, such as JSON or text.
    pub fn data(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> PageResponse {
        PageResponse::new(status, content_type, body.into())
    }

    fn new(status: u16, content_type: &'static str, body: Bytes) -> PageResponse {
        let (policy, caching) = (PAGE_POLICY, "no-store");
        PageResponse { status, content_type, body, policy, caching, fields: Vec::new() }
    }

    /// The same without its content, which no flow control of a client over HTTP/2 can delay.
    pub fn without_body(self) -> PageResponse {
        PageResponse { body: Bytes::new(), ..self }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> PageResponse {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds the time after which the client may try again.
    pub fn with_retry_after(self, seconds: u64) -> PageResponse {
        self.with("Retry-After", seconds.to_string())
    }

    /// Sets a session's cookie. Browsers forget it when they are closed; the session itself ends at its own time.
    pub fn with_cookie(self, way: CookieWay, name: &str, value: &str) -> PageResponse {
        let secure = if way == CookieWay::Encrypted { "; Secure" } else { "" };
        let response = self.without_partitioned_cookie(name);
        response.with("Set-Cookie", format!("{name}={value}; Path=/{secure}; HttpOnly; SameSite=Lax"))
    }

    /// Has the browser forget a session's cookie.
    pub fn without_cookie(self, way: CookieWay, name: &str) -> PageResponse {
        let secure = if way == CookieWay::Encrypted { "; Secure" } else { "" };
        let response = self.without_partitioned_cookie(name);
        response.with("Set-Cookie", format!("{name}=; Path=/{secure}; HttpOnly; SameSite=Lax; Max-Age=0"))
    }

    /// Has the browser forget the partitioned cookie of that name. A script can set one beside a session's cookie, and neither the
    /// session's own `Set-Cookie` nor `Clear-Site-Data` removes it. Browsers without partitions take it for the session's cookie, so it
    /// comes before that.
    pub fn without_partitioned_cookie(self, name: &str) -> PageResponse {
        let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned; Max-Age=0";
        self.with("Set-Cookie", format!("{name}=; {attributes}"))
    }

    /// Has the browser drop what it has cached and stored for the origin: for a logout.
    pub fn clearing_site_data(self) -> PageResponse {
        self.with("Clear-Site-Data", "\"cache\", \"storage\"")
    }

    /// Writes the response, and discards what the client still sends.
    pub async fn write(
        self,
        session: &mut ClientSession,
        client: &HttpPeer,
        request_id: &RequestId,
        within: Duration,
    ) -> Exchange {
        let mut answer = AnswerHead::new(self.status, self.content_type, Some(self.body.len()), request_id);
        answer.set_caching(self.caching);
        answer.insert("Content-Security-Policy", self.policy);
        answer.insert("X-Content-Type-Options", "nosniff");
        answer.insert("Cross-Origin-Opener-Policy", "same-origin");
        answer.insert("Cross-Origin-Resource-Policy", "same-origin");
        answer.insert("Referrer-Policy", "same-origin");
        // Browsers keep it for a host and all its ports, which on the same machine are other programs'.
        let head = session.head();
        let host = head.fields().get(FieldKind::Host).or(head.authority()).unwrap_or_default();
        if client.scheme() == "https" && !is_local(host) {
            answer.insert("Strict-Transport-Security", HSTS);
        }
        for (name, value) in self.fields {
            answer.insert(name, value);
        }
        respond::settle(session).await;
        if !respond::write(session, &answer, self.body, within).await {
            return Exchange::BrokenOff(BrokenOff::by_client(self.status));
        }
        respond::drain(session).await;
        Exchange::Answered(self.status)
    }
}
