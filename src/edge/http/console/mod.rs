//! The console: pages for account holders and their credentials, on an entry of their own.

pub mod api;
pub mod call;
pub mod services;
