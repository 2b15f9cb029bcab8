//! Lists of the console.

use std::time::Duration;

use super::super::super::*;
use super::{NOW, Texts, frame, page, rows};

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

pub fn all(site: &Site, texts: Texts) -> Vec<(&'static str, String)> {
    let mut usual = list(site, rows(texts), "", EmptyList::NoneYet);
    usual.frame.result = Some(ResultBanner {
        text: format!("Removed {}.", texts.name),
        effect: effect_words(3, true, Duration::from_millis(4)),
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
        page("credentials-none-so-far", &{
            let next = Some("/credentials?at=gt%3Ax".to_owned());
            CredentialsView { next, ..list(site, Vec::new(), texts.name, EmptyList::NoneSoFar) }
        }),
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
    use Outcome::{Changed, Denied, NotConfirmed, Refused};
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
            event(
                2_000,
                Refused,
                "Request to change a credential",
                texts.name,
                "the account is suspended",
                "API",
                1,
            ),
            event(2_100, NotConfirmed, "Request to remove a credential", texts.name, "", "console", 1),
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
