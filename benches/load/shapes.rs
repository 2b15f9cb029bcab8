//! The shapes of requests that are compared, and the required figures of each.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;

use super::nginx::Listen;
use super::targets::Kind;

/// The bytes of the attachment of an upload.
const ATTACHMENT: usize = 64 * 1024;

/// How many credentials take turns in uploads, each with a request in the memory of wrk.
const UPLOADERS: usize = 100;

/// A shape of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// GET with Basic.
    Get,
    /// A short urlencoded POST with the credential in it.
    Post,
    /// A multipart form of 64 KiB whose credential comes last.
    Upload,
    /// GET with Basic over TLS.
    Tls,
    /// GET with Basic over HTTP/2 with TLS.
    H2,
    /// GET of a browser by the cookie of its session.
    Cookie,
}

impl Shape {
    /// All, in the order in which they are measured.
    pub const ALL: [Shape; 6] =
        [Shape::Get, Shape::Post, Shape::Upload, Shape::Tls, Shape::H2, Shape::Cookie];

    /// The word of the option that chooses it.
    pub fn option(self) -> &'static str {
        match self {
            Shape::Get => "get",
            Shape::Post => "post",
            Shape::Upload => "upload",
            Shape::Tls => "tls",
            Shape::H2 => "h2",
            Shape::Cookie => "cookie",
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Get => "GET with Basic",
            Shape::Post => "short urlencoded POST with the credential in it",
            Shape::Upload => "multipart form of 64 KiB, the credential comes last",
            Shape::Tls => "GET with Basic over TLS",
            Shape::H2 => "GET with Basic over HTTP/2 with TLS",
            Shape::Cookie => "GET of a browser by the cookie of its session",
        }
    }

    /// Those that are compared with Gatepost, and how many times their CPU time it may need.
    pub fn compared(self) -> &'static [(Kind, f64)] {
        match self {
            Shape::Get => &[(Kind::Plain, 1.2), (Kind::Auth, 0.7), (Kind::Bare, 1.05)],
            Shape::Post => &[(Kind::Plain, 1.6)],
            Shape::Upload => &[(Kind::Plain, 1.3)],
            Shape::Tls => &[(Kind::Auth, 0.7)],
            Shape::H2 => &[(Kind::Auth, 0.95)],
            Shape::Cookie => &[(Kind::Basic, 1.03)],
        }
    }

    /// Returns true if requests of this shape are sent to `kind`.
    pub fn includes(self, kind: Kind) -> bool {
        kind == Kind::Gatepost || self.compared().iter().any(|(other, _)| *other == kind)
    }

    /// The address for requests of this shape.
    pub fn address(self, listen: &Listen) -> SocketAddr {
        match self {
            Shape::Get | Shape::Post | Shape::Upload => listen.clear,
            Shape::Tls | Shape::H2 => listen.tls,
            Shape::Cookie => listen.web,
        }
    }

    /// The shape of the requests that `kind` gets in its place.
    pub fn sent_to(self, kind: Kind) -> Shape {
        if kind == Kind::Basic { Shape::Get } else { self }
    }

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Shape::Get | Shape::Post | Shape::Upload | Shape::Cookie => "http",
            Shape::Tls | Shape::H2 => "https",
        }
    }

    /// The number of `credentials` that take turns.
    pub fn credentials(self, credentials: usize) -> usize {
        match self {
            Shape::Get | Shape::Post | Shape::Tls | Shape::Cookie => credentials,
            Shape::Upload => credentials.min(UPLOADERS),
            Shape::H2 => 1,
        }
    }
}

/// Name and password of one of the credentials.
pub fn credential(number: usize) -> (String, String) {
    (format!("mailer-{number}@example.com"), format!("secret-{number}-of-many"))
}

/// The value of `Authorization` for one of the credentials.
pub fn basic(number: usize) -> String {
    let (name, password) = credential(number);
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A call as an old client makes it, about 240 bytes.
pub fn form(number: usize) -> String {
    let (name, password) = credential(number);
    format!(
        "api_user={}&api_key={password}&to=someone%40example.org&toname=Some+One&from=shop%40example.com\
         &subject=Your+receipt&text=Thank+you+for+your+order.%0AIt+is+on+its+way+and+arrives+in+two+days.",
        name.replace('@', "%40")
    )
}

/// The boundary of uploads.
pub const BOUNDARY: &str = "----------------------------8f14e45fceea167a";

/// The beginning of an upload, the same for all credentials.
pub fn upload_start() -> String {
    let line = "Nothing in this attachment looks like a boundary, and it is long enough.\r\n";
    let mut attachment = line.repeat(ATTACHMENT / line.len() + 1);
    attachment.truncate(ATTACHMENT);
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files[a.txt]\"; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{attachment}\r\n"
    )
}

/// The end of an upload, with one of the credentials.
pub fn upload_end(number: usize) -> String {
    let (name, password) = credential(number);
    let field = |name: &str, value: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}{}--{BOUNDARY}--\r\n", field("api_user", &name), field("api_key", &password))
}
