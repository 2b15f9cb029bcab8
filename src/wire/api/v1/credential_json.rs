//! Credentials as API v1 writes them.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cursor::encode_cursor;
use crate::domain::{
    CredentialDetails, Entry, LatestUse, NoEffect, Note, PageCursor, Permission, Permissions,
};

#[derive(Serialize)]
struct CredentialJson<'a> {
    id: i64,
    name: &'a str,
    note: Option<&'a str>,
    permissions: PermissionsJson,
    effective_permissions: PermissionsJson,
    without_effect: Vec<WithoutEffectJson>,
    created_at: String,
    changed_at: String,
    last_used: Option<LastUseJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct PermissionsJson {
    email: bool,
    api: bool,
    web: bool,
}

#[derive(Serialize)]
struct WithoutEffectJson {
    permission: &'static str,
    reason: &'static str,
}

#[derive(Serialize)]
struct LastUseJson {
    at: String,
    entry: Option<&'static str>,
    address: Option<String>,
}

#[derive(Serialize)]
struct PageJson<'a> {
    items: Vec<CredentialJson<'a>>,
    next_cursor: Option<String>,
}

/// Writes a credential as JSON. `password` is the one that was generated for it, if it was added just now.
pub fn credential_json(details: &CredentialDetails, password: Option<&str>) -> String {
    written(&CredentialJson::of(details, password))
}

/// Writes a page of credentials as JSON. The next page begins at `next`.
pub fn page_json(credentials: &[CredentialDetails], next: Option<&PageCursor>) -> String {
    let items = credentials.iter().map(|credential| CredentialJson::of(credential, None)).collect();
    written(&PageJson { items, next_cursor: next.map(encode_cursor) })
}

/// The word for the reason for which a permission has no effect.
const fn reason(why: NoEffect) -> &'static str {
    match why {
        NoEffect::RightMissing => "account_rights",
        NoEffect::Suspended => "account_suspended",
    }
}

impl<'a> CredentialJson<'a> {
    fn of(details: &'a CredentialDetails, password: Option<&'a str>) -> CredentialJson<'a> {
        let CredentialDetails { credential, note, last_use, .. } = details;
        let why = |permission: Permission| {
            let reason = reason(details.without_effect(permission)?);
            Some(WithoutEffectJson { permission: permission.as_str(), reason })
        };
        CredentialJson {
            id: credential.id.0,
            name: credential.name.as_str(),
            note: note.as_ref().map(Note::as_str),
            permissions: PermissionsJson::of(credential.stored),
            effective_permissions: PermissionsJson::of(credential.effective),
            without_effect: Permission::ALL.into_iter().filter_map(why).collect(),
            created_at: rfc3339(credential.created_at),
            changed_at: rfc3339(credential.updated_at),
            last_used: last_use.as_ref().map(LastUseJson::of),
            password,
        }
    }
}

impl LastUseJson {
    fn of(used: &LatestUse) -> LastUseJson {
        let address = used.address.map(|address| address.to_string());
        LastUseJson { at: rfc3339(used.used_at), entry: used.entry.map(Entry::as_str), address }
    }
}

impl PermissionsJson {
    fn of(set: Permissions) -> PermissionsJson {
        PermissionsJson {
            email: set.contains(Permission::Email),
            api: set.contains(Permission::Api),
            web: set.contains(Permission::Web),
        }
    }
}

/// Formats a time as RFC 3339 in UTC. An invalid timestamp, which no store holds, becomes 1970.
fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// Serializes a document, which has nothing that JSON can't hold.
fn written(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Credential, CredentialId, CredentialVersion, Username};

    fn john(note: &str) -> CredentialDetails {
        CredentialDetails {
            credential: Credential {
                id: CredentialId(4),
                name: Username::parse("John").unwrap(),
                stored: "email,web".parse().unwrap(),
                effective: "email".parse().unwrap(),
                active: true,
                created_at: 1_358_787_121,
                updated_at: 1_358_787_122,
            },
            note: Note::parse(note).unwrap(),
            version: CredentialVersion(1),
            last_use: None,
        }
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_credential_as_json() {
        let expected = json!({
            "id": 4, "name": "John", "note": null,
            "permissions": {"email": true, "api": false, "web": true},
            "effective_permissions": {"email": true, "api": false, "web": false},
            "without_effect": [{"permission": "web", "reason": "account_rights"}],
            "created_at": "2013-01-21T16:52:01Z", "changed_at": "2013-01-21T16:52:02Z", "last_used": null,
        });
        assert_eq!(read(&credential_json(&john(""), None)), expected);
        let last_use =
            LatestUse { used_at: 0, entry: Some(Entry::Smtp), address: Some("192.0.2.1".parse().unwrap()) };
        let used = CredentialDetails { last_use: Some(last_use), ..john("of \"db\"") };
        let written = read(&credential_json(&used, Some("pa55word")));
        assert_eq!((&written["note"], &written["password"]), (&json!("of \"db\""), &json!("pa55word")));
        let expected = json!({"at": "1970-01-01T00:00:00Z", "entry": "smtp", "address": "192.0.2.1"});
        assert_eq!(written["last_used"], expected);
        let unknown = LatestUse { used_at: 0, entry: None, address: None };
        let unknown = credential_json(&CredentialDetails { last_use: Some(unknown), ..john("") }, None);
        let expected = json!({"at": "1970-01-01T00:00:00Z", "entry": null, "address": null});
        assert_eq!(read(&unknown)["last_used"], expected);
    }

    #[test]
    fn a_page_as_json() {
        assert_eq!(read(&page_json(&[], None)), json!({"items": [], "next_cursor": null}));
        let cursor: PageCursor = "gt:john".parse().unwrap();
        let page = read(&page_json(&[john(""), john("")], Some(&cursor)));
        assert_eq!(page["items"][1], read(&credential_json(&john(""), None)));
        assert_eq!(page["next_cursor"], encode_cursor(&cursor));
    }

    proptest! {
        #[test]
        fn any_note_and_time_can_be_written(note in "[^ \\p{C}\\p{Z}]{1,200}", created_at: i64, updated_at: i64) {
            let mut details = john(&note);
            details.credential = Credential { created_at, updated_at, ..details.credential };
            let written = read(&credential_json(&details, None));
            prop_assert_eq!(&written["note"], &note);
        }
    }
}
