//! The result of a change, on the page that follows it: "Removed joe-ci. In effect on all 3 nodes after 4 ms."

use super::signed_text::{self, SignedPurpose};
use crate::edge::http::pages::views::ResultBanner;

/// The time for which a notice is shown, in seconds.
const SHOWN_FOR: i64 = 60;

/// The name of the parameter in the query.
pub const PARAMETER: &str = "notice";

/// Returns the address of the page that follows a change, with its result. Only the session with this form token can show it.
pub fn address(path: &str, form_token: &str, banner: &ResultBanner, now: i64) -> String {
    let ResultBanner { text, effect, is_done } = banner;
    let text = format!("{now}\n{}\n{effect}\n{text}", u8::from(*is_done));
    let signed = signed_text::sign(form_token, SignedPurpose::Notice, text.as_bytes());
    format!("{path}?{PARAMETER}={signed}")
}

/// Returns the result in an address of [`address`], if it is recent.
pub fn open(form_token: &str, signed: &str, now: i64) -> Option<ResultBanner> {
    let text = String::from_utf8(signed_text::open(form_token, SignedPurpose::Notice, signed)?).ok()?;
    let mut lines = text.splitn(4, '\n');
    let (at, is_done, effect, text) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
    let age = now.checked_sub(at.parse().ok()?)?;
    // The clocks of nodes differ a little.
    let is_recent = (-SHOWN_FOR..=SHOWN_FOR).contains(&age);
    is_recent.then(|| ResultBanner {
        text: text.to_owned(),
        effect: effect.to_owned(),
        is_done: is_done == "1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_shown_for_a_minute_and_to_its_session_only() {
        let (now, effect) = (1_800_000_000, "In effect after 4 ms.".to_owned());
        let banner = ResultBanner { text: "Removed joe-ci.".to_owned(), effect, is_done: true };
        let address = address("/credentials", "token", &banner, now);
        let signed = address.strip_prefix("/credentials?notice=").unwrap();
        let text = |token: &str, signed: &str, now| {
            let shown = open(token, signed, now)?;
            assert!(shown.is_done);
            Some(format!("{} {}", shown.text, shown.effect))
        };
        let expected = Some("Removed joe-ci. In effect after 4 ms.".to_owned());
        assert_eq!(text("token", signed, now), expected);
        assert_eq!(text("token", signed, now + 60), expected);
        assert_eq!(text("token", signed, now + 61), None);
        assert_eq!(text("other", signed, now), None);
        assert_eq!(text("token", &signed[1..], now), None);
    }
}
