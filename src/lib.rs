//! Gatepost decides, for every SMTP transaction, API request and dashboard page: does this credential, right now, hold
//! the permission that this needs?
//!
//! Folders are floors. A file uses its own folder and lower floors only; `tests/house/floors.rs` holds it so.
//!
//! | floor | folder | what lives there |
//! | --- | --- | --- |
//! | 5 | [`server`], [`cli`] | composition root; the command line, the demo and its backends |
//! | 4 | `edge` | sockets and pingora: `edge::net` (listeners, TLS), `edge::http` (proxy, management API), `edge::smtp` (mail), `edge::ops` |
//! | 3 | [`service`] | access (the decision), credentials (get, add, edit, remove) |
//! | 2 | [`state`] | store, cache, hashing, throttle, cluster, metrics |
//! | 1 | [`wire`] | pure bytes <-> values: [`wire::form`], [`wire::http`], [`wire::api`] (the credentials API), [`wire::smtp`] (both sides) |
//! | 0 | [`domain`], [`config`] | pure: permission, credential, decision; raw TOML -> checked configuration |

pub mod cli;
pub mod config;
pub mod domain;
mod edge;
pub mod server;
pub mod service;
pub mod state;
pub mod wire;
