//! The calls of the credentials API, as named by their paths.

/// The action of a call (docs/api.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialsAction {
    /// Lists all credentials, or returns one.
    Get,
    /// Adds a credential.
    Add,
    /// Changes the password or the permissions of a credential.
    Edit,
    /// Removes a credential.
    Remove,
}

impl CredentialsAction {
    fn from_name(name: &str) -> Option<CredentialsAction> {
        match name {
            "get" => Some(CredentialsAction::Get),
            "add" => Some(CredentialsAction::Add),
            "edit" => Some(CredentialsAction::Edit),
            "remove" | "delete" => Some(CredentialsAction::Remove),
            _ => None,
        }
    }
}

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyFormat {
    /// `.json`
    Json,
    /// `.xml`
    Xml,
}

impl ReplyFormat {
    /// The format for the suffix of a path: XML for `.xml`, otherwise JSON.
    pub fn of_path(path: &str) -> ReplyFormat {
        let suffix = path.len().checked_sub(4).and_then(|at| path.as_bytes().get(at..));
        let is_xml = suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b".xml"));
        if is_xml { ReplyFormat::Xml } else { ReplyFormat::Json }
    }

    /// The value for the Content-Type header.
    pub const fn content_type(self) -> &'static str {
        match self {
            ReplyFormat::Json => "application/json",
            ReplyFormat::Xml => "text/xml; charset=ISO-8859-1",
        }
    }
}

/// The format of the refusal of a proxied call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalFormat {
    /// JSON for the calls of version 2.
    Json,
    /// `.xml`
    Xml,
    /// The JSON of version 3, which has no other format.
    V3,
}

impl RefusalFormat {
    /// The format for a path, or for a target in the absolute form: that of version 3 below `/v3/`, else by the suffix.
    pub fn of_path(path: &str) -> RefusalFormat {
        let path = match path.split_once("://") {
            Some((_, rest)) if !path.starts_with('/') => rest.find('/').map_or("", |start| &rest[start..]),
            _ => path,
        };
        let start = path.as_bytes().get(..4);
        if start.is_some_and(|start| start.eq_ignore_ascii_case(b"/v3/")) || path.eq_ignore_ascii_case("/v3")
        {
            return RefusalFormat::V3;
        }
        match ReplyFormat::of_path(path) {
            ReplyFormat::Json => RefusalFormat::Json,
            ReplyFormat::Xml => RefusalFormat::Xml,
        }
    }

    /// The value for the Content-Type header.
    pub const fn content_type(self) -> &'static str {
        match self {
            RefusalFormat::Json | RefusalFormat::V3 => ReplyFormat::Json.content_type(),
            RefusalFormat::Xml => ReplyFormat::Xml.content_type(),
        }
    }
}

/// A call of the credentials API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialsCall {
    /// The action.
    pub action: CredentialsAction,
    /// The format of the response.
    pub format: ReplyFormat,
}

impl CredentialsCall {
    /// The call that a normalized path names: `/api/credentials/ACTION.FORMAT`, also with a dot for the last slash. `None`
    /// for any other path. Case matters.
    pub fn from_path(path: &str) -> Option<CredentialsCall> {
        let rest = path.strip_prefix("/api/credentials")?.strip_prefix(['/', '.'])?;
        let (action, format) = rest.split_once('.')?;
        let format = match format {
            "json" => ReplyFormat::Json,
            "xml" => ReplyFormat::Xml,
            _ => return None,
        };
        Some(CredentialsCall { action: CredentialsAction::from_name(action)?, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let call = |action, format| Some(CredentialsCall { action, format });
        let cases = [
            ("/api/credentials/get.json", call(CredentialsAction::Get, ReplyFormat::Json)),
            ("/api/credentials/add.xml", call(CredentialsAction::Add, ReplyFormat::Xml)),
            ("/api/credentials.edit.json", call(CredentialsAction::Edit, ReplyFormat::Json)),
            ("/api/credentials.remove.xml", call(CredentialsAction::Remove, ReplyFormat::Xml)),
            ("/api/credentials/delete.json", call(CredentialsAction::Remove, ReplyFormat::Json)),
            ("/api/credentials/get", None),
            ("/api/credentials/get.yaml", None),
            ("/api/credentials/get.json/", None),
            ("/api/credentials/get.json.xml", None),
            ("/api/credentialsget.json", None),
            ("/api/credentials//get.json", None),
            ("/api/credentials/Get.json", None),
            ("/api/credentials", None),
            ("/v2/api/credentials/get.json", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(CredentialsCall::from_path(path), expected, "{path}");
        }
    }

    #[test]
    fn formats() {
        for (path, format) in [
            ("/api/mail.send.xml", ReplyFormat::Xml),
            ("/a.XML", ReplyFormat::Xml),
            (".xml", ReplyFormat::Xml),
            ("/a.json", ReplyFormat::Json),
            ("/a.xml/b", ReplyFormat::Json),
            ("/ä", ReplyFormat::Json),
            ("", ReplyFormat::Json),
        ] {
            assert_eq!(ReplyFormat::of_path(path), format, "{path}");
        }
    }

    #[test]
    fn formats_of_refusals() {
        for (path, format) in [
            ("/v3/mail/send", RefusalFormat::V3),
            ("/V3/x.xml", RefusalFormat::V3),
            ("/v3", RefusalFormat::V3),
            ("/v3/", RefusalFormat::V3),
            ("http://gate.test/v3/stats", RefusalFormat::V3),
            ("http://gate.test", RefusalFormat::Json),
            ("/v3x/a", RefusalFormat::Json),
            ("/api/v3/a", RefusalFormat::Json),
            ("/http://x/v3/a", RefusalFormat::Json),
            ("/a.xml", RefusalFormat::Xml),
            ("http://gate.test/a.xml", RefusalFormat::Xml),
            ("", RefusalFormat::Json),
            ("/ä/", RefusalFormat::Json),
        ] {
            assert_eq!(RefusalFormat::of_path(path), format, "{path}");
        }
    }
}
