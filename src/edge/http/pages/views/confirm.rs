//! The page that asks for the password before a change that has no form of its own.

use askama::Template;

use super::form::FormErrors;
use super::frame::ConsoleFrame;

/// The question for the password, with the change in hidden fields.
#[derive(Template)]
#[template(path = "confirm.html")]
pub struct ConfirmView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The heading, such as `End this session?`
    pub heading: String,
    /// The change in words.
    pub text: String,
    /// The address that the form is posted to.
    pub action: String,
    /// The fields of the form that led here.
    pub fields: Vec<HiddenField>,
    /// The text of the button, such as `End the session`.
    pub button: String,
    /// True if the change takes something away.
    pub is_removal: bool,
    /// True if the password is asked for; else the button is enough.
    pub asks_confirmation: bool,
    /// The address to go back to.
    pub back: String,
    /// The errors, at `confirmation`.
    pub errors: FormErrors,
}

/// A field that is posted as it is.
#[derive(Clone, Debug)]
pub struct HiddenField {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}
