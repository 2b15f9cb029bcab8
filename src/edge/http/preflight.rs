//! Preflights of browsers that Gatepost answers itself.

use std::time::Duration;

use bytes::Bytes;

use super::client_session::ClientSession;
use super::cors;
use super::proxy::exchange::{BrokenOff, Exchange};
use super::respond;
use crate::config::AllowedOrigin;
use crate::domain::RequestId;

/// The status of the answer.
const STATUS: u16 = 204;

/// Answers the request if it is a preflight of a page of one of `origins`. `methods` are those of the path; `None` allows the one that
/// is asked for. Returns `None` for any other request.
pub async fn answer(
    session: &mut ClientSession,
    origins: &[AllowedOrigin],
    methods: Option<&'static str>,
    request_id: &RequestId,
    within: Duration,
) -> Option<Exchange> {
    let (preflight, origin) = cors::preflight(session.head(), origins)?;
    let answer = cors::preflight_answer(&preflight, origin, methods, request_id);
    if !respond::write(session, &answer, Bytes::new(), within).await {
        return Some(Exchange::BrokenOff(BrokenOff::by_client(STATUS)));
    }
    // It should have no body.
    respond::drain(session).await;
    Some(Exchange::Answered(STATUS))
}
