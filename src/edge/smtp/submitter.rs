//! The submitter of a message.

use std::net::IpAddr;

use crate::domain::Username;

/// The client that submits a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// The username of the login.
    pub user: Username,
    /// The username of the account that it belongs to.
    pub account: Username,
    /// The client's IP address.
    pub address: IpAddr,
    /// The name that the client gave in EHLO or HELO, as it is passed on.
    pub helo: String,
    /// True for EHLO, false for HELO.
    pub esmtp: bool,
}
