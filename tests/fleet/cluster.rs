//! Several nodes on a real PostgreSQL: a revocation is in effect on all of them when it is answered.

mod audit_lines;
mod backlog;
mod gateways;
mod nodes;
mod session_nodes;
mod sessions;
mod trust;
