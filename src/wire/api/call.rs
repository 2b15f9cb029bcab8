//! Calls of the credentials API, as their paths name them.

/// What is to be done with a credential (docs/api.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lists all, or gives one.
    Get,
    /// Adds one.
    Add,
    /// Changes the password or the permissions of one.
    Edit,
    /// Removes one.
    Remove,
}

impl Action {
    fn from_name(name: &str) -> Option<Action> {
        match name {
            "get" => Some(Action::Get),
            "add" => Some(Action::Add),
            "edit" => Some(Action::Edit),
            "remove" | "delete" => Some(Action::Remove),
            _ => None,
        }
    }
}

/// In which format an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.json`
    Json,
    /// `.xml`
    Xml,
}

impl Format {
    /// The format that the suffix of a path asks for: XML for `.xml`, else JSON.
    pub fn of_path(path: &str) -> Format {
        let suffix = path.len().checked_sub(4).and_then(|at| path.as_bytes().get(at..));
        let is_xml = suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b".xml"));
        if is_xml { Format::Xml } else { Format::Json }
    }

    /// The value of its Content-Type header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Xml => "text/xml; charset=ISO-8859-1",
        }
    }
}

/// One call of the credentials API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to do.
    pub action: Action,
    /// How to answer.
    pub format: Format,
}

impl Call {
    /// The call that a normalized path names: `/api/credentials/ACTION.FORMAT`, or with a dot for the last slash; `None`
    /// for any other path. Exactly as written, in lower case.
    pub fn from_path(path: &str) -> Option<Call> {
        let rest = path.strip_prefix("/api/credentials")?.strip_prefix(['/', '.'])?;
        let (action, format) = rest.split_once('.')?;
        let format = match format {
            "json" => Format::Json,
            "xml" => Format::Xml,
            _ => return None,
        };
        Some(Call { action: Action::from_name(action)?, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let call = |action, format| Some(Call { action, format });
        let cases = [
            ("/api/credentials/get.json", call(Action::Get, Format::Json)),
            ("/api/credentials/add.xml", call(Action::Add, Format::Xml)),
            ("/api/credentials.edit.json", call(Action::Edit, Format::Json)),
            ("/api/credentials.remove.xml", call(Action::Remove, Format::Xml)),
            ("/api/credentials/delete.json", call(Action::Remove, Format::Json)),
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
            assert_eq!(Call::from_path(path), expected, "{path}");
        }
    }

    #[test]
    fn formats() {
        for (path, format) in [
            ("/api/mail.send.xml", Format::Xml),
            ("/a.XML", Format::Xml),
            (".xml", Format::Xml),
            ("/a.json", Format::Json),
            ("/a.xml/b", Format::Json),
            ("/ä", Format::Json),
            ("", Format::Json),
        ] {
            assert_eq!(Format::of_path(path), format, "{path}");
        }
    }
}
