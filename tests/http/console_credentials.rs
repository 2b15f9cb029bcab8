//! The pages of credentials: list, add, edit, remove, one and several.

use crate::common::backend::Backend;
use crate::common::console::{Browser, Page, section};
use crate::common::http::get;
use crate::common::{Gateway, HOLDER, api};

/// The fields of a form: names and values.
type Fields = [(&'static str, &'static str)];

fn gateway() -> Gateway {
    let gateway = Gateway::start(&section(""));
    gateway.account("email,api");
    gateway
}

/// The text of the element with this ID.
fn element(page: &Page, id: &str) -> String {
    let mark = format!("id=\"{id}\"");
    let rest = page.html.split_once(&mark).unwrap_or_else(|| panic!("no {id} in {}", page.html)).1;
    rest.split_once('>').unwrap().1.split('<').next().unwrap().trim().to_owned()
}

/// The number of the credential with this name.
fn id_of(browser: &mut Browser, name: &str) -> String {
    let page = browser.get(&format!("/credentials?q={name}"));
    let rest = page.html.split("href=\"/credentials/").skip(1);
    let mut ids = rest.map(|rest| rest.split(['"', '/']).next().unwrap().to_owned());
    ids.find(|id| id.parse::<u64>().is_ok()).unwrap_or_else(|| panic!("no {name}: {}", page.html))
}

/// Returns true if the API lets that login in.
fn is_let_in(gateway: &Gateway, login: &str) -> bool {
    get("/x").basic(login).send(gateway.api()).status == 200
}

#[test]
fn a_generated_password_works_and_is_shown_once() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("{}{}", api(backend.address), section("")));
    gateway.account("email,api");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let token = browser.get("/credentials/add").says(200, &["Add a credential"]).hidden("token");
    let form = [
        ("token", token.as_str()),
        ("username", "Joe-CI"),
        ("note", "for <b>CI</b>"),
        ("api", "1"),
        ("how", "generated"),
    ];
    let page = browser.post("/credentials/add", &form);
    page.says(200, &["Joe-CI", "In effect after", "curl --user Joe-CI:", "API_URL=http://127.0.0.1"]);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let password = element(&page, "new-password");
    assert!(is_let_in(&gateway, &format!("joe-ci:{password}")), "{password}");
    // Reloaded: nothing is added, and the password is nowhere.
    let again = browser.post("/credentials/add", &form);
    again.says(409, &["has a credential with this username already", "not shown again"]);
    assert!(!again.html.contains(&password));
    for path in ["/credentials", "/activity", "/credentials/add", "/own"] {
        assert!(!browser.get(path).html.contains(&password), "{path}");
    }
    browser.get("/credentials").says(200, &["1 credential", "Joe-CI", "for <b>CI</b>", "api"]);
    assert!(!browser.get("/credentials").html.contains("<b>CI"));
    assert!(!gateway.log().text().contains(&password));
    let line = gateway.log().wait_for(&["credential.add", "\"outcome\":\"done\"", "\"entry\":\"console\""]);
    assert!(line.contains("Joe-CI") && line.contains("\"actor\":\"acme\""), "{line}");
}

#[test]
fn errors_stand_at_their_fields_and_the_form_stays_filled() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let cases: [(&Fields, u16, &str, &str); 12] = [
        (&[("username", "")], 422, "username", "3 to 64 characters"),
        (&[("username", "a b c")], 422, "username", "only letters, digits"),
        (&[("username", "12345")], 422, "username", "digits only"),
        (&[("username", "apikey")], 422, "username", "reserved"),
        (&[("username", "ACME")], 409, "username", "is taken"),
        (&[("username", "fine-one"), ("web", "1")], 422, "permissions", "not among the rights"),
        (&[("username", "fine-one"), ("note", "a\nb")], 422, "note", "one line"),
        (&[("username", "fine-one"), ("how", "typed")], 422, "password", "Type a password"),
        (&[("username", "fine-one"), ("how", "typed"), ("password", "short1")], 422, "password", "8 to 128"),
        (
            &[("username", "fine-one"), ("how", "typed"), ("password", "abcdefgh")],
            422,
            "password",
            "one digit",
        ),
        (
            &[("username", "fine-one"), ("how", "typed"), ("password", "12345678")],
            422,
            "password",
            "one letter",
        ),
        (
            &[("username", "fine-one"), ("how", "typed"), ("password", "password1")],
            422,
            "password",
            "most common",
        ),
    ];
    let long = "x".repeat(201);
    let note = [("username", "fine-one"), ("note", long.as_str())];
    let cases = cases.into_iter().chain([(&note[..], 422, "note", "at most 200")]);
    for (fields, status, field, text) in cases {
        let page = browser.send("/credentials/add", "/credentials/add", &[fields, &[("api", "1")]].concat());
        page.says(status, &[text]);
        assert!(page.html.contains(&format!("id=\"{field}-error\"")), "{field}: {}", page.html);
        let (name, value) = fields[0];
        assert!(
            value.is_empty() || page.html.contains(&format!("value=\"{value}\"")),
            "{name}: {}",
            page.html
        );
        for (name, value) in fields.iter().filter(|(name, _)| *name == "password") {
            assert!(!page.html.contains(&format!("value=\"{value}\"")), "{name}");
        }
    }
    // All that is wrong is said at once.
    let page = browser.send(
        "/credentials/add",
        "/credentials/add",
        &[("username", "x"), ("how", "typed"), ("note", &long)],
    );
    page.says(
        422,
        &["3 to 64 characters", "at most 200", "Type a password", "at least one permission", "4 problems"],
    );
    browser.get("/credentials").says(200, &["gatepost credential add"]);
}

#[test]
fn a_typed_password_works() {
    let gateway = gateway();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let fields =
        [("username", "typed-one"), ("how", "typed"), ("password", "it's \"my\" <1> passw0rd"), ("api", "1")];
    browser.send("/credentials/add", "/credentials/add", &fields).says(200, &["typed-one", "In effect"]);
    assert!(Browser::new(&gateway).log_in("typed-one:it's \"my\" <1> passw0rd").status == 200);
}

#[test]
fn an_edit_says_what_it_changed() {
    let gateway = gateway();
    gateway.credential("joe-ci:joes-passw0rd", "email");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let id = id_of(&mut browser, "joe-ci");
    let path = format!("/credentials/{id}");
    let send = |browser: &mut Browser, fields: &[(&str, &str)]| {
        let version = browser.get(&path).hidden("version");
        browser.send(&path, &path, &[&[("version", version.as_str())], fields].concat())
    };
    let page = send(&mut browser, &[("api", "1"), ("note", "the <i>shop</i>")]);
    page.says(200, &["Changed joe-ci: api granted, email revoked, note changed.", "In effect after"]);
    assert!(page.html.contains("value=\"the &#60;i&#62;shop&#60;/i&#62;\""), "{}", page.html);
    send(&mut browser, &[("api", "1"), ("note", "the <i>shop</i>")]).says(422, &["same as what is stored"]);
    send(&mut browser, &[("api", "1"), ("web", "1"), ("note", "other")]).says(422, &["not among the rights"]);
    let typed = [("api", "1"), ("password_change", "typed"), ("password", "another-passw0rd")];
    send(&mut browser, &typed).says(200, &["joe-ci", "another-passw0rd"]);
    assert_eq!(Browser::new(&gateway).log_in("joe-ci:joes-passw0rd").status, 401);
    assert_eq!(Browser::new(&gateway).log_in("joe-ci:another-passw0rd").status, 200);
    let page = send(&mut browser, &[("api", "1"), ("password_change", "generated")]);
    let password = element(&page, "new-password");
    assert_eq!(Browser::new(&gateway).log_in(&format!("joe-ci:{password}")).status, 200);
    assert_eq!(Browser::new(&gateway).log_in("joe-ci:another-passw0rd").status, 401);
}

#[test]
fn a_change_in_the_meantime_is_not_overwritten() {
    let gateway = gateway();
    gateway.credential("joe-ci:joes-passw0rd", "email");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let path = format!("/credentials/{}", id_of(&mut browser, "joe-ci"));
    let page = browser.get(&path);
    let (token, version) = (page.hidden("token"), page.hidden("version"));
    gateway.command(&["credential", "edit", "joe-ci", "--account", "acme", "--grant", "api"], "");
    let fields = [("token", token.as_str()), ("version", version.as_str()), ("note", "mine")];
    browser.post(&path, &fields).says(409, &["Somebody has changed this credential"]);
    browser.get("/credentials").says(200, &["email", "api"]);
    // Removed and added again, it is another one.
    gateway.command(&["credential", "remove", "joe-ci", "--account", "acme"], "");
    gateway.credential("joe-ci:joes-passw0rd", "email");
    browser.post(&path, &fields).says(404, &["is removed, and refused on every node"]);
    browser.post(&format!("{path}/remove"), &fields).says(404, &["Page not found"]);
    browser.get("/credentials").says(200, &["joe-ci"]);
}

#[test]
fn a_removal_names_the_credential_and_is_in_effect() {
    let backend = Backend::hello();
    let gateway = Gateway::start(&format!("{}{}", api(backend.address), section("")));
    gateway.account("email,api").credential("joe-ci:joes-passw0rd", "api");
    assert!(is_let_in(&gateway, "joe-ci:joes-passw0rd"));
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let path = format!("/credentials/{}/remove", id_of(&mut browser, "joe-ci"));
    let page = browser.get(&path);
    page.says(200, &["joe-ci", "Last used", "just now", "API, 127.0.0.1"]);
    let page = browser.send(&path, &path, &[]);
    page.says(200, &["Removed joe-ci.", "In effect after"]);
    assert!(page.address.starts_with("/credentials?notice="), "{}", page.address);
    assert!(!is_let_in(&gateway, "joe-ci:joes-passw0rd"));
    // The notice is for this session, and for a minute.
    let mut other = Browser::logged_in(&gateway, HOLDER);
    assert!(!other.get(&page.address).text().contains("Removed joe-ci"));
    assert!(!browser.get("/credentials").text().contains("Removed"));
    browser.get(&path).says(404, &["Page not found"]);
}

#[test]
fn several_are_removed_with_one_confirmation() {
    let gateway = gateway();
    for n in 0..5 {
        gateway.credential(&format!("ci-{n}:joes-passw0rd"), "api");
    }
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let ids: Vec<String> = (0..4).map(|n| id_of(&mut browser, &format!("ci-{n}"))).collect();
    let query: Vec<String> = ids.iter().map(|id| format!("id={id}")).collect();
    let address = format!("/credentials/remove?{}&id={}&id=999999&id=x", query.join("&"), ids[0]);
    browser.get(&address).says(200, &["ci-0", "ci-1", "ci-2", "ci-3"]);
    assert!(!browser.get(&address).text().contains("ci-4"));
    let fields: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    let page = browser.send(&address, "/credentials/remove", &fields);
    page.says(200, &["Removed 4 credentials.", "In effect after", "1 credential", "ci-4"]);
    browser
        .send("/credentials", "/credentials/remove", &fields)
        .says(200, &["are removed, and refused on every node"]);
    browser.get("/credentials/remove").says(200, &["No credential was selected."]);
    let log = gateway.log();
    (0..4).for_each(|n| drop(log.wait_for(&["credential.remove", "done", &format!("ci-{n}")])));
}

#[test]
fn pages_search_and_filters() {
    let gateway = gateway();
    for n in 0..60 {
        gateway.credential(&format!("ci-{n:02}:joes-passw0rd"), if n < 3 { "email" } else { "api" });
    }
    gateway.credential("other+one:joes-passw0rd", "api");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let first = browser.get("/credentials");
    first.says(200, &["61 credentials", "ci-00", "ci-49", "Never used"]);
    assert!(!first.text().contains("ci-50"));
    let link = |page: &Page, mark: &str| {
        let links =
            page.html.split("href=\"/credentials?").skip(1).map(|rest| rest.split('"').next().unwrap());
        let found = links.filter(|link| link.contains(mark)).last();
        format!("/credentials?{}", found.unwrap_or_else(|| panic!("no {mark}: {}", page.html)))
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    };
    let next = browser.get(&link(&first, "at="));
    next.says(200, &["ci-50", "ci-59", "other+one"]);
    assert!(!next.text().contains("ci-49 "));
    assert!(browser.get(&link(&next, "at=l")).text().contains("ci-49"));
    let all = browser.get("/credentials?limit=100");
    all.says(200, &["ci-00", "other+one"]);
    for (query, words, not) in [
        ("q=other%2B", "other+one", "ci-00"),
        ("q=OTHER", "other+one", "ci-00"),
        ("permission=email", "ci-02", "ci-03"),
        ("permission=email&state=active", "Clear", "ci-02"),
        ("state=never&q=ci-1", "ci-19", "ci-20"),
        ("q=%3Cscript%3E", "Clear", "ci-00"),
        ("q=nobody", "Clear", "ci-00"),
    ] {
        let page = browser.get(&format!("/credentials?{query}"));
        let text = page.text();
        assert!(page.status == 200 && !text.contains(not), "{query}: {text}");
        assert!(words == "Clear" || text.contains(words), "{query}: {text}");
        assert!(!page.html.contains("<script>"), "{query}");
    }
    for odd in
        ["at=zzz", "at=gt%3A%00", "limit=0", "limit=99999999999", "state=%3Cb%3E", "permission=root", "q="]
    {
        assert!(matches!(browser.get(&format!("/credentials?{odd}")).status, 200 | 400), "{odd}");
    }
}

#[test]
fn a_permission_without_effect_says_why() {
    let gateway = gateway();
    gateway.credential("joe-ci:joes-passw0rd", "email,api");
    gateway.command(&["account", "rights", "acme", "api"], "");
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    let text = browser.get("/credentials").text();
    assert!(text.contains("The account doesn’t have the permission “email”."), "{text}");
    let path = format!("/credentials/{}", id_of(&mut browser, "joe-ci"));
    browser.get(&path).says(200, &["The account doesn’t have the permission"]);
    // What cannot be chosen stays.
    let version = browser.get(&path).hidden("version");
    browser
        .send(&path, &path, &[("version", version.as_str()), ("api", "1"), ("note", "new")])
        .says(200, &["Changed joe-ci: note changed."]);
    gateway.command(&["account", "rights", "acme", "email,api"], "");
    assert!(!browser.get("/credentials").text().contains("doesn’t have"));
}

#[test]
fn markup_is_text_everywhere() {
    let gateway = gateway();
    let markup = "\"><script>alert(1)</script>&amp;'";
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    browser.send(
        "/credentials/add",
        "/credentials/add",
        &[("username", "fine-one"), ("note", markup), ("api", "1")],
    );
    let id = id_of(&mut browser, "fine-one");
    let mut pages: Vec<Page> = ["/credentials", "/activity"].map(|path| browser.get(path)).into();
    for path in [
        format!("/credentials/{id}"),
        format!("/credentials/{id}/remove"),
        format!("/credentials/remove?id={id}"),
    ] {
        pages.push(browser.get(&path));
    }
    pages.push(browser.send(
        "/credentials/add",
        "/credentials/add",
        &[("username", markup), ("note", markup), ("api", "1")],
    ));
    pages.push(browser.get(&format!("/credentials?q={}", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E")));
    pages.push(Browser::new(&gateway).log_in(&format!("{markup}:x")));
    pages.push(Browser::new(&gateway).get("/login?next=%22%3E%3Cscript%3Ealert(1)"));
    for page in pages {
        assert!(
            !page.html.contains("<script>") && !page.html.contains("\"><script"),
            "{}: {}",
            page.address,
            page.html
        );
    }
}

#[test]
fn an_account_of_ten_thousand_has_pages() {
    let gateway = gateway();
    gateway.credential("a-first:joes-passw0rd", "api");
    let fill = "db.execute('BEGIN')\n\
        columns = [row[1] for row in db.execute('PRAGMA table_info(principal)') if row[1] not in ('id', 'name')]\n\
        names = ', '.join(columns)\n\
        for n in range(9999):\n    \
            db.execute(f\"INSERT INTO principal (name, {names}) SELECT 'ci-%05d', {names} FROM principal WHERE name = 'a-first'\" % n)\n\
        db.execute(\"UPDATE principal SET credentials = 10000 WHERE name = 'acme'\")\n\
        db.execute('COMMIT')\nsay()";
    crate::common::database::Other::run(&crate::common::database::file_of(&gateway), fill).end();
    let mut browser = Browser::logged_in(&gateway, HOLDER);
    browser.get("/credentials?limit=200").says(200, &["10,000 credentials", "ci-00198"]);
    browser.get("/credentials?q=ci-0999").says(200, &["ci-09990", "ci-09998"]);
}
