//! The page of the principal itself: what it may do, and its password.

use super::answer::{ConsoleAnswer, CookieChange};
use super::credential_words;
use super::form_fault::{FaultField, FormFault};
use super::notice;
use super::page_request::{PageRequest, PageResult, errors};
use super::route::ConsoleRoute;
use crate::domain::{Entry, NewPassword, Permission, Permissions, Presented, PrincipalKind};
use crate::edge::http::pages::views::{OwnView, PermissionPill, ResultBanner, Section};
use crate::service::sessions::BeginOutcome;
use crate::service::{Effect, ManagementError};

/// Shows the page.
pub async fn show(request: &PageRequest<'_>) -> PageResult {
    show_with(request, None).await
}

/// Changes the password of the principal, which ends all of its sessions.
pub async fn change_password(request: &PageRequest<'_>) -> PageResult {
    match change(request).await {
        Ok(answer) => Ok(answer),
        Err(fault) => show_with(request, Some(&fault)).await,
    }
}

async fn change(request: &PageRequest<'_>) -> Result<ConsoleAnswer, FormFault> {
    if !request.has_token() {
        return Err(FormFault::stale());
    }
    let value = |name| request.form.get(name).unwrap_or_default();
    let (current, password) = (value("current"), value("password"));
    if password != value("again") {
        return Err(FormFault::invalid(FaultField::Again, "The two new passwords are not the same."));
    }
    // Before the old password is checked, which may be throttled.
    NewPassword::parse_chosen(password.as_bytes())
        .map_err(|error| FormFault::from(&ManagementError::from(error)))?;
    request.confirm(FaultField::Current, current).await?;
    let (credentials, origin) = (&request.console.credentials, request.origin());
    let changed = credentials.change_own_password(&request.granted, password.as_bytes(), origin).await;
    let effect = changed.map_err(|error| FormFault::from(&error))?;
    Ok(log_in_again(request, password, &effect).await)
}

/// Begins a new session in the place of those that the new password has ended.
async fn log_in_again(request: &PageRequest<'_>, password: &str, effect: &Effect) -> ConsoleAnswer {
    let presented =
        Presented { username: request.granted.name().as_str().as_bytes(), secret: password.as_bytes() };
    let (sessions, terms) = (&request.console.sessions, &request.terms);
    let begun = sessions.begin(presented, None, Entry::Console, request.peer, request.browser, terms).await;
    let BeginOutcome::Begun { cookie, .. } = begun else {
        let login = format!("{}?after=password", ConsoleRoute::Login.path());
        return ConsoleAnswer::see_other(login).with_cookie(CookieChange::Remove);
    };
    let text = "Changed your password. All your other sessions have ended.".to_owned();
    let banner = ResultBanner { text, effect: request.effect_words(effect), is_done: true };
    let page = ConsoleRoute::Own.path();
    let address = notice::address(&page, &cookie.form_token(), &banner, request.now);
    ConsoleAnswer::see_other(address).with_cookie(CookieChange::Set(cookie))
}

async fn show_with(request: &PageRequest<'_>, fault: Option<&FormFault>) -> PageResult {
    let details = match request.granted.kind() {
        PrincipalKind::Holder => None,
        PrincipalKind::Credential(_) => Some(request.console.credentials.own(&request.granted).await?),
    };
    let held = request.granted.permissions();
    let permissions = match &details {
        Some(details) => credential_words::pills(details),
        None => held
            .iter()
            .map(|permission| PermissionPill { name: permission.as_str(), without_effect: None })
            .collect(),
    };
    let stored = details.as_ref().map_or(held, |details| details.credential.stored);
    let view = OwnView {
        frame: request.frame_for(Section::Own, fault),
        row: details.map(|details| credential_words::row(&details, request.now)),
        permissions,
        missing: Permissions::ALL.minus(stored).iter().map(Permission::as_str).collect(),
        servers: request.console.endpoints.servers(held),
        errors: errors(fault),
    };
    Ok(ConsoleAnswer::form(fault, &view))
}
