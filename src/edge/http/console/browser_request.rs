//! The facts of a request of a browser that its pages depend on, read from its header.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;

use crate::domain::SessionCookie;
use crate::edge::http::pages::origin::CookieWay;
use crate::edge::http::pages::presented_session::PresentedSession;
use crate::edge::http::pages::site::PageSite;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::service::Plan;
use crate::wire::{CONSOLE_COOKIE, RequestHead};

/// The longest text by which a browser names itself, in bytes.
const LONGEST_NAME: usize = 512;

/// The facts of a request.
pub struct BrowserRequest {
    /// The method.
    pub method: Method,
    /// The way to the browser.
    pub way: CookieWay,
    /// The name of the session's cookie on this way; `None` if there is no session on it.
    pub cookie_name: Option<&'static str>,
    /// The cookie of the session, if it has the form of one.
    pub cookie: Option<SessionCookie>,
    /// True if the browser has several cookies of that name, so that none counts.
    pub is_ambiguous: bool,
    /// The host, as the browser shows it.
    pub place: String,
    /// True if the request comes from a page of the console.
    pub is_from_own_page: bool,
    /// The browser, as it names itself.
    pub name: String,
    /// The address of the client.
    pub source: IpAddr,
    /// The time in seconds since 1970.
    pub now: i64,
}

impl BrowserRequest {
    /// Reads a header.
    pub fn of(head: &RequestHead, client: &HttpPeer, plan: &Plan, pages: &PageSite) -> BrowserRequest {
        let origin = pages.origin(head, client, client.is_trusted(&plan.trusted_proxies));
        let cookie_name = origin.cookie_name(CONSOLE_COOKIE);
        let presented = cookie_name.map(|name| PresentedSession::of(head, name));
        let is_ambiguous = matches!(presented, Some(PresentedSession::Ambiguous));
        let cookie = presented.and_then(PresentedSession::cookie);
        let name = head.fields().named("user-agent").next().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        BrowserRequest {
            method: head.method().clone(),
            way: origin.way,
            cookie_name,
            cookie,
            is_ambiguous,
            place: origin.authority(),
            is_from_own_page: origin.is_source_of(head, &[]),
            name: String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned(),
            source: client.source(head.fields(), &plan.trusted_proxies),
            now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        }
    }
}
