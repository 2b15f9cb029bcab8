//! A client's command line (RFC 5321 section 4.1, RFC 3207, RFC 4954, RFC 3030).

use super::host_name;
use super::parameters::{self, EsmtpParameterError, MailParameters};
use super::path::{SmtpPath, SmtpPathError};
use super::{Capabilities, Reply, replies};

/// The longest command line in bytes, CR LF included (RFC 5321 section 4.5.3.1.4). AUTH, MAIL and RCPT may be longer.
pub const LINE: usize = 512;
/// The longest MAIL and RCPT line in bytes; the extensions that are offered add less to them.
pub const ENVELOPE_LINE: usize = 2048;
/// The longest AUTH line, and the longest line of its exchange, in bytes (RFC 4954 section 4).
pub const AUTH_LINE: usize = 12288;
/// The bytes that a path without angle brackets grows by.
const BRACKETS: usize = 2;

/// A command with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpCommand<'a> {
    /// EHLO with the client's host name.
    Ehlo(&'a [u8]),
    /// HELO with the client's host name.
    Helo(&'a [u8]),
    /// STARTTLS.
    StartTls,
    /// AUTH with the mechanism and the initial response.
    Auth(&'a [u8], Option<&'a [u8]>),
    /// MAIL with what follows `FROM:`.
    Mail(&'a [u8]),
    /// RCPT with what follows `TO:`.
    Rcpt(&'a [u8]),
    /// DATA.
    Data,
    /// BDAT with the size of the chunk in bytes, and true for the last one.
    Bdat(u64, bool),
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// The reason why a line is not a valid command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpCommandError {
    /// Unknown.
    Unknown,
    /// A standard command that is not offered.
    NotImplemented,
    /// Invalid arguments.
    Syntax,
    /// EHLO or HELO without a name, or with one that is too long.
    HostName,
    /// MAIL without `FROM:`.
    NoSender,
    /// RCPT without `TO:`.
    NoRecipient,
    /// BDAT without a valid size: where the next command begins is unknown.
    UnknownChunkSize,
}

impl SmtpCommandError {
    /// The reply to the client.
    pub const fn reply(self) -> Reply {
        match self {
            SmtpCommandError::Unknown => replies::UNKNOWN_COMMAND,
            SmtpCommandError::NotImplemented => replies::NOT_IMPLEMENTED,
            SmtpCommandError::Syntax | SmtpCommandError::UnknownChunkSize => replies::INVALID_ARGUMENTS,
            SmtpCommandError::HostName => replies::INVALID_HOST_NAME,
            SmtpCommandError::NoSender => SmtpPathError::NoKeyword.sender_reply(),
            SmtpCommandError::NoRecipient => SmtpPathError::NoKeyword.recipient_reply(),
        }
    }
}

/// The longest line that may begin like `line`, in bytes, CR LF included.
pub fn longest(line: &[u8]) -> usize {
    let begins = |verb: &[u8]| line.len() > 4 && line[..4].eq_ignore_ascii_case(verb);
    if begins(b"AUTH") {
        AUTH_LINE
    } else if begins(b"MAIL") || begins(b"RCPT") {
        ENVELOPE_LINE
    } else {
        LINE
    }
}

/// Returns true for a command in which a tab counts as a blank: some devices send it.
pub fn may_have_tabs(line: &[u8]) -> bool {
    const VERBS: [&[u8]; 4] = [b"EHLO", b"HELO", b"MAIL", b"RCPT"];
    line.get(..4).is_some_and(|verb| VERBS.iter().any(|known| verb.eq_ignore_ascii_case(known)))
}

/// Returns true for BDAT, however malformed: content follows it.
pub fn is_bdat(line: &[u8]) -> bool {
    let verb = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
    verb && !line.get(4).is_some_and(u8::is_ascii_alphabetic)
}

impl<'a> SmtpCommand<'a> {
    /// Parses a line without its CR LF.
    ///
    /// # Errors
    /// The line is not a well-formed command that is offered.
    pub fn parse(line: &'a [u8]) -> Result<SmtpCommand<'a>, SmtpCommandError> {
        let line = line.trim_ascii_end();
        let end = memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len());
        let (verb, rest) = line.split_at(end);
        let rest = rest.trim_ascii_start();
        let mut upper = [0; 8];
        let unknown =
            || if is_bdat(line) { SmtpCommandError::UnknownChunkSize } else { SmtpCommandError::Unknown };
        let Some(name) = upper.get_mut(..verb.len()) else { return Err(unknown()) };
        name.copy_from_slice(verb);
        name.make_ascii_uppercase();
        let alone = |command| if rest.is_empty() { Ok(command) } else { Err(SmtpCommandError::Syntax) };
        match &*name {
            b"EHLO" => client_name(rest).map(SmtpCommand::Ehlo),
            b"HELO" => client_name(rest).map(SmtpCommand::Helo),
            b"STARTTLS" => alone(SmtpCommand::StartTls),
            b"AUTH" => auth(rest),
            b"MAIL" => after(b"FROM", rest).map(SmtpCommand::Mail).ok_or(SmtpCommandError::NoSender),
            b"RCPT" => after(b"TO", rest).map(SmtpCommand::Rcpt).ok_or(SmtpCommandError::NoRecipient),
            b"DATA" => alone(SmtpCommand::Data),
            b"BDAT" => bdat(rest),
            b"RSET" => alone(SmtpCommand::Rset),
            b"NOOP" => Ok(SmtpCommand::Noop),
            b"VRFY" if rest.is_empty() => Err(SmtpCommandError::Syntax),
            b"VRFY" => Ok(SmtpCommand::Vrfy),
            b"HELP" => Ok(SmtpCommand::Help),
            b"QUIT" => alone(SmtpCommand::Quit),
            b"EXPN" | b"TURN" | b"ETRN" | b"ATRN" | b"SEND" | b"SOML" | b"SAML" | b"BURL" | b"XCLIENT"
            | b"XFORWARD" => Err(SmtpCommandError::NotImplemented),
            _ => Err(unknown()),
        }
    }
}

fn client_name(rest: &[u8]) -> Result<&[u8], SmtpCommandError> {
    if host_name::is_accepted(rest) { Ok(rest) } else { Err(SmtpCommandError::HostName) }
}

fn auth(rest: &[u8]) -> Result<SmtpCommand<'_>, SmtpCommandError> {
    let mut words = rest.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(SmtpCommandError::Syntax)?;
    let initial = words.next();
    if words.next().is_some() {
        return Err(SmtpCommandError::Syntax);
    }
    Ok(SmtpCommand::Auth(mechanism, initial))
}

/// Returns what follows `keyword` and a colon. Blanks beside the colon violate RFC 5321, but are common.
fn after<'a>(keyword: &[u8], rest: &'a [u8]) -> Option<&'a [u8]> {
    let (begin, behind) = rest.split_at_checked(keyword.len())?;
    let arguments = behind.trim_ascii_start().strip_prefix(b":")?;
    begin.eq_ignore_ascii_case(keyword).then(|| arguments.trim_ascii_start())
}

fn bdat(rest: &[u8]) -> Result<SmtpCommand<'_>, SmtpCommandError> {
    let mut words = rest.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let size = size
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .ok_or(SmtpCommandError::UnknownChunkSize)?;
    match (words.next(), words.next()) {
        (None, _) => Ok(SmtpCommand::Bdat(size, false)),
        (Some(last), None) if last.eq_ignore_ascii_case(b"LAST") => Ok(SmtpCommand::Bdat(size, true)),
        _ => Err(SmtpCommandError::UnknownChunkSize),
    }
}

/// The arguments of a MAIL command, checked against what was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailCommand {
    /// The path in angle brackets, and the parameters for a backend as they came, without `AUTH=`.
    pub arguments: Vec<u8>,
    /// True if the client gave `AUTH=`. A backend at which the gateway itself logs in then gets `AUTH=<>` (RFC 4954 section 5).
    pub auth: bool,
    /// True if SMTPUTF8 was given (RFC 6531).
    pub utf8: bool,
}

/// Parses what follows `MAIL FROM:`. `limit` is the largest message in bytes, `extended` is true after EHLO.
///
/// # Errors
/// The reply that refuses it.
pub fn mail(
    arguments: &[u8],
    offered: Capabilities,
    limit: u64,
    extended: bool,
) -> Result<MailCommand, Reply> {
    let (path, rest) = SmtpPath::split(arguments).map_err(SmtpPathError::sender_reply)?;
    if !extended && !rest.trim_ascii().is_empty() {
        return Err(replies::UNKNOWN_PARAMETER);
    }
    let mut kept = Vec::with_capacity(arguments.len() + BRACKETS);
    path.write(&mut kept);
    let MailParameters { utf8, auth } =
        parameters::mail(rest, offered, limit, &mut kept).map_err(parameter_reply)?;
    if path.international && !utf8 {
        return Err(replies::SMTPUTF8_REQUIRED);
    }
    Ok(MailCommand { arguments: kept, auth, utf8 })
}

/// Checks what follows `RCPT TO:`, and returns it for a backend, with angle brackets. `utf8` is true if MAIL had SMTPUTF8.
///
/// # Errors
/// The reply that refuses it.
pub fn rcpt(arguments: &[u8], offered: Capabilities, utf8: bool, extended: bool) -> Result<Vec<u8>, Reply> {
    let (path, rest) = SmtpPath::split(arguments).map_err(SmtpPathError::recipient_reply)?;
    if path.mailbox.is_empty() {
        return Err(SmtpPathError::Null.recipient_reply());
    }
    if !extended && !rest.trim_ascii().is_empty() {
        return Err(replies::UNKNOWN_PARAMETER);
    }
    parameters::rcpt(rest, offered, utf8).map_err(parameter_reply)?;
    if path.international && !utf8 {
        return Err(replies::SMTPUTF8_REQUIRED);
    }
    let mut kept = Vec::with_capacity(arguments.len() + BRACKETS);
    path.write(&mut kept);
    kept.extend(rest.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }));
    Ok(kept)
}

const fn parameter_reply(error: EsmtpParameterError) -> Reply {
    match error {
        EsmtpParameterError::Syntax => replies::INVALID_PARAMETER,
        EsmtpParameterError::Unknown => replies::UNKNOWN_PARAMETER,
        EsmtpParameterError::TooLarge => replies::TOO_LARGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let cases: [(&str, SmtpCommand<'_>); 23] = [
            ("EHLO client.example", SmtpCommand::Ehlo(b"client.example")),
            ("ehlo [127.0.0.1]", SmtpCommand::Ehlo(b"[127.0.0.1]")),
            ("HELO x ", SmtpCommand::Helo(b"x")),
            ("STARTTLS", SmtpCommand::StartTls),
            ("AUTH PLAIN", SmtpCommand::Auth(b"PLAIN", None)),
            ("auth login dXNlcg==", SmtpCommand::Auth(b"login", Some(b"dXNlcg=="))),
            ("MAIL FROM:<a@b> SIZE=1", SmtpCommand::Mail(b"<a@b> SIZE=1")),
            ("mail from: <a@b>", SmtpCommand::Mail(b"<a@b>")),
            ("MAIL FROM : a@b  ", SmtpCommand::Mail(b"a@b")),
            ("MAIL FROM:", SmtpCommand::Mail(b"")),
            ("EHLO My Mac", SmtpCommand::Ehlo(b"My Mac")),
            ("EHLO\tMy\tMac", SmtpCommand::Ehlo(b"My\tMac")),
            ("MAIL FROM:\t<a@b>", SmtpCommand::Mail(b"<a@b>")),
            ("RCPT TO:<a@b>", SmtpCommand::Rcpt(b"<a@b>")),
            ("DATA", SmtpCommand::Data),
            ("BDAT 10", SmtpCommand::Bdat(10, false)),
            ("bdat 0 last", SmtpCommand::Bdat(0, true)),
            ("RSET", SmtpCommand::Rset),
            ("NOOP whatever", SmtpCommand::Noop),
            ("VRFY joe", SmtpCommand::Vrfy),
            ("HELP", SmtpCommand::Help),
            ("HELP MAIL", SmtpCommand::Help),
            ("QUIT", SmtpCommand::Quit),
        ];
        for (line, expected) in cases {
            assert_eq!(SmtpCommand::parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn invalid_commands() {
        use SmtpCommandError::*;
        let cases = [
            ("", Unknown),
            (" EHLO x", Unknown),
            ("GET / HTTP/1.1", Unknown),
            ("EHLOX x", Unknown),
            ("STARTTLSSTARTTLS", Unknown),
            ("EXPN staff", NotImplemented),
            ("XCLIENT LOGIN=root", NotImplemented),
            ("EHLO", HostName),
            ("HELO ", HostName),
            ("STARTTLS now", Syntax),
            ("AUTH", Syntax),
            ("AUTH PLAIN a b", Syntax),
            ("MAIL", NoSender),
            ("MAIL TO:<a@b>", NoSender),
            ("MAIL FROM", NoSender),
            ("MAIL FROM <a@b>", NoSender),
            ("RCPT <a@b>", NoRecipient),
            ("RCPT FROM:<a@b>", NoRecipient),
            ("DATA x", Syntax),
            ("VRFY", Syntax),
            ("QUIT now", Syntax),
            ("BDATA 1", Unknown),
            ("BDAT", UnknownChunkSize),
            ("bdat70 LAST", UnknownChunkSize),
            ("BDAT:70", UnknownChunkSize),
            ("BDAT=12345 LAST", UnknownChunkSize),
            ("BDAT x", UnknownChunkSize),
            ("BDAT -1", UnknownChunkSize),
            ("BDAT +1", UnknownChunkSize),
            ("BDAT 99999999999999999999", UnknownChunkSize),
            ("BDAT 1 LATER", UnknownChunkSize),
            ("BDAT 1 LAST LAST", UnknownChunkSize),
        ];
        for (line, expected) in cases {
            assert_eq!(SmtpCommand::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }

    #[test]
    fn envelopes_pass_as_they_are() {
        let all = Capabilities {
            size: Some(0),
            eight_bit_mime: true,
            smtp_utf8: true,
            dsn: true,
            ..Capabilities::default()
        };
        let read = mail(b"<a@b> AUTH=<> SIZE=10", all, 10, true).unwrap();
        assert_eq!(read, MailCommand { arguments: b"<a@b> SIZE=10".to_vec(), auth: true, utf8: false });
        assert_eq!(mail(b"<a@b> SIZE=11", all, 10, true), Err(replies::TOO_LARGE));
        assert_eq!(mail(b"<a@b> SIZE=1", all, 10, false), Err(replies::UNKNOWN_PARAMETER));
        // Case D4: without angle brackets
        assert_eq!(mail(b"a@b SIZE=1", all, 10, true).unwrap().arguments, b"<a@b> SIZE=1");
        // A tab is a blank.
        assert_eq!(mail(b"<a@b>\tSIZE=1\t", all, 10, true).unwrap().arguments, b"<a@b> SIZE=1");
        assert_eq!(rcpt(b"<a@b>\tNOTIFY=NEVER", all, false, true), Ok(b"<a@b> NOTIFY=NEVER".to_vec()));
        assert_eq!(rcpt(b"< a@b >", all, false, true), Ok(b"<a@b>".to_vec()));
        assert_eq!(mail(b"", all, 10, true), Err(SmtpPathError::Missing.sender_reply()));
        assert_eq!(mail("<ä@b>".as_bytes(), all, 10, true), Err(replies::SMTPUTF8_REQUIRED));
        assert!(mail("<ä@b> SMTPUTF8".as_bytes(), all, 10, true).unwrap().utf8);
        assert_eq!(rcpt(b"<>", all, false, true), Err(SmtpPathError::Null.recipient_reply()));
        assert_eq!(rcpt(b"<a@b> NOTIFY=NEVER", all, false, true), Ok(b"<a@b> NOTIFY=NEVER".to_vec()));
        assert_eq!(rcpt("<ä@b>".as_bytes(), all, false, true), Err(replies::SMTPUTF8_REQUIRED));
        assert_eq!(rcpt(b"<a@b> X=1", all, false, true), Err(replies::UNKNOWN_PARAMETER));
    }

    #[test]
    fn lines_have_their_limits() {
        assert_eq!(longest(b"NOOP x"), LINE);
        assert_eq!(longest(b"AUTHx"), AUTH_LINE);
        assert_eq!(longest(b"mail FROM"), ENVELOPE_LINE);
        assert_eq!(longest(b"AUTH"), LINE);
    }
}
