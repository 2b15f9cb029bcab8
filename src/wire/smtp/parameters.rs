//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.2): which are known, and which values are valid.

use std::borrow::Cow;

use super::Capabilities;
use super::path::SmtpPath;

/// The reason why parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EsmtpParameterError {
    /// Malformed, repeated, or with an invalid value: 501.
    Syntax,
    /// Not offered: 555.
    Unknown,
    /// A SIZE above the one that is offered: 552.
    TooLarge,
}

/// The parameters of MAIL that matter to Gatepost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// True if `SMTPUTF8` was given.
    pub utf8: bool,
    /// True if `AUTH=` was given. It is not passed on, because the client is not trusted to speak for others (RFC 4954 section
    /// 5).
    pub auth: bool,
}

/// Parses the parameters of MAIL, and appends those for the backend to `kept` as they came. `limit` is the largest message in
/// bytes.
///
/// # Errors
/// The first error in them.
pub fn mail(
    text: &[u8],
    offered: Capabilities,
    limit: u64,
    kept: &mut Vec<u8>,
) -> Result<MailParameters, EsmtpParameterError> {
    const KNOWN: [&[u8]; 6] = [b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID", b"AUTH"];
    let mut found = MailParameters::default();
    each(text, &KNOWN, |keyword, value, whole| {
        let keep = match (keyword, value) {
            (b"SIZE", Some(value)) => {
                if size(value)? > limit {
                    return Err(EsmtpParameterError::TooLarge);
                }
                offered.size.is_some()
            }
            (b"BODY", Some(value)) => {
                let seven_bit = value.eq_ignore_ascii_case(b"7BIT");
                if value.eq_ignore_ascii_case(b"BINARYMIME") || !(offered.eight_bit_mime || seven_bit) {
                    return Err(EsmtpParameterError::Unknown);
                }
                check(seven_bit || value.eq_ignore_ascii_case(b"8BITMIME"))?;
                // The default, which a backend need not be told: it may not offer 8BITMIME.
                !seven_bit
            }
            (b"SMTPUTF8", None) => {
                found.utf8 = true;
                offer(offered.smtp_utf8)?
            }
            (b"RET", Some(value)) => {
                offer(offered.dsn)?;
                check(value.eq_ignore_ascii_case(b"FULL") || value.eq_ignore_ascii_case(b"HDRS"))?
            }
            (b"ENVID", Some(value)) => {
                offer(offered.dsn)?;
                check(value.len() <= 100 && is_xtext(value, false))?
            }
            (b"AUTH", Some(value)) => {
                found.auth = true;
                check(value == b"<>" || is_xtext(value, true))?;
                false
            }
            _ => return Err(EsmtpParameterError::Syntax),
        };
        if keep {
            kept.push(b' ');
            kept.extend_from_slice(whole);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Checks the parameters of RCPT. `utf8` is true if MAIL had SMTPUTF8.
///
/// # Errors
/// The first error in them.
pub fn rcpt(text: &[u8], offered: Capabilities, utf8: bool) -> Result<(), EsmtpParameterError> {
    each(text, &[b"NOTIFY", b"ORCPT"], |keyword, value, _| {
        offer(offered.dsn)?;
        let good = match (keyword, value) {
            (b"NOTIFY", Some(value)) => is_notify(value),
            (b"ORCPT", Some(value)) => {
                let colon = memchr::memchr(b';', value);
                let plain = |kind: &[u8]| !kind.is_empty() && kind.iter().all(u8::is_ascii_graphic);
                value.len() <= 500
                    && colon.is_some_and(|at| plain(&value[..at]) && is_xtext(&value[at + 1..], utf8))
            }
            _ => false,
        };
        check(good).map(|_| ())
    })
}

/// The capabilities that a backend needs for the arguments of MAIL or RCPT, which were checked before. Includes the SIZE if it
/// is given.
pub fn needs(arguments: &[u8]) -> Capabilities {
    let mut needs = Capabilities::default();
    if memchr::memchr(b' ', arguments).is_none() {
        // The usual case: a path without parameters.
        return needs;
    }
    let rest = SmtpPath::split(arguments).map_or(&b""[..], |(_, rest)| rest);
    for whole in rest.split(|b| *b == b' ').filter(|whole| !whole.is_empty()) {
        let mut parts = whole.splitn(2, |b| *b == b'=');
        let (keyword, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match keyword.to_ascii_uppercase().as_slice() {
            b"SIZE" => needs.size = size(value).ok(),
            b"BODY" => needs.eight_bit_mime = true,
            b"SMTPUTF8" => needs.smtp_utf8 = true,
            b"RET" | b"ENVID" | b"NOTIFY" | b"ORCPT" => needs.dsn = true,
            _ => {}
        }
    }
    needs
}

/// The arguments of MAIL without SIZE, which is only a hint, for a backend that does not offer it (RFC 1870).
pub fn without_size(arguments: &[u8]) -> Cow<'_, [u8]> {
    if needs(arguments).size.is_none() {
        return Cow::Borrowed(arguments);
    }
    let rest = SmtpPath::split(arguments).map_or(&b""[..], |(_, rest)| rest);
    let (path, _) = arguments.split_at(arguments.len() - rest.len());
    let is_size = |whole: &&[u8]| whole.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"SIZE="));
    let kept = rest.split(|b| *b == b' ').filter(|whole| !whole.is_empty() && !is_size(whole));
    Cow::Owned(kept.fold(path.trim_ascii_end().to_vec(), |all, one| [&all, one].join(&b' ')))
}

/// Calls `take` with the keyword in upper case, the value and the text of each parameter. No keyword may be repeated.
fn each<'a>(
    text: &'a [u8],
    known: &[&'static [u8]],
    mut take: impl FnMut(&'static [u8], Option<&'a [u8]>, &'a [u8]) -> Result<(), EsmtpParameterError>,
) -> Result<(), EsmtpParameterError> {
    let mut seen = 0_u32;
    for whole in text.split(|b| matches!(b, b' ' | b'\t')).filter(|whole| !whole.is_empty()) {
        let (keyword, value) = match memchr::memchr(b'=', whole) {
            Some(at) => (&whole[..at], Some(&whole[at + 1..])),
            None => (whole, None),
        };
        let in_keyword = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        let in_value = |b: &u8| !b.is_ascii_control() && *b != b'=';
        check(keyword.first().is_some_and(u8::is_ascii_alphanumeric) && keyword.iter().all(in_keyword))?;
        check(value.is_none_or(|value| !value.is_empty() && value.iter().all(in_value)))?;
        let index = known.iter().position(|k| k.eq_ignore_ascii_case(keyword));
        let index = index.ok_or(EsmtpParameterError::Unknown)?;
        check(seen & 1 << index == 0)?;
        seen |= 1 << index;
        take(known[index], value, whole)?;
    }
    Ok(())
}

/// Parses 1 to 20 digits. A number above 64 bits counts as the largest one.
fn size(value: &[u8]) -> Result<u64, EsmtpParameterError> {
    check((1..=20).contains(&value.len()) && value.iter().all(u8::is_ascii_digit))?;
    Ok(value.iter().fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}

/// Checks for `NEVER`, or for some of the others without repetition (RFC 3461 section 4.1).
fn is_notify(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"SUCCESS", b"FAILURE", b"DELAY"];
    if value.eq_ignore_ascii_case(b"NEVER") {
        return true;
    }
    let mut seen = [false; 3];
    value.split(|b| *b == b',').all(|word| {
        let place = WORDS.iter().position(|w| w.eq_ignore_ascii_case(word));
        place.is_some_and(|place| !std::mem::replace(&mut seen[place], true))
    })
}

/// Checks for xtext: printable, with `+` only before two hexadecimal digits (RFC 3461 section 4). `utf8` allows non-ASCII
/// characters (RFC 6533).
fn is_xtext(value: &[u8], utf8: bool) -> bool {
    let hexadecimal = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b) || (b'a'..=b'f').contains(b);
    let escapes = value.iter().enumerate().filter(|(_, b)| **b == b'+');
    let escaped = |at: usize| value.get(at + 1..at + 3).is_some_and(|two| two.iter().all(hexadecimal));
    let printable = value.iter().all(|b| b.is_ascii_graphic() || (utf8 && !b.is_ascii()));
    // An address in UTF-8 needs no escapes and may contain a plus.
    printable
        && (value.is_ascii() || std::str::from_utf8(value).is_ok())
        && (utf8 || escapes.map(|(at, _)| at).all(escaped))
}

fn check(good: bool) -> Result<bool, EsmtpParameterError> {
    if good { Ok(true) } else { Err(EsmtpParameterError::Syntax) }
}

fn offer(offered: bool) -> Result<bool, EsmtpParameterError> {
    if offered { Ok(true) } else { Err(EsmtpParameterError::Unknown) }
}

#[cfg(test)]
mod tests {
    use super::EsmtpParameterError::*;
    use super::*;

    const ALL: Capabilities = Capabilities {
        size: Some(0),
        pipelining: true,
        eight_bit_mime: true,
        smtp_utf8: true,
        chunking: true,
        dsn: true,
        enhanced_status_codes: true,
    };

    fn read(text: &str, offered: Capabilities) -> Result<(MailParameters, String), EsmtpParameterError> {
        let mut kept = Vec::new();
        let found = mail(text.as_bytes(), offered, 1000, &mut kept)?;
        Ok((found, String::from_utf8(kept).unwrap()))
    }

    #[test]
    fn of_mail() {
        let plain = MailParameters::default();
        assert_eq!(read("", ALL), Ok((plain, String::new())));
        let text = " size=1000 BODY=8bitmime RET=HDRS ENVID=QQ+2B314159";
        assert_eq!(read(text, ALL), Ok((plain, text.to_owned())));
        assert_eq!(read("  BODY=7BIT  BODY=8BITMIME", ALL), Err(Syntax));
        assert_eq!(read("  BODY=7BIT", ALL), Ok((plain, String::new())));
        let utf8 = MailParameters { utf8: true, auth: false };
        assert_eq!(read(" SMTPUTF8", ALL), Ok((utf8, " SMTPUTF8".to_owned())));
        let auth = MailParameters { utf8: false, auth: true };
        assert_eq!(read(" AUTH=e+3Dmc2@example.com SIZE=5", ALL), Ok((auth, " SIZE=5".to_owned())));
        assert_eq!(read(" AUTH=<>", ALL), Ok((auth, String::new())));
        for text in [" SIZE=5", " BODY=7BIT", " body=7bit size=5"] {
            assert_eq!(read(text, Capabilities::default()), Ok((plain, String::new())), "{text}");
        }
    }

    #[test]
    fn of_mail_refused() {
        for text in [
            " SIZE",
            " SIZE=",
            " SIZE=x",
            " SIZE=1 SIZE=1",
            " SIZE=1 size=1",
            " BODY=9BIT",
            " SMTPUTF8=1",
            " =1",
            " RET=ALL",
            " ENVID=+",
            " AUTH=a=b",
            " -X=1",
            " SIZE=1\x0b",
            " SIZE=100000000000000000000",
        ] {
            assert_eq!(read(text, ALL), Err(Syntax), "{text}");
        }
        for text in [" XFOO=1", " BODY=BINARYMIME", " XFOO", " NOTIFY=NEVER", " HOLDFOR=1"] {
            assert_eq!(read(text, ALL), Err(Unknown), "{text}");
        }
        for text in [" BODY=8BITMIME", " SMTPUTF8", " RET=FULL", " ENVID=x"] {
            assert_eq!(read(text, Capabilities::default()), Err(Unknown), "{text}");
        }
        for text in [" SIZE=1001", " SIZE=99999999999999999999"] {
            assert_eq!(read(text, ALL), Err(TooLarge), "{text}");
        }
    }

    #[test]
    fn of_rcpt() {
        for text in [
            "",
            " NOTIFY=NEVER",
            " NOTIFY=success,DELAY,failure ORCPT=rfc822;Bob+2B@example.com",
            " ORCPT=utf-8;a@b",
        ] {
            assert_eq!(rcpt(text.as_bytes(), ALL, false), Ok(()), "{text}");
        }
        for text in [
            " NOTIFY",
            " NOTIFY=NEVER,DELAY",
            " NOTIFY=DELAY,DELAY",
            " NOTIFY=",
            " ORCPT=a@b",
            " ORCPT=;a",
            " ORCPT=rfc822;a+b",
            " ORCPT=utf-8;ä@b",
        ] {
            assert_eq!(rcpt(text.as_bytes(), ALL, false), Err(Syntax), "{text}");
        }
        assert_eq!(rcpt(" ORCPT=utf-8;ä@b".as_bytes(), ALL, true), Ok(()));
        assert_eq!(rcpt(b" NOTIFY=NEVER", Capabilities::default(), false), Err(Unknown));
        assert_eq!(rcpt(b" SIZE=1", ALL, false), Err(Unknown));
    }

    #[test]
    fn capabilities_that_arguments_need() {
        let none = Capabilities::default();
        let size = |size| Capabilities { size: Some(size), ..none };
        let cases: [(&str, Capabilities); 9] = [
            ("<a@b>", none),
            ("<\"a SIZE=1\"@b>", none),
            ("<> SIZE=12", size(12)),
            ("<a@b>  size=99999999999999999999", size(u64::MAX)),
            ("<a@b> BODY=8BITMIME", Capabilities { eight_bit_mime: true, ..none }),
            ("<a@b> SMTPUTF8 body=8bitmime", Capabilities { eight_bit_mime: true, smtp_utf8: true, ..none }),
            ("<a@b> RET=HDRS ENVID=x", Capabilities { dsn: true, ..none }),
            ("<a@b> NOTIFY=NEVER", Capabilities { dsn: true, ..none }),
            ("<a@b> orcpt=rfc822;a@b", Capabilities { dsn: true, ..none }),
        ];
        for (arguments, expected) in cases {
            assert_eq!(needs(arguments.as_bytes()), expected, "{arguments}");
            let only_size = Capabilities { size: None, ..expected } == none;
            assert!(ALL.cover(expected) && none.cover(expected) == only_size);
        }
        assert!(size(0).cover(size(9)) && size(9).cover(size(9)) && !size(8).cover(size(9)));
        assert!(size(8).cover(none) && none.cover(size(9)));
    }

    #[test]
    fn a_size_can_be_left_out() {
        let cases = [
            ("<a@b>", "<a@b>"),
            ("<a@b> SIZE=12", "<a@b>"),
            ("<\"a SIZE=1\"@b> Size=12", "<\"a SIZE=1\"@b>"),
            ("<> RET=FULL  size=12 ENVID=SIZE", "<> RET=FULL ENVID=SIZE"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(without_size(arguments.as_bytes()), expected.as_bytes(), "{arguments}");
        }
    }
}
