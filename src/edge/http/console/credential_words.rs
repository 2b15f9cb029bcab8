//! A credential in the words of the pages.

use crate::domain::{
    Credential, CredentialDetails, Entry, NoEffect, Permission, PermissionEdit, Permissions, UseState,
};
use crate::edge::http::pages::views::{
    CredentialRow, CredentialState, LastUse, PermissionChoice, PermissionPill, Stamp,
};

/// Returns a credential as the pages show it, at `now` in seconds since 1970.
pub fn row(details: &CredentialDetails, now: i64) -> CredentialRow {
    let Credential { id, name, created_at, updated_at, .. } = &details.credential;
    let last_use = details.last_use.as_ref().map(|last| LastUse {
        when: Stamp::new(last.used_at, now),
        entry: last.entry.map_or("another entry", entry).to_owned(),
        address: last.address.map(|address| address.to_string()).unwrap_or_default(),
    });
    CredentialRow {
        id: id.0.to_string(),
        name: name.to_string(),
        note: note(details),
        permissions: pills(details),
        state: state(details, now),
        created: Stamp::new(*created_at, now),
        changed: (updated_at != created_at).then(|| Stamp::new(*updated_at, now)),
        last_use,
    }
}

/// Returns the permissions that a credential has, each with the reason for which it has no effect.
pub fn pills(details: &CredentialDetails) -> Vec<PermissionPill> {
    let of = |permission: Permission| PermissionPill {
        name: permission.as_str(),
        without_effect: details.without_effect(permission).map(|reason| match reason {
            NoEffect::Suspended => "The account is suspended.".to_owned(),
            NoEffect::RightMissing => format!("The account doesn’t have the permission “{permission}”."),
        }),
    };
    details.credential.stored.iter().map(of).collect()
}

/// Returns the note; empty if there is none.
pub fn note(details: &CredentialDetails) -> String {
    details.note.as_ref().map(|note| note.as_str().to_owned()).unwrap_or_default()
}

fn state(details: &CredentialDetails, now: i64) -> CredentialState {
    match details.use_state(now) {
        _ if details.credential.effective.is_empty() => CredentialState::WithoutEffect,
        UseState::Active => CredentialState::Active,
        UseState::Unused => CredentialState::Unused,
        UseState::NeverUsed => CredentialState::NeverUsed,
    }
}

/// Returns an entry in words.
pub const fn entry(entry: Entry) -> &'static str {
    match entry {
        Entry::Smtp => "mail",
        Entry::Api => "API",
        Entry::Web => "dashboard",
        Entry::Console => "console",
    }
}

/// Returns the boxes of a form: those of `checked` are checked, and only rights of the account can be granted.
pub fn choices(checked: Permissions, rights: Permissions) -> Vec<PermissionChoice> {
    let of = |permission: Permission| PermissionChoice {
        name: permission.as_str(),
        is_checked: checked.contains(permission),
        is_held: rights.contains(permission),
    };
    Permission::ALL.into_iter().map(of).collect()
}

/// Returns the change that a form means: exactly the checked permissions in the place of the stored ones. Only what differs is named.
/// A right that the account lacks cannot be chosen, and stays as it is.
pub fn edit(stored: Permissions, checked: Permissions, rights: Permissions) -> PermissionEdit {
    let mut edit = PermissionEdit::default();
    for permission in Permission::ALL {
        let is_checked = checked.contains(permission);
        let is_changed = is_checked != stored.contains(permission);
        if is_changed && (rights.contains(permission) || is_checked) {
            // Each is named once, and with a valid value.
            let _ = edit.name(permission.as_str(), if is_checked { "1" } else { "0" });
        }
    }
    edit
}

/// Returns a change of permissions in words: `web granted, email revoked`; empty if there is none.
pub fn difference(before: Permissions, after: Permissions) -> Vec<String> {
    let granted = after.minus(before).iter().map(|permission| format!("{permission} granted"));
    let revoked = before.minus(after).iter().map(|permission| format!("{permission} revoked"));
    granted.chain(revoked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_changes_what_the_account_may_grant() {
        let of = |text: &str| text.parse::<Permissions>().unwrap();
        let stored = of("email,web");
        // `web` is no right of the account, so its box cannot be checked.
        let edited = edit(stored, of("api"), of("email,api"));
        assert_eq!(edited.apply(stored).as_str(), "api,web");
        assert_eq!(edited.granted().as_str(), "api");
        // A forged box is sent on, so that the service refuses it.
        assert_eq!(edit(of("email"), of("email,web"), of("email")).granted().as_str(), "web");
        // What stays as it is, is not named.
        let granted = edit(of("email"), of("email,web"), of("email,api,web"));
        assert_eq!((granted.named().as_str(), granted.granted().as_str()), ("web", "web"));
        assert_eq!(difference(stored, of("api,web")), ["api granted", "email revoked"]);
        assert!(difference(stored, stored).is_empty());
    }
}
