//! All views, filled with what people and attackers type.

use std::time::Duration;

use askama::Template;

use super::super::*;

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
    pages.extend(lists(&site, texts));
    pages.extend(forms(&site, texts));
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
        page("logout", &logout),
        page("forbidden", &ProblemView::forbidden(site, texts.name, "web", texts.next, id)),
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
        changed: (id % 3 == 0).then(|| Stamp::new(NOW - age, NOW)),
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

fn choices(current: &str) -> (Vec<ListChoice>, Vec<ListChoice>) {
    let choice = |(value, text): (&'static str, &'static str)| ListChoice {
        value,
        text,
        is_current: value == current,
    };
    let permissions = [("", "Any permission"), ("email", "email"), ("api", "api"), ("web", "web")];
    let states = [
        ("", "Any state"),
        ("active", "Active"),
        ("unused", "Unused for 90 days"),
        ("never", "Never used"),
        ("without-effect", "Without effect"),
    ];
    (permissions.map(choice).into(), states.map(choice).into())
}

fn list<'a>(site: &'a Site, rows: Vec<CredentialRow>, search: &str, empty: EmptyList) -> CredentialsView<'a> {
    let (permissions, states) = choices(if search.is_empty() { "" } else { "api" });
    let more = !rows.is_empty();
    let address = |more: bool, address: &str| more.then(|| address.to_owned());
    CredentialsView {
        frame: frame(site, Section::Credentials),
        rows,
        search: search.to_owned(),
        permissions,
        states,
        limit: 50,
        limits: [50, 100, 200]
            .map(|limit| ListLink {
                text: limit.to_string(),
                address: format!("/credentials?limit={limit}"),
                is_current: limit == 50,
            })
            .into(),
        first: address(more, "/credentials"),
        previous: address(more, "/credentials?before=MTE"),
        next: address(more, "/credentials?after=MjE"),
        total: if empty == EmptyList::NoneYet && !more {
            String::new()
        } else {
            "10,000 credentials".to_owned()
        },
        empty,
        command: "gatepost credential add acme billing-cron --permissions email,api".to_owned(),
    }
}

fn lists(site: &Site, texts: Texts) -> Vec<(&'static str, String)> {
    let mut usual = list(site, rows(texts), "", EmptyList::NoneYet);
    usual.frame.result = Some(ResultBanner {
        text: format!("Removed {}.", texts.name),
        effect: effect_words(3, Duration::from_millis(4)),
        is_done: true,
    });
    let mut refused = list(site, rows(texts).split_off(5), "ci", EmptyList::NoneYet);
    refused.frame.result = Some(ResultBanner {
        text: "Select at least one credential to remove.".to_owned(),
        effect: String::new(),
        is_done: false,
    });
    vec![
        page("credentials", &usual),
        page("credentials-filtered", &refused),
        page("credentials-empty", &list(site, Vec::new(), "", EmptyList::NoneYet)),
        page("credentials-no-match", &list(site, Vec::new(), texts.name, EmptyList::NoMatch)),
        page("credentials-past-end", &list(site, Vec::new(), "", EmptyList::PastTheEnd)),
        page("activity", &activity(site, texts)),
        page("activity-empty", &ActivityView { rows: Vec::new(), ..activity(site, texts) }),
        page("sessions", &sessions(site, 3)),
        page("sessions-one", &sessions(site, 1)),
    ]
}

fn activity<'a>(site: &'a Site, texts: Texts) -> ActivityView<'a> {
    let event =
        |minutes: i64, outcome, what: &str, subject: &str, detail: &str, entry: &str, count| ActivityRow {
            when: Stamp::new(NOW - minutes * 60, NOW),
            outcome,
            what: what.to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_owned(),
            by: if outcome == Changed { "acme".to_owned() } else { String::new() },
            entry: entry.to_owned(),
            source: if entry == "command line" { String::new() } else { "198.51.100.23".to_owned() },
            count,
        };
    use Outcome::{Changed, Denied};
    let filter = |text: &str, is_current| ListLink {
        text: text.to_owned(),
        address: "/activity".to_owned(),
        is_current,
    };
    ActivityView {
        frame: frame(site, Section::Activity),
        rows: vec![
            event(0, Changed, "Credential added", texts.name, "email, api", "console", 1),
            event(4, Denied, "Wrong password", "newsletter", "", "mail", 212),
            event(
                31,
                Changed,
                "Permissions changed",
                "crm-import",
                "api granted, email taken away",
                "API",
                1,
            ),
            event(47, Denied, "The permission “web” is missing", "webshop", texts.note, "dashboard", 2),
            event(190, Changed, "Password changed", "joe@acme.example", "", "command line", 1),
            event(1_900, Denied, "Throttled", "nagios", "Too many failures from this address", "API", 58),
            event(2_900, Changed, "Credential removed", "fax-gateway", "", "console", 1),
        ],
        filters: vec![filter("All", true), filter("Changes", false), filter("Denials", false)],
        since: Stamp::new(NOW - 9 * 86_400, NOW),
        is_of_one_node: true,
    }
}

fn sessions<'a>(site: &'a Site, count: usize) -> SessionsView<'a> {
    let session = |id: i64, entry: &str, browser: &str, source: &str| SessionRow {
        id: id.to_string(),
        entry: entry.to_owned(),
        browser: browser.to_owned(),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
        source: source.to_owned(),
        created: Stamp::new(NOW - id * 40_000, NOW),
        used: Stamp::new(NOW - id * id * 60, NOW),
        ends: Stamp::new(NOW + 600_000 - id * 40_000, NOW),
        is_current: id == 1,
    };
    let mut rows = vec![
        session(1, "Console", "Firefox on Linux", "203.0.113.47"),
        session(3, "Dashboard", "Chrome on Windows", "2001:db8:2f:10::1a2b"),
        session(9, "Dashboard", "Safari on iPhone", "198.51.100.23"),
    ];
    rows.truncate(count);
    SessionsView { frame: frame(site, Section::Sessions), rows }
}

fn held(checked: &[&str]) -> Vec<PermissionChoice> {
    let choice =
        |name| PermissionChoice { name, is_checked: checked.contains(&name), is_held: name != "web" };
    ["email", "api", "web"].map(choice).into()
}

fn add<'a>(site: &'a Site) -> AddView<'a> {
    AddView {
        frame: frame(site, Section::Credentials),
        name: String::new(),
        note: String::new(),
        permissions: held(&["email", "api"]),
        choice: PasswordChoice::Generated,
        asks_confirmation: false,
        errors: FormErrors::default(),
        command: "gatepost credential add acme NAME --permissions email,api".to_owned(),
    }
}

fn servers() -> Vec<ServerAddress> {
    let server = |entry: &str, host: &str, port: &str| ServerAddress {
        entry: entry.to_owned(),
        host: host.to_owned(),
        port: port.to_owned(),
    };
    vec![
        server("Mail (SMTP)", "smtp.acme.example", "587, STARTTLS"),
        server("Mail (SMTP)", "smtp.acme.example", "465, TLS"),
        server("API", "api.acme.example", "443, HTTPS"),
    ]
}

fn handover<'a>(site: &'a Site, kind: Handover, texts: Texts) -> HandoverView<'a> {
    let password = "kT7-wqfz-Mn2d-h8Rc-vX4s";
    HandoverView {
        frame: frame(site, Section::Credentials),
        kind,
        id: "11".to_owned(),
        name: texts.name.to_owned(),
        password: password.to_owned(),
        permissions: vec![pill("email"), pill("api")],
        servers: servers(),
        snippets: vec![
            Snippet {
                title: "curl",
                text: format!(
                    "curl -u '{}:{password}' \\\n  https://api.acme.example/v3/messages",
                    texts.name
                ),
            },
            Snippet {
                title: "swaks",
                text: format!(
                    "swaks --server smtp.acme.example:587 --tls --auth PLAIN \\\n  --auth-user '{}' --auth-password '{password}' \\\n  --from you@acme.example --to you@acme.example",
                    texts.name
                ),
            },
            Snippet {
                title: ".env",
                text: format!(
                    "SMTP_HOST=smtp.acme.example\nSMTP_PORT=587\nSMTP_USERNAME={}\nSMTP_PASSWORD={password}",
                    texts.name
                ),
            },
        ],
        effect: effect_words(3, Duration::from_millis(6)),
    }
}

fn edit<'a>(site: &'a Site, texts: Texts) -> EditView<'a> {
    EditView {
        frame: frame(site, Section::Credentials),
        current: row(12, texts.name, texts.note, &["email", "api"]),
        note: texts.note.to_owned(),
        permissions: held(&["email", "api"]),
        choice: PasswordChoice::Keep,
        version: texts.name.to_owned(),
        asks_confirmation: false,
        errors: FormErrors::default(),
        command: format!("gatepost credential edit acme {} --revoke email", texts.name),
    }
}

fn own<'a>(site: &'a Site, texts: Texts) -> OwnView<'a> {
    let mut permissions = vec![pill("email"), pill("web")];
    permissions[1].without_effect = Some("The account doesn’t have the permission “web”.".to_owned());
    let frame = ConsoleFrame {
        username: texts.name.to_owned(),
        account: Some("acme".to_owned()),
        ..frame(site, Section::Own)
    };
    OwnView {
        frame,
        row: Some(row(12, texts.name, texts.note, &["email", "web"])),
        permissions,
        missing: vec!["api"],
        servers: servers(),
        errors: FormErrors::default(),
    }
}

fn forms(site: &Site, texts: Texts) -> Vec<(&'static str, String)> {
    let mut errors = FormErrors::default();
    errors.add("username", format!("“{}” is taken. Choose another username.", texts.name));
    errors.add("permissions", "Choose at least one permission.");
    errors.add("password", "This is one of the most common passwords. Choose another one.");
    errors.add("confirm", "Wrong password.");
    let add_wrong = AddView {
        name: texts.name.to_owned(),
        note: texts.note.to_owned(),
        choice: PasswordChoice::Typed,
        asks_confirmation: true,
        errors: errors.clone(),
        ..add(site)
    };
    let mut changed = FormErrors::default();
    changed
        .add("", "Somebody else changed this credential in the meantime. Check the form, then save again.");
    let edit_wrong = EditView { asks_confirmation: true, errors: changed, ..edit(site, texts) };
    let mut wrong = FormErrors::default();
    wrong.add("confirm", "Wrong password.");
    let remove = |asks_confirmation, errors: FormErrors| RemoveView {
        frame: frame(site, Section::Credentials),
        row: row(12, texts.name, texts.note, &["email", "api"]),
        asks_confirmation,
        errors,
        command: format!("gatepost credential remove acme {}", texts.name),
    };
    let bulk = |failure: Option<&str>| BulkRemoveView {
        frame: frame(site, Section::Credentials),
        rows: rows(texts)
            .into_iter()
            .take(4)
            .map(|row| BulkRemoveRow { row, failure: failure.map(str::to_owned) })
            .collect(),
        asks_confirmation: true,
        errors: FormErrors::default(),
    };
    let confirm = |asks_confirmation, errors| ConfirmView {
        frame: frame(site, Section::Sessions),
        heading: "End this session?".to_owned(),
        text: "Chrome on Windows, from 198.51.100.23, will be logged out at once.".to_owned(),
        action: "/sessions/end".to_owned(),
        fields: vec![HiddenField { name: "id".to_owned(), value: texts.note.to_owned() }],
        button: "End the session".to_owned(),
        is_removal: true,
        asks_confirmation,
        back: "/sessions".to_owned(),
        errors,
    };
    let mut own_errors = FormErrors::default();
    own_errors.add("current", "Wrong password.");
    own_errors.add("again", "The two new passwords differ.");
    let holder = OwnView {
        frame: frame(site, Section::Own),
        row: None,
        permissions: vec![pill("email"), pill("api")],
        missing: vec!["web"],
        ..own(site, texts)
    };
    vec![
        page("add", &add(site)),
        page("add-wrong", &add_wrong),
        page("added", &handover(site, Handover::Added, texts)),
        page("new-password", &handover(site, Handover::NewPassword, texts)),
        page("edit", &edit(site, texts)),
        page("edit-wrong", &edit_wrong),
        page("remove", &remove(false, FormErrors::default())),
        page("remove-wrong", &remove(true, wrong.clone())),
        page("bulk-remove", &bulk(None)),
        page("bulk-remove-left", &bulk(Some("Not removed: the database is unavailable."))),
        page("confirm", &confirm(true, FormErrors::default())),
        page("confirm-wrong", &confirm(true, wrong)),
        page("own", &own(site, texts)),
        page("own-wrong", &OwnView { errors: own_errors, ..own(site, texts) }),
        page("own-holder", &holder),
    ]
}
