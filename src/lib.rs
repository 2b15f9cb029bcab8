//! Gatepost is a gateway for HTTP APIs, dashboards and mail submission. For every request and every SMTP transaction it
//! decides if the credential holds the required permission at that moment.
//!
//! Folders are layers: a file uses its own folder and lower layers only, which a test checks. docs/architecture.md
//! describes the path of a request and of a message.
//!
//! | layer | folder | contents |
//! | --- | --- | --- |
//! | 5 | [`server`], [`cli`] | composition root; the command line, the demo and its backends |
//! | 4 | `edge` | sockets and pingora: `edge::net` (listeners, TLS), `edge::http` (proxy, management API), `edge::smtp` (mail), `edge::ops` |
//! | 3 | [`service`] | access (the decision), accounts and credentials, the audit trail |
//! | 2 | [`state`] | store, cache, epochs, hashing, throttle, cluster, metrics |
//! | 1 | [`wire`] | pure functions between bytes and values: [`wire::form`], [`wire::http`], [`wire::api`] (the credentials API), [`wire::smtp`] (both sides) |
//! | 0 | [`domain`], [`config`] | pure: permissions, names, passwords, decisions; from TOML to a checked configuration |

pub mod cli;
pub mod config;
pub mod domain;
mod edge;
pub mod server;
pub mod service;
pub mod state;
pub mod wire;
