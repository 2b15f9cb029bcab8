//! The values of the forms that add and change a credential.

use zeroize::Zeroizing;

use super::form_fault::{FormFault, FormField};
use crate::domain::{Note, NoteError, Permission, Permissions};
use crate::edge::http::pages::views::PasswordChoice;
use crate::wire::PageForm;
use crate::service::ManagementError;

/// The values of a form, as they are filled in again. A typed password never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialForm {
    /// The username.
    pub name: String,
    /// The note.
    pub note: String,
    /// The checked permissions.
    pub permissions: Permissions,
    /// The choice of the password.
    pub choice: PasswordChoice,
}

impl CredentialForm {
    /// Reads a form that was sent. `choice` is the name of the field with the choice of the password, and `default` the choice of a form
    /// that has none.
    pub fn read(form: &PageForm, choice: &str, default: PasswordChoice) -> CredentialForm {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let is_checked = |permission: &Permission| form.get(permission.as_str()).is_some_and(|value| value == "1");
        let checked = Permission::ALL.into_iter().filter(is_checked);
        CredentialForm {
            name: text("username").trim().to_owned(),
            note: text("note"),
            permissions: checked.fold(Permissions::NONE, |set, one| set.or(Permissions::only(one))),
            choice: form.get(choice).and_then(PasswordChoice::from_name).unwrap_or(default),
        }
    }

    /// Checks the note; `None` if there is none.
    ///
    /// # Errors
    /// The fault at the field.
    pub fn note(&self) -> Result<Option<Note>, FormFault> {
        Note::parse(&self.note).map_err(|error| FormFault::invalid(FormField::Note, note_words(error)))
    }

    /// Returns the new password: a generated one, the typed one, or `None` to keep the current one.
    ///
    /// # Errors
    /// The fault at the field.
    pub fn password(&self, form: &PageForm) -> Result<Option<Zeroizing<String>>, FormFault> {
        match self.choice {
            PasswordChoice::Keep => Ok(None),
            PasswordChoice::Generated => match crate::service::new_password::generate() {
                Ok(password) => Ok(Some(password)),
                Err(error) => Err(FormFault::from(&ManagementError::from(error))),
            },
            PasswordChoice::Typed => match form.get("password").unwrap_or_default() {
                "" => Err(FormFault::invalid(
                    FormField::Password,
                    "Type a password, or have one generated.",
                )),
                typed => Ok(Some(Zeroizing::new(typed.to_owned()))),
            },
        }
    }
}

fn note_words(error: NoteError) -> &'static str {
    match error {
        NoteError::Length => "The note must have at most 200 characters.",
        NoteError::Control => "The note must be one line without control characters.",
    }
}
