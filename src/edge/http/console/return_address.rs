//! The address to which a login leads: always a page of the console.

use super::page_request::RESUMED;
use super::route::ConsoleRoute;
use super::signed_text::{self, SignedPurpose};
use crate::domain::SessionCookie;
use crate::wire::PageForm;

/// The longest address, in bytes.
const LONGEST: usize = 8192;

/// The longest selection in an address, in bytes.
const LONGEST_SELECTION: usize = 4096;

/// The longest values of a form that are filled in again, in bytes: a note of 200 characters, each encoded by 12 bytes, and the rest.
const LONGEST_RESUMED: usize = 3072;

/// The fields of forms that may be filled in again after a login. No password is among them.
const RESUMABLE: [&str; 8] = ["version", "username", "note", "email", "api", "web", "how", "password_change"];

/// Returns the address of a page of the console, if `text` is one: a path that exactly a page has, and its query.
pub fn parse(text: &str) -> Option<(ConsoleRoute, String)> {
    let is_plain =
        text.len() <= LONGEST && text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'\\');
    if !is_plain {
        return None;
    }
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let route = ConsoleRoute::of_path(path)?;
    if !route.takes(&http::Method::GET) || route == ConsoleRoute::Login {
        return None;
    }
    let query = query.map(|query| query.split('#').next().unwrap_or_default());
    let address = query.map_or_else(|| route.path(), |query| format!("{}?{query}", route.path()));
    Some((route, address))
}

/// Returns the address of the page of a form that was sent to a route, and the values to fill in again there.
pub fn of_form(route: ConsoleRoute, form: &PageForm) -> (String, String) {
    let page = route.page();
    match page {
        // Its page is made for the selection, which is in its address.
        ConsoleRoute::RemoveSelected => {
            let query = form_urlencoded(form, &["id"], LONGEST_SELECTION);
            (format!("{}?{query}", page.path()), String::new())
        }
        page => (page.path(), form_urlencoded(form, &RESUMABLE, LONGEST_RESUMED)),
    }
}

/// Signs the values of a form for the login page that is shown in the place of its answer. The browser still has the cookie of the
/// session that has ended, and nobody else knows it: so only the console can have a form filled in.
pub fn sealed(resume: &str, ended: &SessionCookie) -> String {
    match resume.is_empty() {
        true => String::new(),
        false => signed_text::sign(&ended.form_token(), SignedPurpose::FormOfLogin, resume.as_bytes()),
    }
}

/// Returns the values of a form that were signed by [`sealed`] for the same cookie; empty if they were not.
pub fn unsealed(sealed: &str, ended: Option<&SessionCookie>) -> String {
    let opened =
        ended.and_then(|ended| signed_text::open(&ended.form_token(), SignedPurpose::FormOfLogin, sealed));
    opened.and_then(|resume| String::from_utf8(resume).ok()).unwrap_or_default()
}

/// Returns the address that leads from a login to a page, where the values of a form are filled in again.
pub fn after_login(next: &str, resume: &str, form_token: &str) -> String {
    let Some((_, address)) = parse(next) else { return ConsoleRoute::Start.path() };
    if resume.is_empty() || resume.len() > LONGEST_RESUMED {
        return address;
    }
    let signed = signed_text::sign(form_token, SignedPurpose::ResumedForm, resume.as_bytes());
    let separator = if address.contains('?') { '&' } else { '?' };
    format!("{address}{separator}{RESUMED}={signed}")
}

/// The fields of these names as a query of at most `most` bytes. A field that does not fit is left out as a whole.
fn form_urlencoded(form: &PageForm, names: &[&str], most: usize) -> String {
    let encoded = super::list_address::encoded;
    let pairs =
        names.iter().flat_map(|name| form.all(name).map(move |value| format!("{name}={}", encoded(value))));
    pairs.fold(String::new(), |mut query, pair| {
        if query.len() + 1 + pair.len() <= most {
            query.extend((!query.is_empty()).then_some('&'));
            query.push_str(&pair);
        }
        query
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_are_addresses() {
        for (text, address) in [
            ("/", "/"),
            ("/credentials?q=a%20b&at=gt%3Ajohn", "/credentials?q=a%20b&at=gt%3Ajohn"),
            ("/credentials/17/remove", "/credentials/17/remove"),
            ("/sessions?", "/sessions?"),
            ("/own?a#b", "/own?a"),
        ] {
            assert_eq!(parse(text).map(|(_, address)| address).as_deref(), Some(address), "{text}");
        }
        let long = format!("/credentials?q={}", "a".repeat(LONGEST));
        for text in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\/evil",
            "https://evil.example/",
            "/a/..//evil",
            "/login",
            "/logout",
            "/sessions/end",
            "/own/password",
            "/credentials\t",
            "/credentials?\r\nx: y",
            "/ä",
            "/login?next=/",
            "credentials",
            "/api/v1/credentials",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_form_is_filled_in_again_without_its_passwords() {
        let sent = "username=joe%2Bci&note=%3Cb%3E+x&email=1&how=typed&password=s3cret-word&confirm=s3cret-word&token=t";
        let form = PageForm::parse(sent.as_bytes()).unwrap();
        let (next, resume) = of_form(ConsoleRoute::Add, &form);
        assert_eq!(next, "/credentials/add");
        assert_eq!(resume, "username=joe%2Bci&note=%3Cb%3E%20x&email=1&how=typed");
        let address = after_login(&next, &resume, "token");
        let signed = address.strip_prefix("/credentials/add?form=").unwrap();
        let opened = signed_text::open("token", SignedPurpose::ResumedForm, signed).unwrap();
        assert_eq!(opened, resume.as_bytes());
        assert_eq!(after_login("//evil.example", &resume, "token"), "/");
    }

    #[test]
    fn a_selection_is_in_its_address() {
        let form = PageForm::parse(b"id=3&id=7&confirm=s3cret-word").unwrap();
        let (next, resume) = of_form(ConsoleRoute::RemoveSelected, &form);
        assert_eq!((next.as_str(), resume.as_str()), ("/credentials/remove?id=3&id=7", ""));
        assert!(parse(&next).is_some());
        let (next, _) = of_form(ConsoleRoute::EndSession, &form);
        assert_eq!(next, "/sessions");
        // An ID that is cut would be another credential's.
        let many: Vec<String> = (0..200).map(|n| format!("id=92233720368547758{n:02}")).collect();
        let form = PageForm::parse(many.join("&").as_bytes()).unwrap();
        let (next, _) = of_form(ConsoleRoute::RemoveSelected, &form);
        assert!(parse(&next).is_some() && next.len() > 4000 && next.len() < 4200);
        assert!(next.split('&').skip(1).all(|pair| many.iter().any(|whole| whole == pair)));
    }
}
