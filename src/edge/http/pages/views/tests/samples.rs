//! All views, filled with what people and attackers type.

use askama::Template;

use super::super::*;

mod forms;
mod lists;

const NOW: i64 = 1_795_920_973;

/// The site of all samples, with the files beside the pages.
pub fn site(title: &str) -> Site {
    Site {
        title: title.to_owned(),
        logo: "logo.svg".to_owned(),
        icon: "icon.svg".to_owned(),
        stylesheet: "gatepost.css".to_owned(),
        accent: "accent.css".to_owned(),
        script: "gatepost.js".to_owned(),
    }
}

/// Texts that stand wherever a person chose a text.
#[derive(Clone, Copy)]
pub struct Texts {
    /// The title of the site.
    pub title: &'static str,
    /// A username.
    pub name: &'static str,
    /// A note.
    pub note: &'static str,
    /// The address to continue to.
    pub next: &'static str,
}

/// Texts of a usual account.
pub const USUAL: Texts = Texts {
    title: "Acme Mail",
    name: "billing-cron",
    note: "Invoices on db-3, every night. Ask Ines.",
    next: "/reports/weekly?from=2026-11-01&to=2026-11-28",
};

/// A name of every page, and the page.
pub fn all(texts: Texts) -> Vec<(&'static str, String)> {
    let site = site(texts.title);
    let mut pages = gate(&site, texts);
    pages.extend(lists::all(&site, texts));
    pages.extend(forms::all(&site, texts));
    pages
}

fn page(name: &'static str, view: &impl Template) -> (&'static str, String) {
    (name, view.render().unwrap())
}

fn gate(site: &Site, texts: Texts) -> Vec<(&'static str, String)> {
    let login = |problem: Option<LoginProblem>, notice: Option<LoginNotice>| LoginView {
        site,
        action: "/-/gatepost/login".to_owned(),
        place: "dashboard.acme.example".to_owned(),
        username: if problem.is_some() { texts.name.to_owned() } else { String::new() },
        next: texts.next.to_owned(),
        resume: texts.note.to_owned(),
        problem,
        notice,
        request_id: "01KB6Y8RZ3V7Q2M5".to_owned(),
    };
    let id = "01KB6Y8RZ3V7Q2M5";
    let https = format!("https://dashboard.acme.example{}", texts.next);
    let logout = LogoutView {
        site,
        action: "/-/gatepost/logout".to_owned(),
        token: texts.note.to_owned(),
        username: texts.name.to_owned(),
        back: texts.next.to_owned(),
    };
    vec![
        page("login", &login(None, None)),
        page("login-wrong", &login(Some(LoginProblem::Wrong), None)),
        page("login-missing", &login(Some(LoginProblem::Missing), None)),
        page("login-throttled", &login(Some(LoginProblem::Throttled(30)), None)),
        page("login-unavailable", &login(Some(LoginProblem::Unavailable(1)), None)),
        page("login-cookie", &login(Some(LoginProblem::CookieLost), None)),
        page("login-stale", &login(Some(LoginProblem::Stale), None)),
        page("login-cleartext", &login(Some(LoginProblem::Cleartext(Some(https))), None)),
        page("login-cleartext-unknown", &login(Some(LoginProblem::Cleartext(None)), None)),
        page("login-logged-out", &login(None, Some(LoginNotice::LoggedOut))),
        page("login-ended", &login(None, Some(LoginNotice::Ended))),
        page("login-nothing-changed", &login(None, Some(LoginNotice::NothingChanged))),
        page("login-password-changed", &login(None, Some(LoginNotice::PasswordChanged))),
        page("login-other-origin", &login(Some(LoginProblem::OtherOrigin), None)),
        page("continue", &ContinuationView { site, address: texts.next.to_owned() }),
        page("logout", &logout),
        page("forbidden", &ProblemView::forbidden(site, texts.name, "web", texts.next, id)),
        page("not-permitted", &ProblemView::not_permitted(site, texts.name, "web", texts.next, id)),
        page("logout-failed", &ProblemView::logout_failed(site, 1, texts.next, id)),
        page("logout-unconfirmed", &ProblemView::logout_unconfirmed(site, texts.next, id)),
        page("for-holders", &ProblemView::for_holders(site, texts.name, id)),
        page("not-sent", &ProblemView::not_sent(site, texts.next, id)),
        page("not-accepted", &ProblemView::not_accepted(site, texts.next, id)),
        page("unavailable", &ProblemView::unavailable(site, 2, id)),
        page("no-backend", &ProblemView::no_backend(site, 502, id)),
        page("throttled", &ProblemView::throttled(site, 30, id)),
        page("not-found", &ProblemView::not_found(site, "/", id)),
        page("wrong-method", &ProblemView::wrong_method(site, "/", id)),
        page("unreadable-form", &ProblemView::unreadable_form(site, 413, texts.next, id)),
        page("refused", &ProblemView::refused(site, 400, texts.note, id)),
    ]
}

fn frame<'a>(site: &'a Site, section: Section) -> ConsoleFrame<'a> {
    ConsoleFrame {
        site,
        username: "acme".to_owned(),
        account: None,
        section,
        token: "mJ5kW0h3aVd2uQxC9r1n8fTzYpLs7eGbKoIvE4NtRwU".to_owned(),
        result: None,
    }
}

fn pill(name: &'static str) -> PermissionPill {
    PermissionPill { name, without_effect: None }
}

fn row(id: u32, name: &str, note: &str, permissions: &[&'static str]) -> CredentialRow {
    let seed = i64::from(id) * 7_919;
    let state = match (permissions, id % 5) {
        ([], _) => CredentialState::WithoutEffect,
        (_, 3) => CredentialState::Unused,
        (_, 4) => CredentialState::NeverUsed,
        _ => CredentialState::Active,
    };
    let age = if state == CredentialState::Unused { 120 * 86_400 } else { seed % 90_000 };
    let entries = ["mail", "API", "dashboard"];
    CredentialRow {
        id: id.to_string(),
        name: name.to_owned(),
        note: note.to_owned(),
        permissions: permissions.iter().map(|name| pill(name)).collect(),
        state,
        created: Stamp::new(NOW - seed * 1_009 % 40_000_000 - age, NOW),
        changed: id.is_multiple_of(3).then(|| Stamp::new(NOW - age, NOW)),
        last_use: (state != CredentialState::NeverUsed && state != CredentialState::WithoutEffect).then(
            || LastUse {
                when: Stamp::new(NOW - age, NOW),
                entry: entries[id as usize % 3].to_owned(),
                address: if id % 4 == 1 { "2001:db8:2f:10::/64" } else { "203.0.113.47" }.to_owned(),
            },
        ),
    }
}

fn rows(texts: Texts) -> Vec<CredentialRow> {
    let long = "warehouse-label-printer-number-seven-in-the-north-hall-0123456789";
    let mut shadowed = row(17, "grafana", "", &["email", "api", "web"]);
    let reason = "The account doesn’t have the permission “web”.";
    shadowed.permissions[2].without_effect = Some(reason.to_owned());
    vec![
        row(11, texts.name, texts.note, &["email", "api"]),
        row(12, "ci-staging", "", &["api"]),
        row(13, "crm-import", "Old CRM. Remove after the migration in January.", &["api", "web"]),
        row(14, "ines", "Ines Duarte, support", &["web"]),
        shadowed,
        row(
            16,
            long,
            "A note as long as notes may be: it names the hall, the person who has the key to it, the supplier of the printer, the day of its next service, and ends with a very long word: Donaudampfschifffahrtsgesellschaft",
            &["email"],
        ),
        row(18, "joe@acme.example", "", &["email", "web"]),
        row(19, "newsletter", "Marketing site", &["email"]),
        row(20, "nagios", "", &[]),
        row(21, "webshop", "Order confirmations, production", &["email", "api"]),
    ]
}
