//! The three permissions, and the forms in which callers set them.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use thiserror::Error;

/// A permission of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Sending mail, by SMTP and by the API calls that send mail.
    Email,
    /// All API calls except those that send mail.
    Api,
    /// The dashboard.
    Web,
}

impl Permission {
    /// All permissions, in the order in which they are shown.
    pub const ALL: [Permission; 3] = [Permission::Email, Permission::Api, Permission::Web];

    /// The word in the API, the configuration, metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Permission::Email => "email",
            Permission::Api => "api",
            Permission::Web => "web",
        }
    }

    /// Returns the permission with this name, in lower case.
    pub fn from_name(name: &str) -> Option<Permission> {
        Permission::ALL.into_iter().find(|p| p.as_str() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Permission::Email => 1,
            Permission::Api => 2,
            Permission::Web => 4,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permissions(u8);

impl Permissions {
    /// The empty set.
    pub const NONE: Permissions = Permissions(0);
    /// `email`, `api` and `web`.
    pub const ALL: Permissions = Permissions(7);

    /// Returns the set with this one member.
    pub const fn only(permission: Permission) -> Permissions {
        Permissions(permission.bit())
    }

    /// Returns the set that is stored as `bits` (email 1, api 2, web 4); `None` if another bit is set.
    pub const fn from_bits(bits: u8) -> Option<Permissions> {
        if bits <= 7 { Some(Permissions(bits)) } else { None }
    }

    /// Returns the stored form: email 1, api 2, web 4.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns true if `permission` is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Returns the intersection.
    pub const fn and(self, other: Permissions) -> Permissions {
        Permissions(self.0 & other.0)
    }

    /// Returns the union.
    pub const fn or(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }

    /// Returns the members that are not in `other`.
    pub const fn minus(self, other: Permissions) -> Permissions {
        Permissions(self.0 & !other.0)
    }

    /// Returns true if the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the members, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |p| self.contains(*p))
    }

    /// Returns the members separated by commas, or `none`; as in `X-Gatepost-Permissions`.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "email",
            2 => "api",
            3 => "email,api",
            4 => "web",
            5 => "email,web",
            6 => "api,web",
            _ => "email,api,web",
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({self})")
    }
}

/// Parses `email,api` as the command line and the configuration write it; `none` is the empty set.
impl FromStr for Permissions {
    type Err = PermissionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Permissions::NONE);
        }
        text.split(',').map(str::trim).try_fold(Permissions::NONE, |set, name| {
            let permission = Permission::from_name(name).ok_or_else(|| PermissionsError::unknown(name))?;
            Ok(set.or(Permissions::only(permission)))
        })
    }
}

/// A change of permissions: the keys that a caller named, each with 0 or 1 (docs/api.md, "Permissions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PermissionEdit {
    named: Permissions,
    granted: Permissions,
}

impl PermissionEdit {
    /// Parses the JSON form, `{"email": 0, "web": 1}`.
    ///
    /// # Errors
    /// The text is not exactly such an object: it has an unknown key, a key given twice, or a value other than the integers
    /// 0 and 1. The error names the key, since a typing error must never grant anything.
    pub fn from_json(text: &str) -> Result<PermissionEdit, PermissionsError> {
        let mut refused = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let edit = reader.deserialize_map(EditVisitor { refused: &mut refused });
        match edit.and_then(|edit| reader.end().map(|()| edit)) {
            Ok(edit) => Ok(edit),
            Err(_) => Err(refused.unwrap_or(PermissionsError::NotAnObject)),
        }
    }

    /// Adds one key in the nested form, `permissions[key]=value`.
    ///
    /// # Errors
    /// As [`PermissionEdit::from_json`].
    pub fn name(&mut self, key: &str, value: &str) -> Result<(), PermissionsError> {
        let permission = self.next_key(key)?;
        let granted = match value {
            "0" => false,
            "1" => true,
            _ => return Err(PermissionsError::BadValue(permission)),
        };
        self.record(permission, granted);
        Ok(())
    }

    /// Returns an edit that sets all three keys to exactly this set.
    pub const fn exactly(set: Permissions) -> PermissionEdit {
        PermissionEdit { named: Permissions::ALL, granted: set }
    }

    /// Returns the permissions of a new credential: omitted keys are granted.
    pub const fn for_new(self) -> Permissions {
        self.granted.or(Permissions::ALL.minus(self.named))
    }

    /// Returns the permissions after this edit of `current`: omitted keys keep their value.
    pub const fn apply(self, current: Permissions) -> Permissions {
        current.minus(self.named).or(self.granted)
    }

    /// Returns the permissions named with a 1. The caller refuses those that the account does not have.
    pub const fn granted(self) -> Permissions {
        self.granted
    }

    /// Returns all named permissions.
    pub const fn named(self) -> Permissions {
        self.named
    }

    fn next_key(&self, key: &str) -> Result<Permission, PermissionsError> {
        let permission = Permission::from_name(key).ok_or_else(|| PermissionsError::unknown(key))?;
        if self.named.contains(permission) {
            return Err(PermissionsError::Repeated(permission));
        }
        Ok(permission)
    }

    fn record(&mut self, permission: Permission, granted: bool) {
        let bit = Permissions::only(permission);
        self.named = self.named.or(bit);
        if granted {
            self.granted = self.granted.or(bit);
        }
    }
}

/// The reason for which a `permissions` value was refused; the text is for the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PermissionsError {
    /// Something other than an object with the keys `email`, `api`, `web`.
    #[error("permissions must be a JSON object with the keys email, api and web")]
    NotAnObject,
    /// A key other than the three; cut at 32 characters.
    #[error("permissions: unknown key '{0}'")]
    UnknownKey(String),
    /// The same key twice.
    #[error("permissions: {0} is given twice")]
    Repeated(Permission),
    /// A value other than the integers 0 and 1.
    #[error("permissions: {0} must be 0 or 1")]
    BadValue(Permission),
}

impl PermissionsError {
    fn unknown(key: &str) -> PermissionsError {
        let shown = key.chars().take(32).map(|c| if c.is_control() { '?' } else { c });
        PermissionsError::UnknownKey(shown.collect())
    }
}

/// Reads the object key by key, since a map type would hide a key given twice. The typed error is kept beside serde's own
/// error, which can only carry text.
struct EditVisitor<'a> {
    refused: &'a mut Option<PermissionsError>,
}

impl<'de> Visitor<'de> for EditVisitor<'_> {
    type Value = PermissionEdit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the keys email, api and web")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PermissionEdit, A::Error> {
        let mut edit = PermissionEdit::default();
        while let Some(key) = map.next_key::<String>()? {
            let permission = edit.next_key(&key).map_err(|e| {
                *self.refused = Some(e);
                de::Error::custom("refused")
            })?;
            // Set before the value is read, since a value of another type ends in serde's error.
            *self.refused = Some(PermissionsError::BadValue(permission));
            let granted = match map.next_value::<u64>()? {
                0 => false,
                1 => true,
                _ => return Err(de::Error::custom("refused")),
            };
            *self.refused = None;
            edit.record(permission, granted);
        }
        Ok(edit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_form_names_what_it_refuses() {
        use Permission::*;
        use PermissionsError::*;
        let cases = [
            (r#"{"email":"1"}"#, BadValue(Email)),
            (r#"{"email":true}"#, BadValue(Email)),
            (r#"{"web":2}"#, BadValue(Web)),
            (r#"{"api":1.0}"#, BadValue(Api)),
            (r#"{"api":1e0}"#, BadValue(Api)),
            (r#"{"api":-0}"#, BadValue(Api)),
            (r#"{"api":-1}"#, BadValue(Api)),
            (r#"{"api":null}"#, BadValue(Api)),
            (r#"{"api":[1]}"#, BadValue(Api)),
            (r#"{"api":99999999999999999999}"#, BadValue(Api)),
            (r#"{"emial":0}"#, UnknownKey("emial".into())),
            (r#"{"Email":0}"#, UnknownKey("Email".into())),
            (r#"{"email":0,"email":1}"#, Repeated(Email)),
            (r#"{"email":0,"e\u006dail":0}"#, Repeated(Email)),
            ("", NotAnObject),
            ("[]", NotAnObject),
            ("1", NotAnObject),
            ("null", NotAnObject),
            (r#"{"email":0"#, NotAnObject),
            (r#"{"email":0} x"#, NotAnObject),
            (r#"{"email":0}{"api":0}"#, NotAnObject),
        ];
        for (text, expected) in cases {
            assert_eq!(PermissionEdit::from_json(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_granted_to_a_new_credential_and_kept_by_an_edit() {
        let edit = PermissionEdit::from_json(r#" { "email" : 0 } "#).unwrap();
        assert_eq!(edit.for_new().as_str(), "api,web");
        assert_eq!(edit.apply(Permissions::only(Permission::Email)), Permissions::NONE);
        assert_eq!(edit.apply(Permissions::ALL).as_str(), "api,web");
        assert_eq!(PermissionEdit::from_json("{}").unwrap().for_new(), Permissions::ALL);
    }

    #[test]
    fn the_nested_form_is_as_strict() {
        let mut edit = PermissionEdit::default();
        edit.name("email", "0").unwrap();
        edit.name("web", "1").unwrap();
        assert_eq!(edit.name("web", "1"), Err(PermissionsError::Repeated(Permission::Web)));
        assert_eq!(edit.name("api", "01"), Err(PermissionsError::BadValue(Permission::Api)));
        assert_eq!(edit.name("", "1"), Err(PermissionsError::UnknownKey(String::new())));
        assert_eq!(edit.apply(Permissions::ALL).as_str(), "api,web");
    }

    #[test]
    fn rights_are_read_as_the_command_line_writes_them() {
        assert_eq!("email, api".parse::<Permissions>().unwrap().as_str(), "email,api");
        assert_eq!("none".parse::<Permissions>().unwrap(), Permissions::NONE);
        assert!("email,apo".parse::<Permissions>().is_err());
        assert!("".parse::<Permissions>().is_err());
    }
}
