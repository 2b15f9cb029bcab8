//! Views: structs of formatted text, each with its template. They know no service. askama escapes every text, so that a view is
//! filled with unescaped text.
//!
//! The gate has [`LoginView`], [`ContinuationView`], [`LogoutView`] and [`ProblemView`]; they take their addresses from the caller, since the prefix
//! is configured. The console has these too, and the pages of a session, which link to fixed addresses:
//!
//! | address | page | posts |
//! | --- | --- | --- |
//! | `/login`, `/logout` | [`LoginView`] | `username`, `password`, `next`, `resume`; logout: `token` |
//! | `/credentials` | [`CredentialsView`], by `q`, `permission`, `state`, `limit`, `after`, `before` | |
//! | `/credentials/add` | [`AddView`], then [`HandoverView`] | `username`, `note`, `email`, `api`, `web`, `how`, `password` |
//! | `/credentials/ID` | [`EditView`], then a banner or [`HandoverView`] | `note`, `email`, `api`, `web`, `password_change`, `password` |
//! | `/credentials/ID/remove` | [`RemoveView`], then a banner | |
//! | `/credentials/remove` | [`BulkRemoveView`] for each `id` of the query | each `id` |
//! | `/activity` | [`ActivityView`] | |
//! | `/sessions` | [`SessionsView`] | `/sessions/end`: `id`; `/sessions/end-others` |
//! | `/own` | [`OwnView`] | `/own/password`: `current`, `password`, `again` |
//!
//! Every form of a session posts `token` as well, and `confirm`, the password of who is logged in, where it is asked for.

mod activity;
mod add;
mod confirm;
mod continuation;
mod credential_row;
mod credentials;
mod edit;
mod effect_words;
mod form;
mod frame;
mod handover;
mod login;
mod logout;
mod own;
mod problem;
mod remove;
mod sessions;
mod site;
mod stamp;

pub use activity::{ActivityRow, ActivityView, Outcome};
pub use add::AddView;
pub use confirm::{ConfirmView, HiddenField};
pub use continuation::ContinuationView;
pub use credential_row::{CredentialRow, CredentialState, LastUse, PermissionPill};
pub use credentials::{CredentialsView, EmptyList, ListChoice, ListLink};
pub use edit::EditView;
pub use effect_words::effect_words;
pub use form::{FormErrors, PasswordChoice, PermissionChoice};
pub use frame::{ConsoleFrame, ResultBanner, Section};
pub use handover::{Handover, HandoverView, ServerAddress, Snippet};
pub use login::{LoginNotice, LoginProblem, LoginView};
pub use logout::LogoutView;
pub use own::OwnView;
pub use problem::{ProblemView, seconds_in_words};
pub use remove::{BulkRemoveRow, BulkRemoveView, RemoveView};
pub use sessions::{SessionRow, SessionsView};
pub use site::Site;
pub use stamp::Stamp;

#[cfg(test)]
mod tests;
