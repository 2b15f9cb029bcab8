//! Sessions of the console: their list, their end, the password that is asked for again, and forms that come too late.

use std::path::Path;
use std::process::Command;

use crate::common::console::{Browser, section};
use crate::common::fake_clock::FakeClock;
use crate::common::{Gateway, HOLDER, binary, configured};

/// The fields of a form: names and values.
type Fields<'a> = [(&'a str, &'a str)];

fn gateway() -> Gateway {
    let gateway = Gateway::start(&section(""));
    gateway.account("email,api,web").credential("joe-ci:joes-passw0rd", "api");
    gateway
}

/// A gateway with a clock of its own.
fn gateway_with(clock: &FakeClock, keys: &str) -> Gateway {
    let directory = configured(&section(keys));
    crate::common::accounts::create_database(directory.path());
    let mut command = Command::new(binary());
    command.envs(clock.environment());
    let gateway = Gateway::start_by(directory, command);
    gateway.account("email,api,web").credential("joe-ci:joes-passw0rd", "api");
    gateway
}

#[test]
fn sessions_are_shown_and_ended() {
    let gateway = gateway();
    let mut first = Browser::logged_in(&gateway, HOLDER);
    let mut second = Browser::logged_in(&gateway, HOLDER);
    let mut third = Browser::logged_in(&gateway, HOLDER);
    let page = first.get("/sessions");
    page.says(200, &["This session", "Console", "127.0.0.1", "End all other sessions"]);
    let id = page.hidden("id");
    let ended = first.send("/sessions", "/sessions/end", &[("id", &id)]);
    ended.says(200, &["Ended the session.", "In effect after"]);
    let out = [&mut second, &mut third].map(|browser| browser.get("/own").address.starts_with("/login"));
    assert_eq!(out.iter().filter(|out| **out).count(), 1, "{out:?}");
    first.send("/sessions", "/sessions/end", &[("id", &id)]).says(404, &["has ended already"]);
    for odd in ["", "x", "-1", "99999999999999999999"] {
        first.send("/sessions", "/sessions/end", &[("id", odd)]).says(404, &["has ended already"]);
    }
    first.send("/sessions", "/sessions/end-others", &[]).says(200, &["Ended 1 other session."]);
    assert!(
        second.get("/own").address.starts_with("/login") && third.get("/own").address.starts_with("/login")
    );
    first.get("/sessions").says(200, &["There are no other sessions."]);
}

#[test]
fn a_principal_changes_its_own_password() {
    let gateway = gateway();
    for (login, name) in [("joe-ci:joes-passw0rd", "joe-ci"), (HOLDER, "acme")] {
        let mut browser = Browser::logged_in(&gateway, login);
        let mut other = Browser::logged_in(&gateway, login);
        let (_, old) = login.split_once(':').unwrap();
        let wrong: [(&Fields, u16, &str); 5] = [
            (
                &[
                    ("current", "wr0ng-password"),
                    ("password", "another-passw0rd"),
                    ("again", "another-passw0rd"),
                ],
                403,
                "not your password",
            ),
            (&[("current", old), ("password", "another-passw0rd"), ("again", "other")], 422, "not the same"),
            (&[("current", old), ("password", "short1"), ("again", "short1")], 422, "8 to 128"),
            (&[("current", old), ("password", "password1"), ("again", "password1")], 422, "most common"),
            (
                &[("current", ""), ("password", "another-passw0rd"), ("again", "another-passw0rd")],
                422,
                "Enter your password",
            ),
        ];
        for (fields, status, text) in wrong {
            browser.send("/own", "/own/password", fields).says(status, &[text]);
        }
        let fields = [("current", old), ("password", "another-passw0rd"), ("again", "another-passw0rd")];
        let page = browser.send("/own", "/own/password", &fields);
        page.says(200, &["Changed your password.", "In effect after"]);
        assert!(other.get("/own").address.starts_with("/login"), "other sessions end");
        browser.get("/own").says(200, &[name]);
        assert_eq!(Browser::new(&gateway).log_in(login).status, 401);
        assert_eq!(Browser::new(&gateway).log_in(&format!("{name}:another-passw0rd")).status, 200);
    }
}

#[test]
fn a_change_asks_for_the_password_after_five_minutes() {
    let clock = FakeClock::new();
    let gateway = gateway_with(&clock, "");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let page = browser.get("/credentials/add");
    assert!(!page.html.contains("name=\"confirm\""));
    clock.set("+6m");
    let page = browser.get("/credentials/add");
    assert!(page.html.contains("name=\"confirm\""), "{}", page.html);
    let token = page.hidden("token");
    let new = |confirm: &[(&'static str, &'static str)]| {
        [&[("token", ""), ("username", "new-one"), ("note", "kept"), ("api", "1")], confirm].concat()
    };
    let post = |browser: &mut Browser, fields: Vec<(&str, &str)>| {
        let fields: Vec<_> =
            fields.into_iter().map(|(n, v)| (n, if n == "token" { token.as_str() } else { v })).collect();
        browser.post("/credentials/add", &fields)
    };
    post(&mut browser, new(&[])).says(422, &["Enter your password."]);
    let page = post(&mut browser, new(&[("confirm", "wr0ng-password")]));
    page.says(403, &["This is not your password"]);
    assert!(page.html.contains("id=\"confirm-error\"") && page.html.contains("value=\"new-one\""));
    assert!(!page.html.contains("wr0ng-password"));
    // Its buttons have no field, so another page asks.
    let page = browser.send("/sessions", "/sessions/end-others", &[]);
    page.says(200, &["End all other sessions?", "Your password"]);
    browser.get("/credentials").says(200, &["1 credential"]);
    post(&mut browser, new(&[("confirm", "holder-passw0rd")])).says(200, &["new-one", "In effect"]);
    // For the next five minutes, it isn't asked for again.
    assert!(!browser.get("/credentials/add").html.contains("name=\"confirm\""));
    browser.send("/sessions", "/sessions/end-others", &[]).says(200, &["Ended 0 other sessions."]);
    clock.set("+12m");
    assert!(browser.get("/credentials/add").html.contains("name=\"confirm\""));
}

#[test]
fn the_password_that_is_asked_for_again_is_throttled_as_any_guess() {
    let clock = FakeClock::new();
    let gateway = gateway_with(&clock, "");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    clock.set("+6m");
    let token = browser.get("/credentials/add").hidden("token");
    let mut guess = |n: u32| {
        let password = format!("wr0ng-{n}");
        browser.post(
            "/credentials/add",
            &[("token", &token), ("username", "new-one"), ("api", "1"), ("confirm", &password)],
        )
    };
    let page = (0..40).map(&mut guess).find(|page| page.status == 429).expect("guesses are throttled");
    page.says(429, &["Too many attempts", "Try again in"]);
    assert!(page.header("retry-after").is_some() && page.html.contains("value=\"new-one\""));
}

#[test]
fn a_session_ends_by_its_time() {
    let clock = FakeClock::new();
    let mut gateway = gateway_with(&clock, "session_idle = \"30m\"\nsession_lifetime = \"1h\"\n");
    let cookies = [HOLDER, "joe-ci:joes-passw0rd"].map(|login| Browser::logged_in(&gateway, login).cookie);
    // Read from the store, by a process whose clock says so.
    for (offset, lives) in [("+20m", true), ("+55m", false)] {
        clock.set(offset);
        gateway.kill();
        gateway.restart_with(clock.environment());
        for cookie in &cookies {
            let mut browser = Browser::new(&gateway);
            browser.cookie = cookie.clone();
            let expected = if lives { "/own" } else { "/login?after=end&next=%2Fown" };
            // It may be that the use after 20 minutes was not written.
            assert_eq!(browser.get("/own").address, expected, "{offset}");
        }
    }
}

#[test]
fn a_form_that_comes_too_late_is_filled_in_again_after_the_login() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let token = browser.get("/credentials/add").hidden("token");
    let mut other = Browser::logged_in(&gateway, HOLDER);
    other.send("/sessions", "/sessions/end-others", &[]);
    let form = [
        ("token", token.as_str()),
        ("username", "late-one"),
        ("note", "the <b>note</b> & more"),
        ("email", "1"),
        ("how", "typed"),
        ("password", "typed-passw0rd"),
        ("confirm", "holder-passw0rd"),
    ];
    let page = browser.post("/credentials/add", &form);
    page.says(401, &["Nothing was changed"]);
    assert!(!page.html.contains("typed-passw0rd") && !page.html.contains("holder-passw0rd"));
    let (next, resume) = (page.hidden("next"), page.hidden("resume"));
    let fields = [("username", "acme"), ("next", &next), ("resume", &resume)];
    let page = browser.post("/login", &[&fields[..], &[("password", "wr0ng-password")]].concat());
    assert_eq!((page.status, page.hidden("resume")), (401, resume.clone()));
    let page = browser.post("/login", &[&fields[..], &[("password", "holder-passw0rd")]].concat());
    page.says(200, &["Add a credential", "nothing was changed"]);
    assert!(
        page.html.contains("value=\"late-one\"") && page.html.contains("name=\"email\" value=\"1\""),
        "{}",
        page.html
    );
    assert!(
        page.html.contains("the &#60;b&#62;note") || page.html.contains("the &lt;b&gt;note"),
        "{}",
        page.html
    );
    // Nobody else can have a form filled in.
    let mut third = Browser::logged_in(&gateway, HOLDER);
    assert!(!third.get(&page.address).html.contains("late-one"));
    let token = page.hidden("token");
    browser
        .post("/credentials/add", &[("token", &token), ("username", "late-one"), ("email", "1")])
        .says(200, &["late-one"]);
    // A removal of several is asked again for the same ones.
    let ids: Vec<String> = (1..4).map(|n| n.to_string()).collect();
    let fields: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    let page = Browser::new(&gateway).post("/credentials/remove", &fields);
    assert_eq!((page.status, page.hidden("next").as_str()), (401, "/credentials/remove?id=1&id=2&id=3"));
}

#[test]
fn activity_shows_changes_and_denials_of_the_account() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    browser.send("/credentials/add", "/credentials/add", &[("username", "new-one"), ("api", "1")]);
    Browser::new(&gateway).log_in("joe-ci:wr0ng-password");
    let page = browser.get("/activity");
    page.says(200, &["new-one", "joe-ci", "Wrong password", "127.0.0.1", "console"]);
    assert!(!browser.get("/activity?kind=changes").text().contains("Wrong password"));
    assert!(!browser.get("/activity?kind=denials").text().contains("new-one"));
    assert_eq!(browser.get("/activity?kind=%3Cb%3E").status, 200);
}

#[test]
fn unavailable_is_never_denied() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let token = browser.get("/credentials/add").hidden("token");
    let lock = "db.execute('BEGIN EXCLUSIVE')\nsay()\ndb.execute('ROLLBACK')";
    let held = crate::common::database::Other::run(&crate::common::database::file_of(&gateway), lock);
    let page = browser.post("/credentials/add", &[("token", &token), ("username", "new-one"), ("api", "1")]);
    page.says(503, &["database"]);
    assert!(page.header("retry-after").is_some() && page.html.contains("value=\"new-one\""), "{}", page.html);
    let page = Browser::new(&gateway).log_in(HOLDER);
    assert_eq!(page.status, 503, "{}", page.text());
    held.end();
    browser.get("/credentials").says(200, &["1 credential"]);
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

#[test]
fn a_session_is_good_and_ends_in_every_gateway() {
    let [first, second] = both();
    let mut here = Browser::logged_in(&first, HOLDER);
    let mut there = Browser::new(&second);
    there.cookie = here.cookie.clone();
    there.get("/credentials").says(200, &["joe-ci"]);
    // The result of a change is shown by whatever gateway the browser comes to.
    let token = here.get("/own").hidden("token");
    let response = here.ask("POST", "/credentials/3/remove", &format!("token={token}"));
    assert_eq!(response.status, 404);
    let path = "/credentials/2/remove";
    let response = here.ask("POST", path, &format!("token={token}"));
    let address = response.header("location").unwrap().to_owned();
    there.get(&address).says(200, &["Removed joe-ci.", "In effect on both nodes after"]);
    here.post("/logout", &[("token", &token)]);
    assert!(there.get("/credentials").address.starts_with("/login"));
}

#[test]
fn a_change_that_is_not_confirmed_says_exactly_that() {
    let [first, second] = both();
    let mut browser = Browser::logged_in(&first, HOLDER);
    let path = "/credentials/2/remove";
    let token = browser.get(path).hidden("token");
    second.signal("STOP");
    let page = browser.post(path, &[("token", &token)]);
    second.signal("CONT");
    page.says(503, &["The change is written, but not yet confirmed on every node.", "joe-ci"]);
    assert!(!page.text().contains("Nothing was changed") && page.header("retry-after").is_some());
    browser.get("/credentials").says(200, &["gatepost credential add"]);
}
