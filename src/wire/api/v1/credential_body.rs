//! The bodies of API v1 that add and edit a credential. Every fault is found at once.

use zeroize::Zeroizing;

use super::pointer::JsonPointer;
use super::problem::Faults;
use super::strict_json::StrictJson;
use crate::domain::password::NewPassword;
use crate::domain::{Note, Permission, PermissionEdit, Permissions, Username};

/// The members of a new credential, and of a patch.
const OF_NEW: &str = "known are name, password, permissions and note";
const OF_PATCH: &str = "known are password, permissions and note";

/// The members of a credential that callers only read.
const READ_ONLY: [&str; 6] =
    ["id", "effective_permissions", "without_effect", "created_at", "changed_at", "last_used"];

/// A credential to be added.
#[derive(Debug)]
pub struct NewCredentialBody {
    /// The username.
    pub name: Username,
    /// The password; one is generated without it.
    pub password: Option<NewPassword>,
    /// The permissions. Those that are left out are not granted.
    pub permissions: Permissions,
    /// The note.
    pub note: Option<Note>,
}

/// An edit of a credential, as a merge patch (RFC 7396).
#[derive(Debug, Default)]
pub struct CredentialPatch {
    /// The new password.
    pub password: Option<NewPassword>,
    /// The permissions that change.
    pub permissions: PermissionEdit,
    /// The new note; `None` within it removes the present one.
    pub note: Option<Option<Note>>,
}

/// The members of a body so far, and the faults that were found in it.
#[derive(Default)]
struct MemberReader {
    faults: Faults,
    name: Option<Username>,
    password: Option<NewPassword>,
    permissions: Option<PermissionEdit>,
    note: Option<Option<Note>>,
}

impl NewCredentialBody {
    /// Reads the body of POST.
    ///
    /// # Errors
    /// All its faults.
    pub fn read(body: StrictJson) -> Result<NewCredentialBody, Faults> {
        let mut reader = MemberReader::default();
        let named = reader.read(body, OF_NEW, MemberReader::of_new);
        let MemberReader { mut faults, name, password, permissions, note } = reader;
        for required in ["name", "permissions"] {
            if named.as_ref().is_some_and(|named| !named.iter().any(|name| name == required)) {
                faults.at(JsonPointer::root().member(required), "missing");
            }
        }
        match (name, permissions) {
            (Some(name), Some(permissions)) if faults.is_empty() => {
                let (permissions, note) = (permissions.granted(), note.flatten());
                Ok(NewCredentialBody { name, password, permissions, note })
            }
            _ => Err(faults),
        }
    }
}

impl CredentialPatch {
    /// Reads the body of PATCH.
    ///
    /// # Errors
    /// All its faults.
    pub fn read(body: StrictJson) -> Result<CredentialPatch, Faults> {
        let mut reader = MemberReader::default();
        reader.read(body, OF_PATCH, MemberReader::of_patch);
        let MemberReader { faults, password, permissions, note, .. } = reader;
        match faults.is_empty() {
            true => Ok(CredentialPatch { password, permissions: permissions.unwrap_or_default(), note }),
            false => Err(faults),
        }
    }

    /// Returns true if it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.password.is_none() && self.permissions.named().is_empty() && self.note.is_none()
    }
}

/// Reads a member, and returns the fault that it has. `None` says that there is no such member.
type ReadMember = fn(&mut MemberReader, &str, StrictJson) -> Option<Result<(), String>>;

impl MemberReader {
    /// Reads each member of a body. Returns the names that it has; `None` if it is no object.
    fn read(&mut self, body: StrictJson, known: &str, read: ReadMember) -> Option<Vec<String>> {
        let root = JsonPointer::root();
        let members = match body {
            StrictJson::Object(members) => members,
            other => {
                self.faults.at(root, format!("must be an object, not {}", other.kind()));
                return None;
            }
        };
        let mut names: Vec<String> = Vec::new();
        for (name, value) in members {
            let pointer = root.member(&name);
            if names.contains(&name) {
                self.faults.at(pointer, "given more than once");
                continue;
            }
            match read(self, &name, value) {
                Some(Ok(())) => {}
                Some(Err(detail)) => self.faults.at(pointer, detail),
                None if READ_ONLY.contains(&name.as_str()) => self.faults.at(pointer, "is read-only"),
                None => self.faults.at(pointer, format!("unknown member: {known}")),
            }
            names.push(name);
        }
        Some(names)
    }

    fn of_new(&mut self, name: &str, value: StrictJson) -> Option<Result<(), String>> {
        Some(match name {
            "name" => text(value).and_then(|text| {
                self.name = Some(Username::parse_new(&text).map_err(|error| error.to_string())?);
                Ok(())
            }),
            "permissions" => {
                self.permissions(value);
                Ok(())
            }
            // A document that was read and is sent again for a copy has null here.
            "note" if matches!(value, StrictJson::Null) => Ok(()),
            _ => return self.common(name, value),
        })
    }

    fn of_patch(&mut self, name: &str, value: StrictJson) -> Option<Result<(), String>> {
        Some(match name {
            "name" => Err("can't be changed: add another credential, and remove this one".to_owned()),
            "permissions" => {
                self.permissions(value);
                Ok(())
            }
            // As a merge patch says that a member is to be removed.
            "note" if matches!(value, StrictJson::Null) => {
                self.note = Some(None);
                Ok(())
            }
            _ => return self.common(name, value),
        })
    }

    fn common(&mut self, name: &str, value: StrictJson) -> Option<Result<(), String>> {
        Some(match name {
            "password" => text(value).and_then(|text| {
                let password =
                    NewPassword::parse_chosen(text.as_bytes()).map_err(|error| error.to_string())?;
                self.password = Some(password);
                Ok(())
            }),
            "note" => text(value).and_then(|text| {
                self.note = Some(Note::parse(&text).map_err(|error| error.to_string())?);
                Ok(())
            }),
            _ => return None,
        })
    }

    /// Reads permissions, each of which has a place of its own.
    fn permissions(&mut self, value: StrictJson) {
        let at = JsonPointer::root().member("permissions");
        let members = match value {
            StrictJson::Object(members) => members,
            other => return self.faults.at(at, format!("must be an object, not {}", other.kind())),
        };
        let mut edit = PermissionEdit::default();
        for (name, value) in members {
            let at = at.member(&name);
            if Permission::from_name(&name).is_none() {
                self.faults.at(at, "unknown permission: known are email, api and web");
                continue;
            }
            let bit = match value {
                StrictJson::Bool(true) => "1",
                StrictJson::Bool(false) => "0",
                other => {
                    self.faults.at(at, format!("must be true or false, not {}", other.kind()));
                    continue;
                }
            };
            if edit.name(&name, bit).is_err() {
                self.faults.at(at, "given more than once");
            }
        }
        self.permissions = Some(edit);
    }
}

fn text(value: StrictJson) -> Result<Zeroizing<String>, String> {
    match value {
        StrictJson::Text(text) => Ok(text),
        other => Err(format!("must be a string, not {}", other.kind())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::problem::FaultPlace;
    use super::*;

    fn json(text: &str) -> StrictJson {
        StrictJson::parse(text.as_bytes()).unwrap()
    }

    fn told(faults: &Faults) -> Vec<(String, String)> {
        let of = |place: &FaultPlace| match place {
            FaultPlace::Body(pointer) => pointer.to_fragment(),
            other => panic!("{other:?}"),
        };
        faults.iter().map(|fault| (of(&fault.place), fault.detail.clone())).collect()
    }

    fn faults_of_new(text: &str) -> Vec<(String, String)> {
        told(&NewCredentialBody::read(json(text)).unwrap_err())
    }

    fn faults_of_patch(text: &str) -> Vec<(String, String)> {
        told(&CredentialPatch::read(json(text)).unwrap_err())
    }

    #[test]
    fn a_new_credential() {
        let text =
            r#"{"name":"John","permissions":{"email":true,"web":false},"note":"db","password":"n0t-common"}"#;
        let new = NewCredentialBody::read(json(text)).unwrap();
        assert_eq!((new.name.as_str(), new.permissions.as_str()), ("John", "email"));
        assert_eq!(new.note.as_ref().map(Note::as_str), Some("db"));
        assert_eq!(new.password.unwrap().secret().expose(), b"n0t-common");
        let new = NewCredentialBody::read(json(r#"{"name":"John","permissions":{},"note":null}"#)).unwrap();
        assert!(new.password.is_none() && new.note.is_none() && new.permissions.is_empty());
    }

    #[test]
    fn all_faults_of_a_new_credential_are_told() {
        let text = r#"{"name":"a b","permissions":{"email":1,"root":true,"api":true,"api":true},"note":3,
            "password":"short","id":4,"x/y":null,"note":"b"}"#;
        let faults = faults_of_new(text);
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        let expected = [
            "#/name",
            "#/permissions/email",
            "#/permissions/root",
            "#/permissions/api",
            "#/note",
            "#/password",
            "#/id",
            "#/x~1y",
            "#/note",
        ];
        assert_eq!(places, expected, "{faults:?}");
        assert_eq!(faults[6].1, "is read-only");
        let missing =
            [("#/name".to_owned(), "missing".to_owned()), ("#/permissions".into(), "missing".into())];
        assert_eq!(faults_of_new("{}"), missing);
        assert_eq!(faults_of_new("[]"), [("#".to_owned(), "must be an object, not an array".to_owned())]);
        assert_eq!(faults_of_new(r#"{"name":null,"permissions":[]}"#).len(), 2);
        assert_eq!(faults_of_new(r#"{"name":"apikey","permissions":{}}"#).len(), 1);
    }

    #[test]
    fn no_fault_tells_a_password() {
        for body in [
            r#"{"name":"john","permissions":{},"password":"secret"}"#,
            r#"{"name":"john","permissions":{},"password":["secret"]}"#,
            r#"{"name":"john","permissions":{},"password":"secret\u0007123"}"#,
        ] {
            let faults = faults_of_new(body);
            assert!(
                !faults.is_empty() && faults.iter().all(|(_, detail)| !detail.contains("secret")),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn patches() {
        assert!(CredentialPatch::read(json("{}")).unwrap().is_empty());
        assert!(CredentialPatch::read(json(r#"{"permissions":{}}"#)).unwrap().is_empty());
        let patch = CredentialPatch::read(json(r#"{"permissions":{"web":false},"note":null}"#)).unwrap();
        assert_eq!(patch.permissions.apply(Permissions::ALL).as_str(), "email,api");
        assert_eq!((patch.note, patch.password.is_none()), (Some(None), true));
        let patch = CredentialPatch::read(json(r#"{"note":"x","password":"n0t-common"}"#)).unwrap();
        assert_eq!(patch.note.as_ref().and_then(Option::as_ref).map(Note::as_str), Some("x"));
        assert!(!patch.is_empty() && patch.password.is_some());
        for (wrong, place) in [
            (r#"{"name":"john"}"#, "#/name"),
            (r#"{"permissions":null}"#, "#/permissions"),
            (r#"{"permissions":{"web":null}}"#, "#/permissions/web"),
            (r#"{"password":null}"#, "#/password"),
            (r#"{"note":"a\nb"}"#, "#/note"),
            (r#"{"created_at":"x"}"#, "#/created_at"),
            ("null", "#"),
        ] {
            let faults = faults_of_patch(wrong);
            assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
            assert_eq!(faults[0].0, place, "{wrong}");
        }
        let long = format!(r#"{{"note":"{}"}}"#, "\u{fc}".repeat(200));
        assert!(CredentialPatch::read(json(&long)).is_ok());
        let longer = long.replace("\"}", "x\"}");
        assert_eq!(faults_of_patch(&longer).len(), 1);
    }

    proptest! {
        #[test]
        fn no_object_panics(
            names in proptest::collection::vec("name|password|permissions|note|id|[a-z~/]{0,9}", 0..6),
            values in proptest::collection::vec(r#"null|true|1|"[a-z0-9 ]{0,12}"|\{"web":(true|null)\}|\[\]"#, 6),
        ) {
            let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("{name:?}:{value}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let _ = CredentialPatch::read(json(&text));
            match NewCredentialBody::read(json(&text)) {
                Ok(_) => prop_assert!(text.contains("\"name\"") && text.contains("\"permissions\"")),
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
        }
    }
}
