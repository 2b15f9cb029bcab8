//! Preflights of browsers that Gatepost answers itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use pingora_core::protocols::http::ServerSession;

use super::cors;
use super::proxy::delivery::BrokenOff;
use super::proxy::exchange::Exchange;
use super::respond;
use crate::config::AllowedOrigin;

/// The status of the answer.
const STATUS: u16 = 204;

/// Answers the request if it is a preflight of a page of one of `origins`. `methods` are those of the path; `None` allows the one that
/// is asked for. Returns `None` for any other request.
pub async fn answer(
    session: &mut ServerSession,
    origins: &[AllowedOrigin],
    methods: Option<&'static str>,
    request_id: &HeaderValue,
    within: Duration,
) -> Option<Exchange> {
    let (preflight, origin) = cors::preflight(session.req_header(), origins)?;
    let answer = cors::preflight_answer(&preflight, origin, methods, request_id);
    let written = match answer {
        Ok(answer) => respond::write(session, answer, Bytes::new(), within).await,
        Err(_) => false,
    };
    if !written {
        return Some(Exchange::BrokenOff(BrokenOff::by_client(STATUS)));
    }
    // It should have no body.
    respond::drain(session).await;
    Some(Exchange::Answered(STATUS))
}
