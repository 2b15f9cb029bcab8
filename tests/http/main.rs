//! API and dashboard requests: what passes, what is refused, and what backends and clients get.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod asked_over_http2;
mod backends;
mod browsers;
mod chunked_framing;
mod clients;
mod compared;
mod cors;
mod credential_places;
mod cross_site;
mod cut_boundaries;
mod field_names;
mod forwarded_fields;
mod forwarded_paths;
mod groups;
mod half_closed;
mod half_closed_tunnels;
mod http2;
mod judged_forms;
mod judged_framing;
mod judged_headers;
mod judged_paths;
mod kept_connections;
mod limits;
mod management_api;
mod multipart_readings;
mod nothing_passes_unasked;
mod ordinary_forms;
mod persistence;
mod read_by_servers;
mod refusals;
mod relayed_answers;
mod request_lines;
mod secrets_stay;
mod slow_clients;
mod sources;
mod spooling;
mod tls;
mod tunnels;
mod unavailable_is_never_denied;
mod uploads;
mod upstream_tls;
mod virtual_hosts;
