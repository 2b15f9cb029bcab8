//! AUTH (RFC 4954) with the mechanisms PLAIN (RFC 4616) and LOGIN.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{Reply, replies};
use crate::domain::Presented;
use crate::wire::PresentedCredential;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The state of an exchange: the response that is expected from the client.
#[derive(Debug)]
pub enum AuthExchange {
    /// The only response of PLAIN.
    Plain,
    /// The username for LOGIN.
    LoginUsername,
    /// The password for LOGIN, after this username.
    LoginPassword(Zeroizing<Vec<u8>>),
}

/// The next step of an exchange.
#[derive(Debug)]
pub enum AuthStep {
    /// Send a challenge and await the response.
    Challenge(&'static str, AuthExchange),
    /// Check these credentials.
    Check(PresentedCredential),
    /// End the exchange with this reply.
    Refused(Reply),
}

/// Starts an exchange for the AUTH command.
pub fn begin(mechanism: &[u8], initial: Option<&[u8]>) -> AuthStep {
    let first = if mechanism.eq_ignore_ascii_case(b"PLAIN") {
        AuthExchange::Plain
    } else if mechanism.eq_ignore_ascii_case(b"LOGIN") {
        AuthExchange::LoginUsername
    } else {
        return AuthStep::Refused(replies::UNKNOWN_MECHANISM);
    };
    match initial {
        // An empty initial response (RFC 4954 section 4).
        Some(b"=") => first.respond(b""),
        Some(initial) => first.respond(initial),
        None => first.ask(),
    }
}

impl AuthExchange {
    fn ask(self) -> AuthStep {
        let challenge = match self {
            AuthExchange::Plain => "",
            // "Username:" and "Password:".
            AuthExchange::LoginUsername => "VXNlcm5hbWU6",
            AuthExchange::LoginPassword(_) => "UGFzc3dvcmQ6",
        };
        AuthStep::Challenge(challenge, self)
    }

    /// Processes the client's response, a line without its CR LF.
    pub fn respond(self, line: &[u8]) -> AuthStep {
        if line == b"*" {
            return AuthStep::Refused(replies::AUTH_CANCELLED);
        }
        let Some(decoded) = decode(line) else { return AuthStep::Refused(replies::AUTH_MALFORMED) };
        match self {
            AuthExchange::Plain => plain(&decoded),
            AuthExchange::LoginUsername => AuthExchange::LoginPassword(decoded).ask(),
            AuthExchange::LoginPassword(username) => {
                AuthStep::Check(PresentedCredential::copy_of(Presented {
                    username: &username,
                    secret: &decoded,
                }))
            }
        }
    }
}

/// Parses the authorization identity, the authentication identity and the password of PLAIN. No login may act for another user.
fn plain(decoded: &[u8]) -> AuthStep {
    let mut parts = decoded.splitn(3, |b| *b == 0);
    let (Some(authorization_id), Some(username), Some(secret)) = (parts.next(), parts.next(), parts.next())
    else {
        return AuthStep::Refused(replies::AUTH_MALFORMED);
    };
    if !authorization_id.is_empty() && !authorization_id.eq_ignore_ascii_case(username) {
        return AuthStep::Refused(replies::BAD_LOGIN);
    }
    AuthStep::Check(PresentedCredential::copy_of(Presented { username, secret }))
}

fn decode(line: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The full capacity from the start, because a vector that grows leaves copies of its content behind.
    let mut decoded = Zeroizing::new(vec![0; line.len().div_ceil(4) * 3]);
    let len = BASE64.decode_slice(line, &mut decoded).ok()?;
    decoded.truncate(len);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(next: AuthStep) -> (String, String) {
        let AuthStep::Check(held) = next else { panic!("{next:?}") };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(held.presented().username), text(held.presented().secret))
    }

    fn refused(next: AuthStep) -> Reply {
        let AuthStep::Refused(reply) = next else { panic!("{next:?}") };
        reply
    }

    fn joe() -> (String, String) {
        ("joe".to_owned(), "secret".to_owned())
    }

    #[test]
    fn plain_in_one_line_or_two() {
        let line = BASE64.encode("\0joe\0secret");
        assert_eq!(checked(begin(b"PLAIN", Some(line.as_bytes()))), joe());
        let AuthStep::Challenge("", exchange) = begin(b"plain", None) else { panic!() };
        assert_eq!(checked(exchange.respond(line.as_bytes())), joe());
        assert_eq!(checked(begin(b"PLAIN", Some(BASE64.encode("JOE\0joe\0secret").as_bytes()))), joe());
        let unpadded = BASE64.encode("\0joe\0secre\u{74}").replace('=', "");
        assert_eq!(checked(begin(b"PLAIN", Some(unpadded.as_bytes()))), joe());
    }

    #[test]
    fn login_in_two_lines_or_three() {
        let (name, secret) = (BASE64.encode("joe"), BASE64.encode("secret"));
        let AuthStep::Challenge("VXNlcm5hbWU6", exchange) = begin(b"LOGIN", None) else { panic!() };
        let AuthStep::Challenge("UGFzc3dvcmQ6", exchange) = exchange.respond(name.as_bytes()) else {
            panic!()
        };
        assert_eq!(checked(exchange.respond(secret.as_bytes())), joe());
        let AuthStep::Challenge(_, exchange) = begin(b"LOGIN", Some(name.as_bytes())) else { panic!() };
        assert_eq!(checked(exchange.respond(b"")), ("joe".to_owned(), String::new()));
        let AuthStep::Challenge("UGFzc3dvcmQ6", _) = begin(b"LOGIN", Some(b"=")) else { panic!() };
    }

    #[test]
    fn invalid_exchanges_are_refused() {
        assert_eq!(refused(begin(b"CRAM-MD5", None)), replies::UNKNOWN_MECHANISM);
        assert_eq!(refused(begin(b"PLAIN", Some(b"*"))), replies::AUTH_CANCELLED);
        assert_eq!(refused(begin(b"PLAIN", Some(b"="))), replies::AUTH_MALFORMED);
        assert_eq!(refused(begin(b"PLAIN", Some(b"!!!!"))), replies::AUTH_MALFORMED);
        assert_eq!(
            refused(begin(b"PLAIN", Some(BASE64.encode("joe\0x").as_bytes()))),
            replies::AUTH_MALFORMED
        );
        let other = BASE64.encode("root\0joe\0secret");
        assert_eq!(refused(begin(b"PLAIN", Some(other.as_bytes()))), replies::BAD_LOGIN);
        assert_eq!(
            refused(AuthExchange::LoginPassword(Zeroizing::default()).respond(b"*")),
            replies::AUTH_CANCELLED
        );
    }
}
