//! The page that adds a credential.

use zeroize::Zeroizing;

use super::answer::ConsoleAnswer;
use super::credential_form::CredentialForm;
use super::credential_words;
use super::form_fault::{FaultField, FormFault};
use super::handover::{self, NewLogin};
use super::page_request::{PageRequest, PageResult, errors};
use crate::domain::{AccountError, NewPassword, Note, PermissionEdit, Permissions, Username};
use crate::edge::http::pages::views::{AddView, Handover, PasswordChoice, Section};
use crate::service::credentials::{Addition, Manager};
use crate::service::{Effect, ManagementError};
use crate::state::cluster::Unconfirmed;

/// The field with the choice of the password.
const CHOICE: &str = "how";

/// Shows the form, or adds the credential of a form that was sent.
pub async fn answer(request: &PageRequest<'_>) -> PageResult {
    let manager = request.manager()?;
    let rights = request.granted.permissions();
    if !request.is_sent {
        let resumed = request.resumed();
        let form = match &resumed {
            Some(form) => CredentialForm::read(form, CHOICE, PasswordChoice::Generated),
            None => CredentialForm {
                name: String::new(),
                note: String::new(),
                // As for the API and the command line.
                permissions: rights,
                choice: PasswordChoice::Generated,
            },
        };
        return Ok(show(request, &form, rights, resumed.map(|_| FormFault::resumed()).as_ref()));
    }
    let mut form = CredentialForm::read(&request.form, CHOICE, PasswordChoice::Generated);
    if form.choice == PasswordChoice::Keep {
        form.choice = PasswordChoice::Generated;
    }
    match add(request, &manager, &form, rights).await {
        Ok(answer) => Ok(answer),
        Err(fault) => Ok(show(request, &form, rights, Some(&fault))),
    }
}

async fn add(
    request: &PageRequest<'_>,
    manager: &Manager,
    form: &CredentialForm,
    rights: Permissions,
) -> Result<ConsoleAnswer, FormFault> {
    if !request.has_token() {
        return Err(FormFault::stale());
    }
    let credentials = &request.console.credentials;
    let password = form.password(&request.form);
    // All at once, and before the password of the account is checked, which may be throttled.
    if let Some(fault) = FormFault::of_all(faults(form, rights, &password)) {
        return Err(fault);
    }
    request.check_form().await?;
    let password = password?.unwrap_or_default();
    let addition = Addition {
        username: &form.name,
        password: password.as_bytes(),
        permissions: PermissionEdit::exactly(form.permissions),
        note: &form.note,
    };
    match credentials.add(manager, addition).await {
        Ok(added) => Ok(hand_over(request, manager, form, &password, Ok(&added.effect)).await),
        Err(ManagementError::Unconfirmed(unconfirmed)) => {
            Ok(hand_over(request, manager, form, &password, Err(&unconfirmed)).await)
        }
        Err(ManagementError::NotAllowed(AccountError::NameTaken)) => {
            Err(taken(credentials.get(manager, &form.name).await.is_ok()))
        }
        Err(error) => Err(FormFault::from(&error)),
    }
}

/// Shows the password of a credential that was added, or may have been: nobody can read it again, even if the credential can't be read.
async fn hand_over(
    request: &PageRequest<'_>,
    manager: &Manager,
    form: &CredentialForm,
    password: &str,
    effect: Result<&Effect, &Unconfirmed>,
) -> ConsoleAnswer {
    let details = request.console.credentials.by_name(manager, &form.name).await;
    let id = details.ok().map(|details| details.credential.id);
    let permissions = form.permissions.and(request.granted.permissions());
    let credential = NewLogin { id, name: &form.name, permissions };
    handover::page(request, Handover::Added, &credential, password, effect)
}

/// The faults of a form that need no look at the store.
fn faults(
    form: &CredentialForm,
    rights: Permissions,
    password: &Result<Option<Zeroizing<String>>, FormFault>,
) -> Vec<FormFault> {
    let mut faults = Vec::new();
    let mut add = |error: Option<ManagementError>| faults.extend(error.as_ref().map(FormFault::from));
    add(Username::parse_new(&form.name).err().map(ManagementError::from));
    add(Note::parse(&form.note).err().map(ManagementError::from));
    if let Ok(Some(password)) = password {
        add(NewPassword::parse_chosen(password.as_bytes()).err().map(ManagementError::from));
    }
    faults.extend(password.as_ref().err().cloned());
    if form.permissions.is_empty() && !rights.is_empty() {
        faults.push(FormFault::invalid(FaultField::Permissions, "Choose at least one permission."));
    }
    faults
}

/// The fault of a name that is taken. A form that is sent twice, such as by reloading its answer, adds nothing and shows no password.
fn taken(is_of_account: bool) -> FormFault {
    let fault = FormFault::from(&ManagementError::NotAllowed(AccountError::NameTaken));
    match is_of_account {
        true => FormFault {
            text: "Your account has a credential with this username already.".to_owned(),
            explanation: "If you sent this form twice, or reloaded the page, the credential was added the first time. Its password is \
                          not shown again: open the credential in the list to give it a new one."
                .to_owned(),
            ..fault
        },
        false => fault,
    }
}

fn show(
    request: &PageRequest<'_>,
    form: &CredentialForm,
    rights: Permissions,
    fault: Option<&FormFault>,
) -> ConsoleAnswer {
    let account = request.granted.account_name();
    let view = AddView {
        frame: request.frame_for(Section::Credentials, fault),
        name: form.name.clone(),
        note: form.note.clone(),
        permissions: credential_words::choices(form.permissions, rights),
        choice: form.choice,
        asks_confirmation: request.asks_confirmation(),
        errors: errors(fault),
        command: format!("gatepost credential add NAME --account {account} --permissions email"),
    };
    ConsoleAnswer::form(fault, &view)
}
