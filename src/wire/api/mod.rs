//! The credentials API (docs/api.md), and its successor [`v1`] (docs/api-v1.md).
//!
//! `call` reads the action from a path, `parameters` its parameters from query and body. `reply` writes the responses in JSON
//! and, by `xml`, in XML.

pub mod call;
pub mod parameters;
pub mod reply;
pub mod v1;
mod xml;

pub use call::{CredentialsAction, CredentialsCall, RefusalFormat, ReplyFormat};
pub use parameters::{CallParameters, CallParametersError};
