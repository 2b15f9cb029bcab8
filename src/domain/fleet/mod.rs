//! Temporary.
pub mod era;
pub mod lease_terms;
pub mod log;
pub use era::{Era, EraError};
pub use lease_terms::LeaseTerms;
pub use log::{ChangeToken, LogPosition, LogRead, LogRow};
