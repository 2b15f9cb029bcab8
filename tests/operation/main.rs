//! The binary as operators use it: command line, start and stop, logs, audit trail, the demo; and the changes behind it.

#[path = "../common/mod.rs"]
mod common;

mod audit;
mod broken_log;
mod certificate_expiry;
mod certificates;
mod checking;
mod command_line;
mod credential_list;
mod demo;
mod descriptors;
mod documented_commands;
mod lifecycle;
mod logs;
mod management;
mod metrics;
mod monitoring;
mod refusals_can_be_found;
mod replaced_files;
mod starting;
