//! The console: pages for account holders and their credentials, on an entry of their own.
//!
//! `call` takes a request from its header to its response: `browser_request` reads the header, `route` the address, `login` is the way in, and
//! `dispatch` leads to a page, which gets a `page_request` and gives an `answer`. Each page has a file: `credential_list`, `credential_add`,
//! `credential_edit`, `credential_removal`, `handover`, `activity_list`, `session_list`, `own_page`, and `problem` where there is none.
//!
//! `form_fault` is the table from errors to words. `signed_text` lets an address carry a `notice`, or the values of a form that was sent too
//! late (`return_address`), which only their session can read.

mod activity_list;
mod answer;
pub mod api;
mod browser_request;
mod browser_words;
pub mod call;
mod credential_add;
mod credential_edit;
mod credential_form;
mod credential_list;
mod credential_removal;
mod credential_words;
mod dispatch;
pub mod endpoints;
mod form_fault;
mod handover;
mod list_address;
mod login;
mod notice;
mod own_page;
mod page_request;
mod problem;
mod removal_counts;
mod return_address;
mod route;
pub mod services;
mod session_list;
mod signed_text;
mod snippets;
