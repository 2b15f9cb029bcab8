//! The addresses of the console.

use http::Method;

use crate::domain::CredentialId;

/// A page or a form of the console, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleRoute {
    /// The first page, which leads to the one that the principal may see.
    Start,
    /// The login.
    Login,
    /// The end of the session.
    Logout,
    /// The list of credentials.
    Credentials,
    /// The form for a new credential.
    Add,
    /// The form for the changes of a credential.
    Edit(CredentialId),
    /// The confirmation of a removal.
    Remove(CredentialId),
    /// The confirmation of the removal of several credentials.
    RemoveSelected,
    /// The newest changes and denials.
    Activity,
    /// The sessions of the principal.
    Sessions,
    /// The end of one session.
    EndSession,
    /// The end of all other sessions.
    EndOtherSessions,
    /// The principal's own page.
    Own,
    /// The change of the principal's own password.
    OwnPassword,
}

/// The methods of a page that only shows something.
const SHOWN: &str = "GET, HEAD";
/// The methods of a page with a form.
const FORM: &str = "GET, HEAD, POST";
/// The method of a change without a page.
const CHANGE: &str = "POST";

impl ConsoleRoute {
    /// Returns the route with this normalized path.
    pub fn of_path(path: &str) -> Option<ConsoleRoute> {
        let mut steps = path.strip_prefix('/')?.split('/');
        let route = match (steps.next()?, steps.next(), steps.next()) {
            ("", None, None) => ConsoleRoute::Start,
            ("login", None, None) => ConsoleRoute::Login,
            ("logout", None, None) => ConsoleRoute::Logout,
            ("credentials", None, None) => ConsoleRoute::Credentials,
            ("credentials", Some("add"), None) => ConsoleRoute::Add,
            ("credentials", Some("remove"), None) => ConsoleRoute::RemoveSelected,
            ("credentials", Some(id), None) => ConsoleRoute::Edit(id_of(id)?),
            ("credentials", Some(id), Some("remove")) => ConsoleRoute::Remove(id_of(id)?),
            ("activity", None, None) => ConsoleRoute::Activity,
            ("sessions", None, None) => ConsoleRoute::Sessions,
            ("sessions", Some("end"), None) => ConsoleRoute::EndSession,
            ("sessions", Some("end-others"), None) => ConsoleRoute::EndOtherSessions,
            ("own", None, None) => ConsoleRoute::Own,
            ("own", Some("password"), None) => ConsoleRoute::OwnPassword,
            _ => return None,
        };
        steps.next().is_none().then_some(route)
    }

    /// Returns its path.
    pub fn path(self) -> String {
        let fixed = match self {
            ConsoleRoute::Start => "/",
            ConsoleRoute::Login => "/login",
            ConsoleRoute::Logout => "/logout",
            ConsoleRoute::Credentials => "/credentials",
            ConsoleRoute::Add => "/credentials/add",
            ConsoleRoute::RemoveSelected => "/credentials/remove",
            ConsoleRoute::Edit(CredentialId(id)) => return format!("/credentials/{id}"),
            ConsoleRoute::Remove(CredentialId(id)) => return format!("/credentials/{id}/remove"),
            ConsoleRoute::Activity => "/activity",
            ConsoleRoute::Sessions => "/sessions",
            ConsoleRoute::EndSession => "/sessions/end",
            ConsoleRoute::EndOtherSessions => "/sessions/end-others",
            ConsoleRoute::Own => "/own",
            ConsoleRoute::OwnPassword => "/own/password",
        };
        fixed.to_owned()
    }

    /// Returns the methods that it takes, as in `Allow`.
    pub const fn methods(self) -> &'static str {
        match self {
            ConsoleRoute::Start
            | ConsoleRoute::Credentials
            | ConsoleRoute::Activity
            | ConsoleRoute::Sessions
            | ConsoleRoute::Own => SHOWN,
            ConsoleRoute::Login
            | ConsoleRoute::Add
            | ConsoleRoute::Edit(_)
            | ConsoleRoute::Remove(_)
            | ConsoleRoute::RemoveSelected => FORM,
            ConsoleRoute::Logout
            | ConsoleRoute::EndSession
            | ConsoleRoute::EndOtherSessions
            | ConsoleRoute::OwnPassword => CHANGE,
        }
    }

    /// Returns true if it takes requests of this method.
    pub fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|taken| taken == method.as_str())
    }

    /// Returns the page to which a browser can go back after a form that was sent here.
    pub const fn page(self) -> ConsoleRoute {
        match self {
            ConsoleRoute::EndSession | ConsoleRoute::EndOtherSessions => ConsoleRoute::Sessions,
            ConsoleRoute::OwnPassword => ConsoleRoute::Own,
            ConsoleRoute::Logout | ConsoleRoute::Login => ConsoleRoute::Start,
            page => page,
        }
    }

    /// Returns true for the pages of an account holder, who alone manages credentials.
    pub const fn is_for_holders(self) -> bool {
        match self {
            ConsoleRoute::Credentials
            | ConsoleRoute::Add
            | ConsoleRoute::Edit(_)
            | ConsoleRoute::Remove(_)
            | ConsoleRoute::RemoveSelected
            | ConsoleRoute::Activity => true,
            ConsoleRoute::Start
            | ConsoleRoute::Login
            | ConsoleRoute::Logout
            | ConsoleRoute::Sessions
            | ConsoleRoute::EndSession
            | ConsoleRoute::EndOtherSessions
            | ConsoleRoute::Own
            | ConsoleRoute::OwnPassword => false,
        }
    }
}

/// Parses the number of a credential in its only form: digits without a leading zero.
pub fn id_of(text: &str) -> Option<CredentialId> {
    let is_plain =
        text.len() <= 19 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten().map(CredentialId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_route_and_back() {
        for path in [
            "/",
            "/login",
            "/logout",
            "/credentials",
            "/credentials/add",
            "/credentials/remove",
            "/credentials/17",
            "/credentials/17/remove",
            "/activity",
            "/sessions",
            "/sessions/end",
            "/sessions/end-others",
            "/own",
            "/own/password",
        ] {
            assert_eq!(ConsoleRoute::of_path(path).map(ConsoleRoute::path).as_deref(), Some(path));
        }
    }

    #[test]
    fn any_other_path_is_unknown() {
        for path in [
            "",
            "login",
            "/login/",
            "/Login",
            "/credentials/",
            "/credentials/0",
            "/credentials/017",
            "/credentials/-1",
            "/credentials/+1",
            "/credentials/1.0",
            "/credentials/99999999999999999999",
            "/credentials/9999999999999999999",
            "/credentials/joe",
            "/credentials/1/edit",
            "/credentials/1/remove/",
            "/credentials/1/remove/2",
            "/sessions/1",
            "/own/name",
        ] {
            assert_eq!(ConsoleRoute::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn a_page_is_shown_by_get_and_changed_by_post() {
        assert!(ConsoleRoute::Add.takes(&Method::GET) && ConsoleRoute::Add.takes(&Method::POST));
        assert!(ConsoleRoute::Activity.takes(&Method::HEAD) && !ConsoleRoute::Activity.takes(&Method::POST));
        assert!(!ConsoleRoute::Logout.takes(&Method::GET) && !ConsoleRoute::Add.takes(&Method::PUT));
        assert!(ConsoleRoute::EndSession.page().takes(&Method::GET));
    }
}
