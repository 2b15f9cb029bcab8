//! Failovers of a real PostgreSQL, and servers that can only be read: real gateways decide nothing, or on the present state.

mod demoted;
mod gateways;
mod poolers;
mod promoted;
