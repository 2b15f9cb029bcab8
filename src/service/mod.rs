//! Layer 3: the services of all entries: decisions, and the management of accounts and credentials.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod credentials;
pub mod mutation;
mod write_turns;

pub use access::{Access, Decision, Granted, HolderDecision};
pub use accounts::Accounts;
pub use audit::Origin;
pub use credentials::Credentials;
pub use mutation::{ManagementError, Mutations};
