//! The kinds of requests: the navigation of a browser can be answered with a page, and anything else can't.

use http::Method;

use crate::wire::{CONSOLE_COOKIE, FieldKind, GATE_COOKIE, RequestHead, cookies, without_prefix};

/// The kind of a request, by how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A browser that shows the response, by GET or HEAD.
    Navigation,
    /// A browser that shows the response to a form or another unsafe method.
    UnsafeNavigation,
    /// A script or another part of a page, and a WebSocket of one. A Basic challenge would open a password box of the browser.
    PagePart,
    /// A program other than a browser.
    Program,
}

impl Requester {
    /// The kind of a request. `Accept` alone doesn't tell it: scripts of pages send `*/*`, as programs do.
    pub fn of(request: &RequestHead) -> Requester {
        let fields = request.fields();
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        match fields.named("sec-fetch-mode").next() {
            Some(mode) if mode.trim_ascii().eq_ignore_ascii_case(b"navigate") => match is_safe {
                true => Requester::Navigation,
                false => Requester::UnsafeNavigation,
            },
            _ if has_metadata(request) => Requester::PagePart,
            _ if is_safe && accepts_html(request) && !fields.contains(FieldKind::Upgrade) => {
                Requester::Navigation
            }
            _ if fields.contains(FieldKind::Origin)
                || fields.named("x-requested-with").next().is_some()
                || has_own_cookie(request) =>
            {
                Requester::PagePart
            }
            _ => Requester::Program,
        }
    }

    /// Returns true if the response is shown to a person.
    pub fn sees_pages(self) -> bool {
        matches!(self, Requester::Navigation | Requester::UnsafeNavigation)
    }
}

/// Returns true if a request has a field of `Sec-Fetch-*`, which browsers alone send.
pub fn has_metadata(request: &RequestHead) -> bool {
    let fields = request.fields();
    let names = ["sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"];
    fields.contains(FieldKind::SecFetchSite) || names.iter().any(|name| fields.named(name).next().is_some())
}

/// Returns true if a request is certainly that of a browser: by `Sec-Fetch-*`, or by a cookie of Gatepost.
pub fn is_of_browser(request: &RequestHead) -> bool {
    has_metadata(request) || has_own_cookie(request)
}

fn accepts_html(request: &RequestHead) -> bool {
    let mut kinds = request.fields().named("accept").flat_map(|value| value.split(|byte| *byte == b','));
    kinds.any(|kind| {
        let name = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"text/html")
    })
}

fn has_own_cookie(request: &RequestHead) -> bool {
    let fields = || request.fields().all(FieldKind::Cookie);
    let names = [GATE_COOKIE, without_prefix(GATE_COOKIE), CONSOLE_COOKIE, without_prefix(CONSOLE_COOKIE)];
    names.iter().any(|name| cookies(fields(), name).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, fields: &[(&str, &str)]) -> Requester {
        let mut head = RequestHead::default();
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        head.read(format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap().unwrap();
        Requester::of(&head)
    }

    #[test]
    fn browsers_and_programs_are_told_apart() {
        let (navigate, cors) = (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "cors"));
        let html = ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        for (method, fields, expected) in [
            ("GET", &[navigate][..], Requester::Navigation),
            ("HEAD", &[navigate, ("Accept", "*/*")], Requester::Navigation),
            ("GET", &[html], Requester::Navigation),
            ("GET", &[("Accept", "application/json, Text/HTML;q=0.1")], Requester::Navigation),
            ("GET", &[html, ("Cookie", "__Host-gatepost=1")], Requester::Navigation),
            ("POST", &[navigate], Requester::UnsafeNavigation),
            ("PUT", &[navigate, html], Requester::UnsafeNavigation),
            ("GET", &[cors, html], Requester::PagePart),
            ("GET", &[("Sec-Fetch-Mode", "websocket")], Requester::PagePart),
            ("GET", &[("Sec-Fetch-Dest", "image"), html], Requester::PagePart),
            ("GET", &[("Sec-Fetch-Site", "same-origin"), html], Requester::PagePart),
            ("GET", &[("Origin", "https://a")], Requester::PagePart),
            ("GET", &[("X-Requested-With", "XMLHttpRequest")], Requester::PagePart),
            ("GET", &[("Cookie", "a=b; __Host-gatepost=1")], Requester::PagePart),
            ("GET", &[("Cookie", "gatepost=1")], Requester::PagePart),
            ("GET", &[("Cookie", "__Host-gatepost-console=1")], Requester::PagePart),
            ("GET", &[("Cookie", "gatepost-console=1")], Requester::PagePart),
            ("GET", &[html, ("Connection", "upgrade"), ("Upgrade", "websocket")], Requester::Program),
            ("POST", &[html], Requester::Program),
            ("GET", &[("Accept", "*/*")], Requester::Program),
            ("GET", &[("Accept", "text/htmlx")], Requester::Program),
            ("GET", &[("Cookie", "a=b")], Requester::Program),
            ("GET", &[], Requester::Program),
        ] {
            assert_eq!(of(method, fields), expected, "{method} {fields:?}");
        }
    }
}
