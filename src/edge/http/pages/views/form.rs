//! The parts that several forms share.

/// An error of a form that belongs to one of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The name of the field, which is also its ID; empty for an error of the whole form.
    pub field: &'static str,
    /// The text: what is wrong, and what would be right.
    pub text: String,
}

/// The errors of a form. Each stands at its field, and all of them in a summary that gets the focus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormErrors(pub Vec<FieldError>);

impl FormErrors {
    /// Adds an error.
    pub fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.push(FieldError { field, text: text.into() });
    }

    /// Returns the first error of a field.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|error| error.field == field).map(|error| error.text.as_str())
    }

    /// Returns true if the form has no error.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A permission in a form, with its checkbox.
#[derive(Clone, Debug)]
pub struct PermissionChoice {
    /// The permission's name: `email`, `api` or `web`.
    pub name: &'static str,
    /// True if the box is checked.
    pub is_checked: bool,
    /// False if the account does not have the permission: it cannot be granted.
    pub is_held: bool,
}

impl PermissionChoice {
    /// Returns the sentence that explains the permission.
    pub fn meaning(&self) -> &'static str {
        meaning(self.name)
    }
}

/// Returns the sentence that explains a permission.
pub fn meaning(permission: &str) -> &'static str {
    match permission {
        "email" => "Send mail by SMTP, and by API calls that send mail.",
        "api" => "All API calls except those that send mail.",
        "web" => "Log in to the dashboard.",
        _ => "",
    }
}

/// The choice of a password in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordChoice {
    /// Keeps the current one; only in an edit.
    Keep,
    /// A new one that Gatepost generates and shows once.
    Generated,
    /// The one that the form has in `password`.
    Typed,
}

impl PasswordChoice {
    /// Returns the choice that a form posts as this text.
    pub fn from_name(name: &str) -> Option<PasswordChoice> {
        [PasswordChoice::Keep, PasswordChoice::Generated, PasswordChoice::Typed]
            .into_iter()
            .find(|choice| choice.as_str() == name)
    }

    /// Returns the posted form.
    pub const fn as_str(self) -> &'static str {
        match self {
            PasswordChoice::Keep => "keep",
            PasswordChoice::Generated => "generated",
            PasswordChoice::Typed => "typed",
        }
    }

    /// Returns true for the choice of that posted form.
    pub fn is(self, name: &str) -> bool {
        self.as_str() == name
    }
}
