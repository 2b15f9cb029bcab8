//! What Gatepost itself says, with the codes of RFC 5321, RFC 3207, RFC 4954 and RFC 3463.

use super::reply::{EnhancedStatusCode, Reply};

/// STARTTLS.
pub const READY_FOR_TLS: Reply = Reply::ours(220, EnhancedStatusCode(2, 0, 0), "Ready to start TLS");
/// QUIT.
pub const BYE: Reply = Reply::ours(221, EnhancedStatusCode(2, 0, 0), "Bye");
/// AUTH worked.
pub const AUTHENTICATED: Reply = Reply::ours(235, EnhancedStatusCode(2, 7, 0), "Authentication successful");
/// RSET, NOOP.
pub const OK: Reply = Reply::ours(250, EnhancedStatusCode(2, 0, 0), "Ok");
/// MAIL.
pub const MAIL_OK: Reply = Reply::ours(250, EnhancedStatusCode(2, 1, 0), "Ok");
/// BDAT, but for the last one.
pub const CHUNK_TAKEN: Reply = Reply::ours(250, EnhancedStatusCode(2, 0, 0), "Ok, the chunk was taken");
/// VRFY, which is never answered truly.
pub const NOT_VERIFIED: Reply =
    Reply::ours(252, EnhancedStatusCode(2, 5, 0), "Not verified; a message would be accepted for delivery");
/// HELP.
pub const HELP: Reply = Reply::ours(
    214,
    EnhancedStatusCode(2, 0, 0),
    "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nSee RFC 5321 and RFC 6409",
);

/// The credential of an open session is gone.
pub const REVOKED: Reply =
    Reply::ours(421, EnhancedStatusCode(4, 7, 0), "The credential of this session is no longer valid");
/// The gateway stops.
pub const STOPPING: Reply = Reply::ours(421, EnhancedStatusCode(4, 3, 2), "Service shutting down, try again");
/// The client took too long.
pub const TIMEOUT: Reply = Reply::ours(421, EnhancedStatusCode(4, 4, 2), "Timeout, closing connection");
/// Over the limit of connections, in all or of one source.
pub const TOO_MANY_CONNECTIONS: Reply =
    Reply::ours(421, EnhancedStatusCode(4, 7, 0), "Too many connections, try again later");
/// Over the limit of errors in a session.
pub const TOO_MANY_ERRORS: Reply =
    Reply::ours(421, EnhancedStatusCode(4, 7, 0), "Too many errors, closing connection");
/// Over the limit of failed logins in a session.
pub const TOO_MANY_LOGINS: Reply =
    Reply::ours(421, EnhancedStatusCode(4, 7, 0), "Too many failed logins, closing connection");
/// Over the limit of messages in a session.
pub const TOO_MANY_MESSAGES: Reply =
    Reply::ours(421, EnhancedStatusCode(4, 7, 0), "Too many messages in one session, connect again");

/// The backend was lost after it was given the message, or a part of it: nobody knows whether it has it.
pub const BACKEND_LOST: Reply =
    Reply::ours(451, EnhancedStatusCode(4, 4, 2), "The backend was lost, try again");
/// There is no backend that takes a transaction now.
pub const NO_BACKEND: Reply =
    Reply::ours(451, EnhancedStatusCode(4, 4, 1), "No backend can be reached, try again later");
/// All connections to the backends stayed in use.
pub const BACKENDS_BUSY: Reply =
    Reply::ours(451, EnhancedStatusCode(4, 4, 5), "All backends are busy, try again");
/// Over the limit of recipients of one message.
pub const TOO_MANY_RECIPIENTS: Reply = Reply::ours(452, EnhancedStatusCode(4, 5, 3), "Too many recipients");
/// The decision can't be made now.
pub const AUTH_UNAVAILABLE: Reply =
    Reply::ours(454, EnhancedStatusCode(4, 7, 0), "Temporary authentication failure");
/// No such command.
pub const UNKNOWN_COMMAND: Reply = Reply::ours(500, EnhancedStatusCode(5, 5, 1), "Command not recognized");
/// A line over its limit.
pub const LINE_TOO_LONG: Reply = Reply::ours(500, EnhancedStatusCode(5, 5, 2), "Line too long");
/// AUTH, or a line within it, over its limit (RFC 4954 section 4).
pub const AUTH_TOO_LONG: Reply =
    Reply::ours(500, EnhancedStatusCode(5, 5, 6), "Authentication exchange line is too long");
/// A line that doesn't end in CR LF, or holds a control character.
pub const MALFORMED_LINE: Reply =
    Reply::ours(500, EnhancedStatusCode(5, 5, 2), "Lines end in CR LF and hold no other control character");
/// What follows the verb isn't what belongs there.
pub const SYNTAX: Reply = Reply::ours(501, EnhancedStatusCode(5, 5, 4), "Syntax error in arguments");
/// `*` in the middle of AUTH.
pub const AUTH_CANCELLED: Reply = Reply::ours(501, EnhancedStatusCode(5, 7, 0), "Authentication cancelled");
/// Not base64, or not what the mechanism says.
pub const AUTH_MALFORMED: Reply = Reply::ours(501, EnhancedStatusCode(5, 5, 2), "Cannot decode the response");
/// A command of the standard that isn't offered.
pub const NOT_IMPLEMENTED: Reply = Reply::ours(502, EnhancedStatusCode(5, 5, 1), "Command not implemented");
/// A command in the wrong place.
pub const BAD_SEQUENCE: Reply = Reply::ours(503, EnhancedStatusCode(5, 5, 1), "Bad sequence of commands");
/// AUTH after AUTH.
pub const ALREADY_AUTHENTICATED: Reply =
    Reply::ours(503, EnhancedStatusCode(5, 5, 1), "Already authenticated");
/// DATA without a recipient that was accepted.
pub const NO_RECIPIENTS: Reply = Reply::ours(554, EnhancedStatusCode(5, 5, 1), "No valid recipients");
/// An AUTH mechanism that isn't offered.
pub const UNKNOWN_MECHANISM: Reply =
    Reply::ours(504, EnhancedStatusCode(5, 5, 4), "Unrecognized authentication mechanism");
/// MAIL before STARTTLS, if TLS is required.
pub const TLS_FIRST: Reply =
    Reply::ours(530, EnhancedStatusCode(5, 7, 0), "Must issue a STARTTLS command first");
/// MAIL before AUTH.
pub const AUTH_FIRST: Reply = Reply::ours(530, EnhancedStatusCode(5, 7, 0), "Authentication required");
/// A failed AUTH, for whatever reason (docs/api.md, "Mail").
pub const BAD_LOGIN: Reply =
    Reply::ours(535, EnhancedStatusCode(5, 7, 8), "Authentication failed: Bad username / password");
/// AUTH before STARTTLS, if TLS is required.
pub const ENCRYPTION_REQUIRED: Reply = Reply::ours(
    538,
    EnhancedStatusCode(5, 7, 11),
    "Encryption required for requested authentication mechanism",
);
/// MAIL of a credential without `email` (docs/api.md, "Mail").
pub const MAY_NOT_SEND: Reply =
    Reply::ours(550, EnhancedStatusCode(5, 7, 1), "Unauthenticated senders not allowed");
/// A CR without LF, an LF without CR or a NUL in a message, or what could be taken for its end.
pub const BARE_LINE_END: Reply = Reply::ours(
    550,
    EnhancedStatusCode(5, 6, 0),
    "End lines in CR LF (curl: --crlf); a message holds no CR or LF alone, no NUL, no dot and blank at a line's beginning",
);
/// An address that needs SMTPUTF8 in a MAIL without it.
pub const NEEDS_SMTPUTF8: Reply = Reply::ours(553, EnhancedStatusCode(5, 6, 7), "The address needs SMTPUTF8");
/// Larger than what is offered by SIZE.
pub const TOO_LARGE: Reply = Reply::ours(552, EnhancedStatusCode(5, 3, 4), "Message too large");
/// Unencrypted bytes after STARTTLS.
pub const INJECTION: Reply =
    Reply::ours(554, EnhancedStatusCode(5, 7, 0), "Commands behind STARTTLS are refused");
/// Too many `Received:` lines.
pub const LOOP: Reply = Reply::ours(554, EnhancedStatusCode(5, 4, 6), "Too many hops: the message loops");
/// A parameter of MAIL or RCPT that isn't offered.
pub const UNKNOWN_PARAMETER: Reply =
    Reply::ours(555, EnhancedStatusCode(5, 5, 4), "Parameter not recognized or not implemented");
