//! Forms of the console that must not mislead: late, doubled, unconfirmed, or sent by somebody else.

use std::path::Path;
use std::process::Command;

use crate::common::console::{Browser, Page, section};
use crate::common::database::{Other, file_of};
use crate::common::{Gateway, HOLDER, binary, configured};

fn gateway() -> Gateway {
    let gateway = Gateway::start(&section(""));
    gateway.account("email,api,web").credential("joe-ci:joes-passw0rd", "email");
    gateway
}

/// Two gateways on one database.
fn both() -> [Gateway; 2] {
    let first = gateway();
    let directory = configured(&section(""));
    let url = |directory: &Path| format!("sqlite://{}/gatepost.db", directory.display());
    let file = directory.path().join("gatepost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&url(directory.path()), &url(first.directory.path()))).unwrap();
    let second = Gateway::start_by(directory, Command::new(binary()));
    [first, second]
}

/// The page of `joe-ci`, which is the first credential of its database.
const JOE: &str = "/credentials/2";

fn colleague(gateway: &Gateway) {
    gateway.command(&["credential", "edit", "joe-ci", "--account", "acme", "--grant", "api"], "");
}

/// Sends an edit that would take `api` away again.
fn edit(browser: &mut Browser, version: &str, fields: &[(&str, &str)]) -> Page {
    let token = browser.get(JOE).hidden("token");
    let common = [("token", token.as_str()), ("version", version), ("email", "1")];
    browser.post(JOE, &[&common, fields].concat())
}

#[test]
fn a_fault_of_another_field_keeps_the_version_of_the_form() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let version = browser.get(JOE).hidden("version");
    colleague(&gateway);
    let long = "x".repeat(201);
    for fault in [
        &[("password_change", "typed")][..],
        &[("note", "x"), ("password_change", "typed"), ("password", "short")],
    ] {
        let page = edit(&mut browser, &version, fault);
        assert_eq!((page.status, page.hidden("version")), (422, version.clone()), "{}", page.text());
    }
    let page = browser.post(JOE, &[("token", "stale"), ("version", &version), ("email", "1")]);
    assert_eq!((page.status, page.hidden("version")), (409, version.clone()));
    // Sent again, it is not what overwrites the change of the colleague.
    let page = edit(&mut browser, &version, &[("note", "mine")]);
    page.says(409, &["Somebody has changed this credential"]);
    assert_ne!(page.hidden("version"), version);
    let page = edit(&mut browser, "", &[("note", "mine")]);
    page.says(409, &["Somebody has changed this credential"]);
    // The user knows by now.
    let known = page.hidden("version");
    edit(&mut browser, &known, &[("note", &long)]).says(422, &["at most 200"]);
    edit(&mut browser, &known, &[("note", "mine")])
        .says(200, &["Changed joe-ci: api revoked, note changed."]);
}

#[test]
fn a_form_that_is_filled_in_after_a_login_has_its_version() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let shown = browser.get(JOE);
    let (token, version) = (shown.hidden("token"), shown.hidden("version"));
    Browser::logged_in(&gateway, HOLDER).send("/sessions", "/sessions/end-others", &[]);
    let page =
        browser.post(JOE, &[("token", &token), ("version", &version), ("note", "late"), ("email", "1")]);
    colleague(&gateway);
    let (next, resume) = (page.hidden("next"), page.hidden("resume"));
    let login = [("username", "acme"), ("password", "holder-passw0rd"), ("next", &next), ("resume", &resume)];
    let page = browser.clone().post("/login", &login);
    page.says(200, &["nothing was changed"]);
    assert_eq!(page.hidden("version"), version);
    assert!(page.html.contains("value=\"late\""), "{}", page.html);
    // The values are for the browser that sent them, and nobody else writes any.
    for (resume, mut other) in
        [(resume.as_str(), Browser::new(&gateway)), ("note=evil&email=1", browser.clone()), ("x.y", browser)]
    {
        let login =
            [("username", "acme"), ("password", "holder-passw0rd"), ("next", &next), ("resume", resume)];
        let page = other.post("/login", &login);
        assert_eq!((page.status, page.address.as_str()), (200, JOE));
        assert!(!page.html.contains("evil") && !page.html.contains("value=\"late\""), "{}", page.html);
    }
}

#[test]
fn another_site_chooses_no_page_behind_the_login() {
    let gateway = gateway();
    let mut browser = Browser::new(&gateway);
    browser.site = vec![("Sec-Fetch-Site", "cross-site")];
    let fields = [("username", "acme"), ("next", JOE), ("resume", "note=evil&email=1")];
    let page = browser.post("/login", &fields);
    assert_eq!(page.status, 403);
    assert!(!page.html.contains("evil") && !page.html.contains(JOE), "{}", page.html);
}

#[test]
fn an_edit_names_only_what_it_changes() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let version = browser.get(JOE).hidden("version");
    edit(&mut browser, &version, &[("web", "1")]).says(200, &["Changed joe-ci: web granted."]);
    let line = gateway.log().wait_for(&["credential.edit", "\"outcome\":\"done\""]);
    assert!(line.contains("web=1") && !line.contains("email=") && !line.contains("api="), "{line}");
    let text = browser.get("/activity").text();
    assert!(text.contains("web granted") && !text.contains("email granted"), "{text}");
}

#[test]
fn a_note_is_one_line_and_for_the_holder() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let page = browser.get("/credentials/add");
    page.says(200, &["With fewer than 15, a letter and a digit are needed."]);
    assert!(!page.html.contains("<textarea"));
    let version = browser.get(JOE).hidden("version");
    edit(&mut browser, &version, &[("note", "a secret of the holder")]).says(200, &["note changed"]);
    let own = Browser::logged_in(&gateway, "joe-ci:joes-passw0rd").get("/own");
    own.says(200, &["With fewer than 15, a letter and a digit are needed."]);
    assert!(!own.text().contains("a secret of the holder"), "{}", own.text());
}

#[test]
fn activity_tells_refusals_from_denials() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    browser.send("/credentials/add", "/credentials/add", &[("username", "acme"), ("api", "1")]);
    let page = browser.get("/activity");
    page.says(200, &["Refused Request to add a credential"]);
    assert!(!page.text().contains("session="), "{}", page.text());
}

#[test]
fn an_addition_that_is_not_confirmed_shows_its_password() {
    let [first, second] = both();
    let mut browser = Browser::logged_in(&first, HOLDER);
    let token = browser.get("/credentials/add").hidden("token");
    second.signal("STOP");
    let fields = [("token", token.as_str()), ("username", "new-one"), ("api", "1"), ("how", "generated")];
    let page = browser.post("/credentials/add", &fields);
    second.signal("CONT");
    page.says(202, &["The credential is added, but not yet confirmed on every node.", "new-one"]);
    assert!(!page.text().contains("The credential can be used."), "{}", page.text());
    let password = page.html.split_once("id=\"new-password\">").unwrap().1.split('<').next().unwrap();
    Browser::logged_in(&first, &format!("new-one:{password}"));
}

#[test]
fn removals_that_are_not_confirmed_say_so_and_are_settled_by_the_next_form() {
    let [first, second] = both();
    first.credential("ann-ci:anns-passw0rd", "api");
    let mut browser = Browser::logged_in(&first, HOLDER);
    let token = browser.get("/credentials/add").hidden("token");
    let fields = [("token", token.as_str()), ("id", "2"), ("id", "3")];
    second.signal("STOP");
    let page = browser.post("/credentials/remove", &fields);
    page.says(503, &["The removal of 2 credentials is not confirmed.", "joe-ci", "ann-ci"]);
    assert!(page.header("retry-after").is_some() && !page.text().contains("Removed 0"), "{}", page.text());
    let one = [("token", token.as_str())];
    browser.post(&format!("{JOE}/remove"), &one).says(503, &["not yet confirmed on every node"]);
    browser.post("/credentials/remove", &fields).says(503, &["not yet confirmed on every node"]);
    second.signal("CONT");
    browser.post(&format!("{JOE}/remove"), &one).says(404, &["is removed, and refused on every node"]);
    browser.post("/credentials/remove", &fields).says(200, &["are removed, and refused on every node"]);
}

#[test]
fn a_filter_that_finds_none_leads_on() {
    let gateway = gateway();
    let fill = "db.execute('BEGIN')\n\
        columns = [row[1] for row in db.execute('PRAGMA table_info(principal)') if row[1] not in ('id', 'name')]\n\
        names = ', '.join(columns)\n\
        for n in range(2100):\n    \
            db.execute(f\"INSERT INTO principal (name, {names}) SELECT 'ci-%05d', {names} FROM principal WHERE name = 'joe-ci'\" % n)\n\
        db.execute(\"UPDATE principal SET credentials = 2101 WHERE name = 'acme'\")\n\
        db.execute('COMMIT')\nsay()";
    Other::run(&file_of(&gateway), fill).end();
    gateway.credential("zoe-ci:zoes-passw0rd", "web");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let page = browser.get("/credentials?permission=web");
    page.says(200, &["No match so far", "Continue"]);
    assert!(!page.text().contains("No credential matches"), "{}", page.text());
    let next = page.html.split("<a class=\"button primary\" href=\"/credentials?").nth(1).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    browser.get(&format!("/credentials?{next}")).says(200, &["zoe-ci"]);
    browser.get("/credentials?q=nobody").says(200, &["No credential matches"]);
}
