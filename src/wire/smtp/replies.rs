//! The replies that Gatepost itself sends, with the codes of RFC 5321, RFC 3207, RFC 4954 and RFC 3463.

use super::reply::{EnhancedStatusCode, Reply};

/// Returns true for a reply whose text is that of the original API. Clients and scripts compare it, so no ID is added.
pub fn is_original(reply: &Reply) -> bool {
    *reply == BAD_LOGIN || *reply == MAY_NOT_SEND
}

/// To STARTTLS.
pub const READY_FOR_TLS: Reply = Reply::new(220, EnhancedStatusCode(2, 0, 0), "Ready to start TLS");
/// To QUIT.
pub const BYE: Reply = Reply::new(221, EnhancedStatusCode(2, 0, 0), "Bye");
/// To AUTH with valid credentials.
pub const AUTHENTICATED: Reply = Reply::new(235, EnhancedStatusCode(2, 7, 0), "Authentication successful");
/// To RSET and NOOP.
pub const OK: Reply = Reply::new(250, EnhancedStatusCode(2, 0, 0), "Ok");
/// To MAIL.
pub const MAIL_OK: Reply = Reply::new(250, EnhancedStatusCode(2, 1, 0), "Ok");
/// To a BDAT chunk that is not the last one.
pub const CHUNK_ACCEPTED: Reply = Reply::new(250, EnhancedStatusCode(2, 0, 0), "Chunk accepted");
/// To VRFY, whatever the address: whether it exists is not disclosed.
pub const NOT_VERIFIED: Reply =
    Reply::new(252, EnhancedStatusCode(2, 5, 0), "Not verified; a message would be accepted for delivery");
/// To HELP.
pub const HELP: Reply = Reply::new(
    214,
    EnhancedStatusCode(2, 0, 0),
    "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nSee RFC 5321 and RFC 6409",
);

/// The credential of an open session was revoked.
pub const REVOKED: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "The credential of this session is no longer valid");
/// The credential of an open session can't be checked, and neither could it at the step before.
pub const STILL_CUT_OFF: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "Credentials cannot be checked here now, connect again");
/// The gateway stops.
pub const STOPPING: Reply = Reply::new(421, EnhancedStatusCode(4, 3, 2), "Service shutting down, try again");
/// The client took too long.
pub const TIMEOUT: Reply = Reply::new(421, EnhancedStatusCode(4, 4, 2), "Timeout, closing connection");
/// The limit of connections is reached, in total or for one source.
pub const TOO_MANY_CONNECTIONS: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "Too many connections, try again later");
/// The limit of errors in a session is reached.
pub const TOO_MANY_ERRORS: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "Too many errors, closing connection");
/// The limit of failed logins in a session is reached.
pub const TOO_MANY_LOGINS: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "Too many failed logins, closing connection");
/// The limit of messages in a session is reached.
pub const TOO_MANY_MESSAGES: Reply =
    Reply::new(421, EnhancedStatusCode(4, 7, 0), "Too many messages in one session, connect again");

/// The backend was lost after it was given the message or a part of it. Whether it accepted the message is unknown.
pub const BACKEND_LOST: Reply =
    Reply::new(451, EnhancedStatusCode(4, 4, 2), "The backend was lost, try again");
/// Reply if each backend refuses transactions now.
pub const NO_BACKEND: Reply =
    Reply::new(451, EnhancedStatusCode(4, 4, 1), "No backend can be reached, try again later");
/// All connections to the backends stayed in use.
pub const BACKENDS_BUSY: Reply =
    Reply::new(451, EnhancedStatusCode(4, 4, 5), "All backends are busy, try again");
/// The limit of recipients of one message is reached.
pub const TOO_MANY_RECIPIENTS: Reply = Reply::new(452, EnhancedStatusCode(4, 5, 3), "Too many recipients");
/// The credential can't be checked now.
pub const AUTH_UNAVAILABLE: Reply =
    Reply::new(454, EnhancedStatusCode(4, 7, 0), "Temporary authentication failure");
/// An unknown command.
pub const UNKNOWN_COMMAND: Reply = Reply::new(500, EnhancedStatusCode(5, 5, 1), "Command not recognized");
/// A command line that is too long.
pub const LINE_TOO_LONG: Reply = Reply::new(500, EnhancedStatusCode(5, 5, 2), "Line too long");
/// An AUTH command, or a line of its exchange, that is too long (RFC 4954 section 4).
pub const AUTH_TOO_LONG: Reply =
    Reply::new(500, EnhancedStatusCode(5, 5, 6), "Authentication exchange line is too long");
/// A command line that doesn't end in CR LF, or contains a control character.
pub const MALFORMED_LINE: Reply = Reply::new(
    500,
    EnhancedStatusCode(5, 5, 2),
    "Command lines must end in CR LF and contain no other control character",
);
/// A known command with invalid arguments.
pub const INVALID_ARGUMENTS: Reply =
    Reply::new(501, EnhancedStatusCode(5, 5, 4), "Syntax error in arguments");
/// EHLO or HELO without a name, or with one that is too long.
pub const INVALID_HOST_NAME: Reply = Reply::new(
    501,
    EnhancedStatusCode(5, 5, 4),
    "Syntax error in arguments: a host name of 1 to 255 bytes is required",
);
/// A parameter of MAIL or RCPT that is malformed, repeated, or has an invalid value.
pub const INVALID_PARAMETER: Reply = Reply::new(
    501,
    EnhancedStatusCode(5, 5, 4),
    "Syntax error in arguments: malformed, repeated or invalid parameter",
);
/// A `*` in an AUTH exchange (RFC 4954 section 4).
pub const AUTH_CANCELLED: Reply = Reply::new(501, EnhancedStatusCode(5, 7, 0), "Authentication cancelled");
/// A line of an AUTH exchange that is not base64, or not what the mechanism requires.
pub const AUTH_MALFORMED: Reply = Reply::new(501, EnhancedStatusCode(5, 5, 2), "Cannot decode the response");
/// A standard command that Gatepost does not offer.
pub const NOT_IMPLEMENTED: Reply = Reply::new(502, EnhancedStatusCode(5, 5, 1), "Command not implemented");
/// A command out of order.
pub const BAD_SEQUENCE: Reply = Reply::new(503, EnhancedStatusCode(5, 5, 1), "Bad sequence of commands");
/// AUTH in an authenticated session.
pub const ALREADY_AUTHENTICATED: Reply =
    Reply::new(503, EnhancedStatusCode(5, 5, 1), "Already authenticated");
/// DATA or BDAT without an accepted recipient.
pub const NO_RECIPIENTS: Reply = Reply::new(554, EnhancedStatusCode(5, 5, 1), "No valid recipients");
/// An AUTH mechanism that is not offered.
pub const UNKNOWN_MECHANISM: Reply =
    Reply::new(504, EnhancedStatusCode(5, 5, 4), "Unrecognized authentication mechanism");
/// MAIL before AUTH, unencrypted although TLS is required.
pub const TLS_FIRST: Reply =
    Reply::new(530, EnhancedStatusCode(5, 7, 0), "Must issue a STARTTLS command first");
/// MAIL before AUTH.
pub const AUTH_FIRST: Reply = Reply::new(530, EnhancedStatusCode(5, 7, 0), "Authentication required");
/// AUTH that failed, for whatever reason (docs/api.md, "Mail"). The text is that of the original API.
pub const BAD_LOGIN: Reply =
    Reply::new(535, EnhancedStatusCode(5, 7, 8), "Authentication failed: Bad username / password");
/// AUTH, unencrypted although TLS is required.
pub const ENCRYPTION_REQUIRED: Reply = Reply::new(
    538,
    EnhancedStatusCode(5, 7, 11),
    "Encryption required for requested authentication mechanism",
);
/// MAIL by a credential without the permission `email` (docs/api.md, "Mail"). The text is that of the original API.
pub const MAY_NOT_SEND: Reply =
    Reply::new(550, EnhancedStatusCode(5, 7, 1), "Unauthenticated senders not allowed");
/// A message with a lone CR or LF, a NUL, or a line that other servers could take for its end.
pub const INVALID_CONTENT: Reply = Reply::new(
    550,
    EnhancedStatusCode(5, 6, 0),
    "Lines must end in CR LF (curl: --crlf), contain no other CR, LF or NUL, and not begin with an unstuffed dot",
);
/// A message whose client pauses behind a dot in a line of its own that is not the end.
pub const END_NOT_RECOGNIZED: Reply = Reply::new(
    550,
    EnhancedStatusCode(5, 6, 0),
    "Only CR LF, a dot and CR LF end a message: the last line is a dot, but without CR LF on both sides",
);
/// An internationalized address in a transaction without SMTPUTF8 (RFC 6531).
pub const SMTPUTF8_REQUIRED: Reply =
    Reply::new(553, EnhancedStatusCode(5, 6, 7), "Internationalized address requires SMTPUTF8");
/// A message that is larger than the SIZE that was offered.
pub const TOO_LARGE: Reply = Reply::new(552, EnhancedStatusCode(5, 3, 4), "Message too large");
/// Unencrypted bytes behind STARTTLS, which an attacker may have injected.
pub const STARTTLS_INJECTION: Reply =
    Reply::new(554, EnhancedStatusCode(5, 7, 0), "Commands sent together with STARTTLS are refused");
/// A client from a network that the listener does not admit, instead of the greeting (RFC 5321 section 3.1).
pub const NETWORK_NOT_ADMITTED: Reply = Reply::new(
    554,
    EnhancedStatusCode(5, 7, 1),
    "Connections from your network are not accepted on this port",
);
/// A message with too many `Received` fields.
pub const MAIL_LOOP: Reply =
    Reply::new(554, EnhancedStatusCode(5, 4, 6), "Too many hops: mail loop detected");
/// A parameter of MAIL or RCPT that is not offered.
pub const UNKNOWN_PARAMETER: Reply =
    Reply::new(555, EnhancedStatusCode(5, 5, 4), "Parameter not recognized or not implemented");

/// A malformed address at MAIL; `text` says what is wrong.
pub const fn invalid_sender(text: &'static str) -> Reply {
    Reply::new(501, EnhancedStatusCode(5, 1, 7), text)
}

/// A malformed address at RCPT; `text` says what is wrong.
pub const fn invalid_recipient(text: &'static str) -> Reply {
    Reply::new(501, EnhancedStatusCode(5, 1, 3), text)
}
