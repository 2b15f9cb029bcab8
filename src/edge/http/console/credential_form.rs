//! The values of the forms that add and change a credential.

use zeroize::Zeroizing;

use super::form_fault::{FaultField, FormFault};
use crate::domain::{Permission, Permissions, generated_password};
use crate::edge::http::pages::views::PasswordChoice;
use crate::wire::PageForm;

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
        let is_checked =
            |permission: &Permission| form.get(permission.as_str()).is_some_and(|value| value == "1");
        let checked = Permission::ALL.into_iter().filter(is_checked);
        CredentialForm {
            name: text("username").trim().to_owned(),
            note: text("note"),
            permissions: checked.fold(Permissions::NONE, |set, one| set.or(Permissions::only(one))),
            choice: form.get(choice).and_then(PasswordChoice::from_name).unwrap_or(default),
        }
    }

    /// Returns the new password: a generated one, the typed one, or `None` to keep the current one.
    ///
    /// # Errors
    /// The fault at the field.
    pub fn password(&self, form: &PageForm) -> Result<Option<Zeroizing<String>>, FormFault> {
        match self.choice {
            PasswordChoice::Keep => Ok(None),
            PasswordChoice::Generated => match generated_password(getrandom::fill) {
                Ok(Some(password)) => Ok(Some(password)),
                Ok(None) | Err(_) => Err(FormFault::without_random_numbers()),
            },
            PasswordChoice::Typed => match form.get("password").unwrap_or_default() {
                "" => {
                    Err(FormFault::invalid(FaultField::Password, "Type a password, or have one generated."))
                }
                typed => Ok(Some(Zeroizing::new(typed.to_owned()))),
            },
        }
    }
}
