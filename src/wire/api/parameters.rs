//! The parameters of a call of the credentials API, from its query and body.

use thiserror::Error;

use crate::config::CredentialPlaces;
use crate::domain::{Entry, PermissionEdit, PermissionsError, Secret};
use crate::wire::credential::{CredentialError, PresentedCredential};
use crate::wire::form::{
    CredentialHalves, CredentialKey, CredentialValueBuffer, FormError, MediaType, fields,
};

/// The most parameters of a call.
pub const MOST_PARAMETERS: usize = 100;

/// The largest sum of all names and values of a call, in decoded bytes.
pub const LARGEST_PARAMETERS: usize = 64 * 1024;

/// The parameters of one call (docs/api.md). Values are wiped when dropped; unknown parameters are ignored.
pub struct CallParameters {
    fields: Vec<ParameterField>,
    size: usize,
    places: CredentialPlaces,
}

struct ParameterField {
    name: Vec<u8>,
    key: Option<CredentialKey>,
    value: Secret,
}

impl Default for CallParameters {
    fn default() -> CallParameters {
        CallParameters::new()
    }
}

impl CallParameters {
    /// Creates parameters, of which there are none so far.
    pub fn new() -> CallParameters {
        CallParameters::with_credential_in(CredentialPlaces::of(Entry::Api))
    }

    /// The same, with a credential only in `places`: parameters of other places are no part of one.
    pub fn with_credential_in(places: CredentialPlaces) -> CallParameters {
        CallParameters { fields: Vec::new(), size: 0, places }
    }

    /// Adds the parameters of a raw query, without its `?`.
    ///
    /// # Errors
    /// More or longer parameters than the limits allow.
    pub fn add_query(&mut self, query: &[u8]) -> Result<(), CallParametersError> {
        let may_hold = self.places.query;
        fields::urlencoded(query, |field| self.add(field, may_hold))
    }

    /// Adds the parameters of a complete body: urlencoded, multipart (except files), or empty.
    ///
    /// # Errors
    /// A body of another type, a malformed one, more or longer parameters than the limits allow.
    pub fn add_body(&mut self, content_type: &[u8], body: &[u8]) -> Result<(), CallParametersError> {
        if body.is_empty() {
            return Ok(());
        }
        let may_hold = self.places.form;
        match MediaType::read(content_type)? {
            MediaType::Urlencoded => fields::urlencoded(body, |field| self.add(field, may_hold)),
            MediaType::Multipart { boundary } => {
                fields::multipart(&boundary, body, |field| self.add(field, may_hold))
            }
            MediaType::Text | MediaType::Other => Err(CallParametersError::NotAForm),
        }
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// The parameter is repeated with different values, or not UTF-8.
    pub fn get(&self, name: &'static str) -> Result<Option<&str>, CallParametersError> {
        let mut same_name = self.fields.iter().filter(|field| field.name == name.as_bytes());
        let Some(first) = same_name.next() else { return Ok(None) };
        if same_name.any(|field| field.value != first.value) {
            return Err(CallParametersError::Repeated(name));
        }
        match std::str::from_utf8(first.value.expose()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(CallParametersError::NotText(name)),
        }
    }

    /// The credential in `api_user` and `api_key`, wherever in the call they are; `None` if neither is given.
    ///
    /// # Errors
    /// As for a proxied request: one without the other, different values, or too long.
    pub fn credential(&self) -> Result<Option<PresentedCredential>, CredentialError> {
        let mut halves = CredentialHalves::default();
        for field in &self.fields {
            if let Some(key) = field.key {
                let mut value = CredentialValueBuffer::with_room_for(field.value.expose().len());
                value.extend(field.value.expose())?;
                halves.put(key, value.finish())?;
            }
        }
        halves.whole()
    }

    /// The requested `permissions`, as an object or by key; `None` without any.
    ///
    /// # Errors
    /// Anything that is not exactly one of the two forms, also a parameter whose name looks like a misspelling. A key that is
    /// left out is granted, so a typing error must not leave one out.
    pub fn permissions(&self) -> Result<Option<PermissionEdit>, CallParametersError> {
        let mut by_key = None;
        for field in self.fields.iter().filter(|field| resembles_permissions(&field.name)) {
            if field.name == b"permissions" {
                continue;
            }
            let key = field.name.strip_prefix(b"permissions[").and_then(|name| name.strip_suffix(b"]"));
            let key = key.ok_or_else(|| CallParametersError::Misspelt(printable(&field.name)))?;
            let edit = by_key.get_or_insert_with(PermissionEdit::default);
            edit.name(&String::from_utf8_lossy(key), &String::from_utf8_lossy(field.value.expose()))?;
        }
        match (self.get("permissions")?, by_key) {
            (Some(_), Some(_)) => Err(CallParametersError::BothForms),
            (Some(object), None) => Ok(Some(PermissionEdit::from_json(object)?)),
            (None, by_key) => Ok(by_key),
        }
    }

    /// Adds a parameter, which is a part of a credential only with `may_hold`.
    fn add(&mut self, field: fields::FormField, may_hold: bool) -> Result<(), CallParametersError> {
        let fields::FormField { name, key, value } = field;
        let key = key.filter(|_| may_hold);
        let value = Secret::new(value);
        self.size += name.len() + value.expose().len();
        if self.fields.len() == MOST_PARAMETERS || self.size > LARGEST_PARAMETERS {
            return Err(CallParametersError::TooLarge);
        }
        self.fields.push(ParameterField { name, key, value });
        Ok(())
    }
}

/// The reason why parameters are refused: 413 for [`CallParametersError::TooLarge`], otherwise 400, with this text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallParametersError {
    /// The body is a malformed form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// `permissions` is invalid.
    #[error(transparent)]
    Permissions(#[from] PermissionsError),
    /// The body is not a form.
    #[error("parameters must be in the query or in a form")]
    NotAForm,
    /// Repeated with different values.
    #[error("{0} is given more than once with different values")]
    Repeated(&'static str),
    /// Not UTF-8.
    #[error("{0} must be UTF-8 text")]
    NotText(&'static str),
    /// `permissions` as an object and by key at once.
    #[error("permissions is given both as an object and by key")]
    BothForms,
    /// A name that looks like `permissions`; cut at 32 characters.
    #[error("unknown parameter '{0}'")]
    Misspelt(String),
    /// More than [`MOST_PARAMETERS`], or larger than [`LARGEST_PARAMETERS`].
    #[error("too many or too long parameters")]
    TooLarge,
}

fn resembles_permissions(name: &[u8]) -> bool {
    const START: &[u8] = b"permission";
    let name = name.trim_ascii_start();
    name.len() >= START.len() && name[..START.len()].eq_ignore_ascii_case(START)
}

fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.chars().take(32).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> CallParameters {
        let mut parameters = CallParameters::new();
        parameters.add_query(text.as_bytes()).unwrap();
        parameters
    }

    fn multipart(body: &str) -> Result<CallParameters, CallParametersError> {
        let mut parameters = CallParameters::new();
        parameters.add_body(b"multipart/form-data; boundary=b", body.as_bytes())?;
        Ok(parameters)
    }

    #[test]
    fn from_query_and_bodies() {
        let mut parameters = query("username=j%2Bx&&empty=&bare&x=1&x=%31");
        parameters.add_body(b"application/x-www-form-urlencoded", b"password=a+b").unwrap();
        let part = "--b \r\ncontent-disposition: form-data; name=\"note\"\r\n\r\n1\r\n2\r\n";
        let file = "--b\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\nfile\r\n";
        let none = "--b\r\nContent-Disposition: form-data; name=none\r\n\r\n";
        let body = format!("preamble\r\n{part}{file}{none}--b--\r\n");
        parameters.add_body(b"multipart/form-data; boundary=b", body.as_bytes()).unwrap();
        parameters.add_body(b"application/json", b"").unwrap();
        let expected = [
            ("username", Some("j+x")),
            ("empty", Some("")),
            ("bare", Some("")),
            ("x", Some("1")),
            ("password", Some("a b")),
            ("note", Some("1\r\n2")),
            ("none", Some("")),
            ("f", None),
            ("Username", None),
        ];
        for (name, value) in expected {
            assert_eq!(parameters.get(name), Ok(value), "{name}");
        }
    }

    #[test]
    fn refused() {
        use CallParametersError::*;
        assert_eq!(query("a=1&a=2").get("a"), Err(Repeated("a")));
        assert_eq!(query("a=%ff").get("a"), Err(NotText("a")));
        assert_eq!(CallParameters::new().add_body(b"application/json", b"{}"), Err(NotAForm));
        for body in [
            "x",
            "--b",
            "--b\r\n\r\n",
            "--b--x",
            "--b\r\nX\r\n\r\n\r\n--b--",
            "--b--\r\n--b",
            "--b\r\nX:--b\r\n\r\n\r\n--b--",
        ] {
            assert!(matches!(multipart(body), Err(Form(_))), "{body:?}");
        }
    }

    #[test]
    fn bounds() {
        let many = |n: usize| vec!["a=1"; n].join("&");
        let add = |text: String| CallParameters::new().add_query(text.as_bytes());
        assert_eq!(add(many(100)), Ok(()));
        assert_eq!(add(many(101)), Err(CallParametersError::TooLarge));
        assert_eq!(add(format!("a={}", "x".repeat(LARGEST_PARAMETERS - 1))), Ok(()));
        assert_eq!(add(format!("a={}", "x".repeat(LARGEST_PARAMETERS))), Err(CallParametersError::TooLarge));
    }

    #[test]
    fn permissions_in_either_form() {
        let read = |text: &str| query(text).permissions().map(|edit| edit.map(|e| e.for_new().as_str()));
        assert_eq!(read("a=1"), Ok(None));
        assert_eq!(read("permissions=%7B%22email%22:0%7D"), Ok(Some("api,web")));
        assert_eq!(read("permissions={%22email%22:0}&permissions={%22email%22:0}"), Ok(Some("api,web")));
        assert_eq!(read("permissions[email]=0&permissions%5Bweb%5D=1"), Ok(Some("api,web")));
        use CallParametersError::*;
        assert_eq!(read("permissions={}&permissions[web]=1"), Err(BothForms));
        assert_eq!(read("permissions={}&permissions={%22web%22:0}"), Err(Repeated("permissions")));
        for wrong in [
            "permission",
            "Permissions",
            "permissions[",
            "permissions[web",
            "permissions.web",
            "+permissions[web]",
        ] {
            let outcome = read(&format!("{wrong}=0"));
            assert!(matches!(outcome, Err(Misspelt(_))), "{wrong}: {outcome:?}");
        }
        for wrong in
            ["permissions=", "permissions", "permissions[]=0", "permissions[emial]=0", "permissions[web]=2"]
        {
            assert!(matches!(read(wrong), Err(Permissions(_))), "{wrong}");
        }
        assert!(matches!(read("permissions[web]=1&permissions[web]=1"), Err(Permissions(_))));
    }

    #[test]
    fn the_credential_of_a_call() {
        let mut parameters = query("api_user=joe&api_key=s");
        parameters.add_body(b"", b"api%5Fkey=s").unwrap();
        let held = parameters.credential().unwrap().unwrap();
        assert_eq!((held.presented().username, held.presented().secret), (&b"joe"[..], &b"s"[..]));
        for name in ["API_KEY", "[api_key]", "api_key%5D", "%u0061pi_key"] {
            let mut parameters = query("api_user=joe&api_key=s");
            parameters.add_body(b"", format!("{name}=t").as_bytes()).unwrap();
            assert_eq!(parameters.credential().unwrap_err(), CredentialError::Conflict, "{name}");
            let part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nt\r\n--b--");
            let credential = multipart(&part).unwrap().credential();
            assert_eq!(credential.unwrap_err(), CredentialError::NoUsername, "{name}");
        }
        parameters.add_body(b"", b"API_KEY=t").unwrap();
        assert_eq!(parameters.credential().unwrap_err(), CredentialError::Conflict);
        assert_eq!(query("api_user=joe").credential().unwrap_err(), CredentialError::NoSecret);
        assert!(query("a").credential().unwrap().is_none());
    }
}
