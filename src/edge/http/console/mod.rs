//! The console: pages for account holders and their credentials, on an entry of their own.

mod browser_words;
pub mod call;
pub mod endpoints;
mod form_fault;
mod notice;
mod route;
pub mod services;
mod signed_text;
mod snippets;
