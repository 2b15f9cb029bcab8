//! The listener for operators, apart from the entries: `/metrics`, `/healthz` and `/readyz`.

pub mod server;
