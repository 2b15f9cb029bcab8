//! API and dashboard requests: what passes, what is refused, and what backends and clients get.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod asked_over_http2;
mod backends;
mod chunked_framing;
mod clients;
mod cross_site;
mod cut_boundaries;
mod forwarded_paths;
mod groups;
mod http2;
mod judged_forms;
mod judged_framing;
mod judged_headers;
mod judged_paths;
mod kept_connections;
mod limits;
mod management_api;
mod nothing_passes_unasked;
mod ordinary_forms;
mod relayed_answers;
mod secrets_stay;
mod slow_clients;
mod sources;
mod spooling;
mod tls;
mod tunnels;
mod unavailable_is_never_denied;
mod uploads;
mod upstream_tls;
