//! API v1 (docs/api-v1.md, and openapi.json beside this file): the credentials of an account as JSON, for its holder's programs.
//!
//! `call` takes a request through `routes`, `holder` and `operations`. `refused` is the only table from errors to problems.
//! Nothing here reads or sets a cookie.

pub mod answer;
pub mod body;
pub mod call;
pub mod holder;
pub mod operations;
pub mod preconditions;
pub mod refused;
pub mod routes;

pub use answer::ApiAnswer;
pub use call::ApiCall;
pub use routes::is_for;
