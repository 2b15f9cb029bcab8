//! Forms of the console, and the pages that answer them.

use std::time::Duration;

use super::super::super::*;
use super::{Texts, frame, page, pill, row, rows};

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
        id: Some("11".to_owned()),
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
        effect: effect_words(3, true, Duration::from_millis(6)),
        doubt: None,
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

pub fn all(site: &Site, texts: Texts) -> Vec<(&'static str, String)> {
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
        page(
            "added-unconfirmed",
            &HandoverView {
                id: None,
                doubt: Some("The credential is added, but not yet confirmed on every node."),
                ..handover(site, Handover::Added, texts)
            },
        ),
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
