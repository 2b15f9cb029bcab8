//! Several nodes on PostgreSQL: the schema, the store, the protocol between nodes, and what happens when any of it fails.

#[path = "../common/mod.rs"]
mod common;

mod cluster;
mod failover;
mod hammer;
mod model;
mod orderings;
mod schema;
mod simulation;
mod store;
