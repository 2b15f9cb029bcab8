//! The page that changes a credential.

use super::answer::ConsoleAnswer;
use super::credential_form::CredentialForm;
use super::credential_words;
use super::form_fault::FormFault;
use super::handover::{self, NewLogin};
use super::page_request::{PageRequest, PageResult, errors};
use super::route::ConsoleRoute;
use crate::domain::{ChangeCondition, CredentialDetails, CredentialId, CredentialVersion, Permissions};
use crate::edge::http::pages::views::{EditView, Handover, PasswordChoice, Section};
use crate::service::credentials::{Edit, Manager};

/// The field with the choice of the password.
const CHOICE: &str = "password_change";

/// The field with the version that the form was made for.
const VERSION: &str = "version";

/// Shows the form, or makes the change of a form that was sent.
pub async fn answer(request: &PageRequest<'_>, id: CredentialId) -> PageResult {
    let manager = request.manager()?;
    let credentials = &request.console.credentials;
    let (rights, is_sent) = (request.granted.permissions(), request.is_sent);
    let current = match is_sent {
        true => credentials.by_id_for_change(&manager, id).await?,
        false => credentials.by_id(&manager, id).await?,
    };
    let resumed = if is_sent { None } else { request.resumed() };
    let form = match resumed.as_ref().or(is_sent.then_some(&request.form)) {
        Some(form) => CredentialForm::read(form, CHOICE, PasswordChoice::Keep),
        None => CredentialForm {
            name: String::new(),
            note: credential_words::note(&current),
            permissions: current.credential.stored,
            choice: PasswordChoice::Keep,
        },
    };
    if !is_sent {
        // Values of a form that had no version, or another than now, are refused once, and compared by the user.
        let version = match &resumed {
            Some(form) => form.get(VERSION).unwrap_or_default().to_owned(),
            None => current.version.0.to_string(),
        };
        let fault = resumed.map(|_| FormFault::resumed());
        return Ok(show(request, (&current, version), &form, rights, fault.as_ref()));
    }
    match edit(request, &manager, &current, &form, rights).await {
        Ok(answer) => Ok(answer),
        Err(fault) => {
            // What the form is compared with has perhaps changed, and the fault says so.
            let current = credentials.by_id(&manager, id).await.unwrap_or(current);
            // Only a user who was told of the other change may overwrite it.
            let version = match fault.is_outdated() {
                true => current.version.0.to_string(),
                false => request.form.get(VERSION).unwrap_or_default().to_owned(),
            };
            Ok(show(request, (&current, version), &form, rights, Some(&fault)))
        }
    }
}

async fn edit(
    request: &PageRequest<'_>,
    manager: &Manager,
    current: &CredentialDetails,
    form: &CredentialForm,
    rights: Permissions,
) -> Result<ConsoleAnswer, FormFault> {
    request.check_form().await?;
    let version = request.form.get(VERSION).and_then(|version| version.parse().ok()).map(CredentialVersion);
    if version.is_none() {
        return Err(FormFault::outdated());
    }
    let password = form.password(&request.form)?;
    let permissions = credential_words::edit(current.credential.stored, form.permissions, rights);
    let after = permissions.apply(current.credential.stored);
    let mut words = credential_words::difference(current.credential.stored, after);
    let is_note_changed = form.note.trim() != credential_words::note(current);
    words.extend(is_note_changed.then(|| "note changed".to_owned()));
    words.extend(password.as_ref().map(|_| "password changed".to_owned()));
    if words.is_empty() {
        return Err(FormFault::unchanged());
    }
    let name = &current.credential.name;
    let edit = Edit {
        username: name.as_str(),
        password: password.as_ref().map(|password| password.as_bytes()),
        permissions,
        note: is_note_changed.then_some(form.note.as_str()),
        condition: ChangeCondition { id: Some(current.credential.id), version },
    };
    let edited =
        request.console.credentials.edit(manager, edit).await.map_err(|error| FormFault::from(&error))?;
    match password {
        Some(password) => {
            let login = NewLogin {
                id: Some(current.credential.id),
                name: name.as_str(),
                permissions: after.and(rights),
            };
            Ok(handover::page(request, Handover::NewPassword, &login, &password, Ok(&edited.effect)))
        }
        None => {
            let page = ConsoleRoute::Edit(current.credential.id);
            Ok(request.done(page, format!("Changed {name}: {}.", words.join(", ")), &edited.effect))
        }
    }
}

fn show(
    request: &PageRequest<'_>,
    (current, version): (&CredentialDetails, String),
    form: &CredentialForm,
    rights: Permissions,
    fault: Option<&FormFault>,
) -> ConsoleAnswer {
    let (account, name) = (request.granted.account_name(), &current.credential.name);
    let view = EditView {
        frame: request.frame_for(Section::Credentials, fault),
        current: credential_words::row(current, request.now),
        note: form.note.clone(),
        permissions: credential_words::choices(form.permissions, rights),
        choice: form.choice,
        version,
        asks_confirmation: request.asks_confirmation(),
        errors: errors(fault),
        command: format!("gatepost credential edit {name} --account {account} --revoke web"),
    };
    ConsoleAnswer::form(fault, &view)
}
