//! The paths of the API that send mail.

use std::borrow::Cow;

use super::pattern_segment::{count_steps, escaped};

/// Returns true if a path sends mail, which needs the permission `email`: `/api/mail.send.FORMAT` and `/v3/mail/send`. Case,
/// format and anything behind that don't matter, because they may not matter to a backend. Nothing else of the API has these
/// names. An encoded slash is none: it is one in another reading of the path.
pub fn sends_mail(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"/api/mail.send", b"/api/mail/send", b"/v3/mail/send"];
    let path = decoded_but_slashes(path);
    NAMES.into_iter().any(|name| {
        path.len() >= name.len()
            && path[..name.len()].eq_ignore_ascii_case(name)
            && path.get(name.len()).is_none_or(|b| !(b.is_ascii_alphanumeric() || b"-_".contains(b)))
    })
}

fn decoded_but_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    count_steps(path.len());
    if memchr::memchr(b'%', path).is_none() {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = escaped(rest).filter(|byte| *byte != b'/');
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &rest[3..] } else { behind };
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_send_mail() {
        for path in [
            "/api/mail.send.json",
            "/api/mail.send.xml",
            "/API/Mail.Send.JSON",
            "/api/mail.send.json/",
            "/api/mail.send.json/x",
            "/api/mail.send.json%3Fx",
            "/api/mail.send.json::$DATA",
            "/api/mail.send",
            "/api/mail/send.json",
            "/v3/mail/send",
            "/v3/mail/send/beta",
            "/v3/mail/send%2Fbeta",
            "/v3/mail/%73end",
            "/V3/mail/send.json",
        ] {
            assert!(sends_mail(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/api/mail.sender",
            "/api/mail.send_later",
            "/v3/mail/send-times",
            "/v3/mail",
            "/x/api/mail.send.json",
            "/api%2Fmail.send.json",
            "/v3/mail%2fsend",
        ] {
            assert!(!sends_mail(path.as_bytes()), "{path}");
        }
    }
}
