//! Floor 3: what Gatepost does, whoever asks: decide, and manage.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod credentials;
pub mod mutation;

pub use access::{Access, Decision, Granted, HolderDecision};
pub use accounts::Accounts;
pub use audit::Origin;
pub use credentials::Credentials;
pub use mutation::{ManagementError, Mutations};
