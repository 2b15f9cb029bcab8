//! The credentials API (docs/api.md): calls by their paths, their parameters, and the answers in JSON and XML.

pub mod call;
pub mod parameters;
pub mod reply;
mod xml;

pub use call::{CredentialsAction, CredentialsCall, ReplyFormat};
pub use parameters::{CallParameters, CallParametersError};
