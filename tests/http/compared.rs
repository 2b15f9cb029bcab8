//! Malformed and ambiguous messages before three gateways: Gatepost, nginx and HAProxy. Each stands before a backend of its own kind
//! that records what reaches it.
//!
//! What Gatepost lets through arrives as the stricter of the other two would forward it: as many requests, with the same methods,
//! targets and bodies. A difference is written at the case in the corpus, with its reason.

mod corpus;
mod door;
mod proxies;
mod recorder;
mod requests;
mod responses;
