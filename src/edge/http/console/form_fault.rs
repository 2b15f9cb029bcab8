//! The table from the errors of the services to what a page says: status, field and words.

use crate::domain::{AccountError, Denial, NoteError, PasswordError, PermissionsError, UsernameError};
use crate::edge::http::pages::views::seconds_in_words;
use crate::service::ManagementError;
use crate::state::cluster::Unconfirmed;

/// A field of a form that an error belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultField {
    /// The username of a credential.
    Username,
    /// The new password.
    Password,
    /// The permissions.
    Permissions,
    /// The note.
    Note,
    /// The password of the principal that changes something.
    Confirm,
    /// The old password, where the principal changes its own.
    Current,
    /// The new password once more.
    Again,
    /// None: the error concerns the whole form.
    Form,
}

impl FaultField {
    /// The `id` of the field in the page; empty for the whole form.
    pub const fn id(self) -> &'static str {
        match self {
            FaultField::Username => "username",
            FaultField::Password => "password",
            FaultField::Permissions => "permissions",
            FaultField::Note => "note",
            FaultField::Confirm => "confirm",
            FaultField::Current => "current",
            FaultField::Again => "again",
            FaultField::Form => "",
        }
    }
}

/// An error of a change, as the page tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormFault {
    /// The status of the answer.
    pub status: u16,
    /// The field at which it stands.
    pub field: FaultField,
    /// The text: one or more sentences.
    pub text: String,
    /// More about it, which stands above the page; empty for nothing.
    pub explanation: String,
    /// Further faults of the same form.
    pub others: Vec<FormFault>,
    /// The value of `Retry-After` in seconds, if trying again may help.
    pub retry_after: Option<u64>,
}

impl FormFault {
    /// An invalid value of a field.
    pub fn invalid(field: FaultField, text: impl Into<String>) -> FormFault {
        FormFault {
            status: 422,
            field,
            text: text.into(),
            explanation: String::new(),
            others: Vec::new(),
            retry_after: None,
        }
    }

    /// Several faults of one form as one; `None` if there are none.
    pub fn of_all(faults: Vec<FormFault>) -> Option<FormFault> {
        let mut faults = faults.into_iter();
        let first = faults.next()?;
        Some(FormFault { others: faults.collect(), ..first })
    }

    /// A form that was made for another session of the same principal.
    pub fn stale() -> FormFault {
        FormFault::with_status(
            409,
            FaultField::Form,
            "You have logged in again since this page was opened. Nothing was changed. Check the values, and send the form again.",
        )
    }

    /// A form that was made for an earlier version of the credential.
    pub fn outdated() -> FormFault {
        FormFault::with_status(
            409,
            FaultField::Form,
            "Somebody has changed this credential since you opened the page. The current state is above the form. Check it, and send \
             the form again.",
        )
    }

    /// Returns true if the form was made for an earlier version of the credential, and the user is told so.
    pub fn is_outdated(&self) -> bool {
        *self == FormFault::outdated()
    }

    /// A password of the principal that was not accepted.
    pub fn of_denial(field: FaultField, denial: Denial) -> FormFault {
        match denial {
            Denial::Throttled(delay) => {
                let seconds = delay.as_millis().div_ceil(1000).max(1) as u64;
                let text = format!(
                    "Too many attempts. Nothing was changed. Try again in {}.",
                    seconds_in_words(seconds)
                );
                FormFault { retry_after: Some(seconds), ..FormFault::with_status(429, field, &text) }
            }
            Denial::Unknown | Denial::Wrong | Denial::Suspended | Denial::Lacks(_) => {
                FormFault::with_status(403, field, "This is not your password. Nothing was changed.")
            }
        }
    }

    /// A password of the principal that could not be checked.
    pub fn unchecked(field: FaultField) -> FormFault {
        let text = "Your password can’t be checked at the moment. Nothing was changed. Try again.";
        FormFault { field, ..FormFault::failure(text) }
    }

    /// The values of a form that was sent after its session had ended.
    pub fn resumed() -> FormFault {
        let text = "Your session had ended when you sent this form, so nothing was changed. Check the values, and send it again.";
        FormFault::with_status(200, FaultField::Form, text)
    }

    /// A form that changes nothing.
    pub fn unchanged() -> FormFault {
        FormFault::invalid(FaultField::Form, "The form is the same as what is stored.")
    }

    /// A system without random numbers.
    pub fn without_random_numbers() -> FormFault {
        FormFault::failure(
            "No password can be generated at the moment. Nothing was changed. Type one, or try again.",
        )
    }

    /// Returns true if the fault concerns the whole page.
    pub fn is_above_page(&self) -> bool {
        self.field == FaultField::Form
    }

    /// An error that has nothing to do with the request.
    fn failure(text: impl Into<String>) -> FormFault {
        let field = FaultField::Form;
        FormFault { status: 503, retry_after: Some(1), ..FormFault::invalid(field, text) }
    }

    fn with_status(status: u16, field: FaultField, text: &str) -> FormFault {
        FormFault { status, ..FormFault::invalid(field, text) }
    }
}

impl From<&ManagementError> for FormFault {
    fn from(error: &ManagementError) -> FormFault {
        match error {
            ManagementError::Username(error) => {
                FormFault::invalid(FaultField::Username, username_words(*error))
            }
            ManagementError::Password(error) => {
                FormFault::invalid(FaultField::Password, password_words(*error))
            }
            ManagementError::Permissions(error) => {
                FormFault::invalid(FaultField::Permissions, permissions_words(error))
            }
            ManagementError::Note(error) => FormFault::invalid(FaultField::Note, note_words(*error)),
            ManagementError::NotAllowed(error) => account_words(*error),
            ManagementError::Busy => FormFault::failure(
                "Too many passwords are waiting to be hashed. Nothing has changed. Try again in a moment.",
            ),
            ManagementError::Store(_) => FormFault::failure(
                "The database could not be asked, so the change was not confirmed. Look at the current state before you try \
                 again.",
            ),
            ManagementError::Unconfirmed(Unconfirmed::Silent(_)) => FormFault::failure(
                "The change is written, but not yet confirmed on every node. Until then, a node may still decide by the state \
                 before. Look at the current state before you send it again.",
            ),
            ManagementError::Unconfirmed(Unconfirmed::Unknown { within, .. }) => {
                let seconds = within.as_millis().div_ceil(1000);
                FormFault::failure(format!(
                    "The connection to the database was lost, so it is unknown if the change is written. If it is, it is in \
                     effect on every node within {seconds} s. Look at the current state before you send it again."
                ))
            }
        }
    }
}

fn username_words(error: UsernameError) -> &'static str {
    match error {
        UsernameError::Length => "The username must have 3 to 64 characters.",
        UsernameError::Character => "The username may contain only letters, digits and . _ - + @",
        UsernameError::AllDigits => "The username must not consist of digits only.",
        UsernameError::Reserved => "The username apikey is reserved. Choose another one.",
    }
}

fn password_words(error: PasswordError) -> &'static str {
    match error {
        PasswordError::Length => "The password must have 8 to 128 characters.",
        PasswordError::NoLetter => "The password must contain at least one letter.",
        PasswordError::NoDigit => "The password must contain at least one digit.",
        PasswordError::Control => "The password must not contain control characters.",
        PasswordError::NotText => "The password is not valid text.",
        PasswordError::Common => {
            "This is one of the most common passwords. Choose another one, or have one generated."
        }
    }
}

fn note_words(error: NoteError) -> &'static str {
    match error {
        NoteError::Length => "The note must have at most 200 characters.",
        NoteError::Control => "The note must be one line without control characters.",
    }
}

fn permissions_words(error: &PermissionsError) -> String {
    match error {
        PermissionsError::NotAnObject | PermissionsError::UnknownKey(_) => {
            "The permissions are email, api and web.".to_owned()
        }
        PermissionsError::Repeated(permission) | PermissionsError::BadValue(permission) => {
            format!("The permission {permission} is given twice, or with another value than 0 and 1.")
        }
    }
}

fn account_words(error: AccountError) -> FormFault {
    match error {
        AccountError::NameTaken => FormFault::with_status(
            409,
            FaultField::Username,
            "This username is taken, by a credential or by an account. Choose another one.",
        ),
        AccountError::NoSuchCredential => FormFault::with_status(
            404,
            FaultField::Form,
            "This credential no longer exists. Somebody has removed it in the meantime.",
        ),
        AccountError::NoSuchAccount => {
            FormFault::with_status(403, FaultField::Form, "This account no longer exists.")
        }
        AccountError::Suspended => FormFault::with_status(
            403,
            FaultField::Form,
            "This account is suspended, so nothing can be changed.",
        ),
        AccountError::NoSuchSession => {
            FormFault::with_status(404, FaultField::Form, "This session has ended already.")
        }
        AccountError::LoginChanged => FormFault::with_status(
            409,
            FaultField::Form,
            "The password was changed in the meantime. Log in again.",
        ),
        AccountError::ConditionFailed => FormFault::outdated(),
        AccountError::TooManyAtOnce => {
            FormFault::with_status(422, FaultField::Form, "At most 200 credentials can be removed at once.")
        }
        AccountError::AboveRights(permission) => FormFault::invalid(
            FaultField::Permissions,
            format!("The permission {permission} is not among the rights of your account."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Permission;
    use crate::state::store::StoreError;

    fn fault(error: impl Into<ManagementError>) -> FormFault {
        FormFault::from(&error.into())
    }

    #[test]
    fn an_error_stands_at_its_field() {
        for (error, status, field) in [
            (UsernameError::Length.into(), 422, FaultField::Username),
            (PasswordError::NoDigit.into(), 422, FaultField::Password),
            (AccountError::AboveRights(Permission::Web).into(), 422, FaultField::Permissions),
            (AccountError::NameTaken.into(), 409, FaultField::Username),
            (AccountError::NoSuchCredential.into(), 404, FaultField::Form),
            (AccountError::Suspended.into(), 403, FaultField::Form),
            (ManagementError::Busy, 503, FaultField::Form),
        ] {
            let error: ManagementError = error;
            let fault = FormFault::from(&error);
            assert_eq!((fault.status, fault.field), (status, field), "{}", fault.text);
            assert_eq!(fault.retry_after.is_some(), status == 503);
        }
    }

    #[test]
    fn a_failure_says_what_is_known_and_not_the_cause() {
        let silent = fault(Unconfirmed::Silent("process 7".into()));
        assert!(silent.text.contains("is written, but not yet confirmed on every node"), "{}", silent.text);
        let within = Duration::from_millis(2500);
        let unknown = fault(Unconfirmed::Unknown { reason: "secret.example".into(), within });
        assert!(
            unknown.text.contains("unknown if the change is written") && unknown.text.contains("within 3 s")
        );
        let store = fault(StoreError::Unavailable("/var/lib/x".into()));
        for fault in [silent, unknown, store] {
            assert_eq!(fault.status, 503);
            assert!(!fault.text.contains("secret") && !fault.text.contains("/var"), "{}", fault.text);
        }
    }
}
