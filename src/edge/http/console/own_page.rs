//! The page of the principal itself: what it may do, and its password.

use super::answer::{ConsoleAnswer, CookieChange};
use super::credential_words;
use super::form_fault::{FormFault, FormField};
use super::page_request::{PageRequest, PageResult, errors};
use crate::domain::{Permission, Permissions, PrincipalKind};
use crate::edge::http::pages::views::{
    LoginNotice, OwnView, PermissionPill, Section, effect_words,
};

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
        return Err(FormFault::invalid(FormField::Again, "The two new passwords are not the same."));
    }
    // Before the old password is checked, so that an attempt that cannot succeed is no guess.
    request.confirm(FormField::Current, current).await?;
    let changed = request.console.credentials.change_own_password(&request.granted, password.as_bytes(), request.origin());
    let effect = changed.await.map_err(|error| FormFault::from(&error))?;
    let _ = effect;
    let answer = super::login::after_password_change(request);
    Ok(answer.with_cookie(CookieChange::Remove))
}

async fn show_with(request: &PageRequest<'_>, fault: Option<&FormFault>) -> PageResult {
    let details = match request.granted.kind() {
        PrincipalKind::Holder => None,
        PrincipalKind::Credential(_) => Some(request.console.credentials.own(&request.granted).await?),
    };
    let held = request.granted.permissions();
    let permissions = match &details {
        Some(details) => credential_words::pills(details),
        None => held.iter().map(|permission| PermissionPill { name: permission.as_str(), without_effect: None }).collect(),
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
