//! The page with the sessions of the principal, which ends them.

use super::answer::{ConsoleAnswer, CookieChange};
use super::browser_words::browser_words;
use super::form_fault::{FaultField, FormFault};
use super::page_request::{PageRequest, PageResult, errors};
use super::route::ConsoleRoute;
use crate::domain::{AccountError, Entry, Session, SessionId};
use crate::edge::http::pages::views::{ConfirmView, HiddenField, Section, SessionRow, SessionsView, Stamp};
use crate::service::ManagementError;

/// Shows the sessions.
pub async fn show(request: &PageRequest<'_>) -> PageResult {
    show_with(request, None).await
}

/// Ends one session of the principal, or asks for the password before.
pub async fn end(request: &PageRequest<'_>) -> PageResult {
    let text = "It is refused at once, and its tunnels are closed within a second.";
    if let Some(answer) = check(request, "End this session?", text, "End the session").await {
        return answer;
    }
    let Some(id) = request.form.get("id").and_then(|id| id.parse().ok()).map(SessionId) else {
        return show_with(
            request,
            Some(&FormFault::from(&ManagementError::NotAllowed(AccountError::NoSuchSession))),
        )
        .await;
    };
    let is_own = request.granted.session().is_some_and(|session| session.id == id);
    let ended = request.console.sessions.end_one(&request.granted, id, request.origin()).await;
    match ended {
        Ok(_) if is_own => {
            Ok(ConsoleAnswer::see_other(ConsoleRoute::Login.path()).with_cookie(CookieChange::Remove))
        }
        Ok(effect) => Ok(request.done(ConsoleRoute::Sessions, "Ended the session.".to_owned(), &effect)),
        Err(error) => show_with(request, Some(&FormFault::from(&error))).await,
    }
}

/// Ends all other sessions of the principal, or asks for the password before.
pub async fn end_others(request: &PageRequest<'_>) -> PageResult {
    let text = "All browsers but this one are logged out at once, at the console and at the dashboard.";
    if let Some(answer) = check(request, "End all other sessions?", text, "End all other sessions").await {
        return answer;
    }
    match request.console.sessions.end_others(&request.granted, request.origin()).await {
        Ok((count, effect)) => {
            let text = match count {
                1 => "Ended 1 other session.".to_owned(),
                count => format!("Ended {count} other sessions."),
            };
            Ok(request.done(ConsoleRoute::Sessions, text, &effect))
        }
        Err(error) => show_with(request, Some(&FormFault::from(&error))).await,
    }
}

/// Checks the form, and the password if it is needed. The buttons of the page have no field for it, so another page asks.
async fn check(request: &PageRequest<'_>, heading: &str, text: &str, button: &str) -> Option<PageResult> {
    let asks = |fault: Option<&FormFault>| {
        let id = request.form.get("id");
        let view = ConfirmView {
            frame: request.frame_with(Section::Sessions, None),
            heading: heading.to_owned(),
            text: text.to_owned(),
            action: request.route.path(),
            fields: id
                .map(|id| HiddenField { name: "id".to_owned(), value: id.to_owned() })
                .into_iter()
                .collect(),
            button: button.to_owned(),
            is_removal: true,
            asks_confirmation: request.asks_confirmation(),
            back: ConsoleRoute::Sessions.path(),
            errors: errors(fault),
        };
        Ok(ConsoleAnswer::form(fault, &view))
    };
    if request.has_token() && request.asks_confirmation() && request.form.get("confirm").is_none() {
        return Some(asks(None));
    }
    match request.check_form().await {
        Ok(()) => None,
        Err(fault) if fault.field == FaultField::Confirm => Some(asks(Some(&fault))),
        Err(fault) => Some(show_with(request, Some(&fault)).await),
    }
}

async fn show_with(request: &PageRequest<'_>, fault: Option<&FormFault>) -> PageResult {
    let current = request.granted.session().map(|session| session.id);
    let mut sessions = request.console.sessions.list(request.granted.principal()).await?;
    sessions.sort_by_key(|session| (Some(session.id) != current, std::cmp::Reverse(session.used_at)));
    let view = SessionsView {
        frame: request.frame_for(Section::Sessions, fault),
        rows: sessions.iter().map(|session| row(session, current, request.now)).collect(),
    };
    Ok(ConsoleAnswer::form(fault, &view))
}

fn row(session: &Session, current: Option<SessionId>, now: i64) -> SessionRow {
    SessionRow {
        id: session.id.0.to_string(),
        entry: if session.entry == Entry::Console { "Console" } else { "Dashboard" }.to_owned(),
        browser: browser_words(&session.browser),
        user_agent: session.browser.clone(),
        source: session.source.to_string(),
        created: Stamp::new(session.created_at, now),
        used: Stamp::new(session.used_at, now),
        ends: Stamp::new(session.ends_at, now),
        is_current: Some(session.id) == current,
    }
}
