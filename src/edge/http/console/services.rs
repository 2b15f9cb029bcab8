//! The services that the console is made of.

use std::sync::Arc;

use super::endpoints::Endpoints;
use crate::service::access::Access;
use crate::service::{Activity, Credentials, Sessions};

/// The services of the console, which all its requests share.
pub struct Console {
    /// The decision about sessions.
    pub access: Arc<Access>,
    /// Logins, and the list of sessions.
    pub sessions: Sessions,
    /// The management of credentials.
    pub credentials: Credentials,
    /// The newest changes and denials.
    pub activity: Arc<Activity>,
    /// The addresses at which credentials are used.
    pub endpoints: Endpoints,
    /// The port of the console with TLS, if it has one.
    pub tls_port: Option<u16>,
    /// True if there may be other nodes, of whose denials this one knows nothing.
    pub has_other_nodes: bool,
    /// The start of this process in seconds since 1970.
    pub started_at: i64,
}
