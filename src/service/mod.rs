//! Layer 3: the services of all entries: decisions, and the management of accounts and credentials.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod credentials;
pub mod mutation;
pub mod open_sessions;
pub mod sessions;
mod write_turns;

pub use access::{Access, Decision, Granted, HolderDecision, SessionDecision};
pub use accounts::Accounts;
pub use audit::Origin;
pub use credentials::Credentials;
pub use mutation::{Effect, ManagementError, Mutations};
pub use open_sessions::OpenSessions;
pub use sessions::Sessions;
