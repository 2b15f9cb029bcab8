//! Layer 3: the services of all entries: decisions, and the management of accounts and credentials.

pub mod access;
pub mod accounts;
pub mod activity;
pub mod audit;
mod bulk_removal;
mod credential_pages;
pub mod credentials;
pub mod mutation;
pub mod open_sessions;
mod own_login;
mod selected_credentials;
pub mod sessions;
mod write_turns;

pub use access::{Access, Decision, Granted, HolderDecision, SessionDecision};
pub use accounts::Accounts;
pub use activity::Activity;
pub use audit::Origin;
pub use bulk_removal::MOST_AT_ONCE;
pub use credential_pages::{CredentialPage, CredentialPageQuery};
pub use credentials::Credentials;
pub use mutation::{Effect, ManagementError, Mutations};
pub use open_sessions::OpenSessions;
pub use sessions::Sessions;
