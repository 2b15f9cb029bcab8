//! Suites that need the machine: floods, kills at every point, races between changes and checks. They run apart from the
//! other suites, so that neither slows the other.

#[path = "../common/mod.rs"]
mod common;

mod door;
mod flood;
mod guessing;
mod nothing_accepted_is_lost;
mod removed_means_removed;
mod several_gateways;
mod shares;
mod smtp_backend_killed;
mod smtp_kills;
mod smtp_misbehaviour;
mod stream_flood;
mod timing;
