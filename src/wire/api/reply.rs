//! The responses that Gatepost itself writes (docs/api.md): results and errors of the credentials API, and refusals of proxied
//! calls.

use time::OffsetDateTime;

use super::call::{RefusalFormat, ReplyFormat};
use super::xml::{DECLARATION, push_text};
use crate::domain::{Credential, Permission, Permissions};

/// The response to `add`, `edit` and `remove`. `count` is the number of credentials that the account has now.
pub fn success(format: ReplyFormat, count: u64) -> String {
    match format {
        ReplyFormat::Json => r#"{"message":"success"}"#.to_owned(),
        ReplyFormat::Xml => format!("{DECLARATION}<result><count>{count}</count></result>"),
    }
}

/// An error of the credentials API.
pub fn error(format: ReplyFormat, reason: &str) -> String {
    match format {
        ReplyFormat::Json => format!(r#"{{"error":{}}}"#, quoted(reason)),
        ReplyFormat::Xml => {
            let mut xml = format!("{DECLARATION}<result><message>error: ");
            push_text(&mut xml, reason);
            xml.push_str("</message></result>");
            xml
        }
    }
}

/// The refusal of a proxied call with that status, in the general error forms of the API. Its JSON of version 2 has two of them:
/// client libraries look for `errors`, or for `error.code`. Strict clients accept no other elements of XML.
pub fn refusal(format: RefusalFormat, status: u16, reason: &str) -> String {
    match format {
        RefusalFormat::Json => {
            let reason = quoted(reason);
            format!(
                r#"{{"message":"error","errors":[{reason}],"error":{{"code":{status},"message":{reason}}}}}"#
            )
        }
        RefusalFormat::V3 => {
            format!(r#"{{"errors":[{{"message":{},"field":null,"help":null}}]}}"#, quoted(reason))
        }
        RefusalFormat::Xml => {
            let mut xml = format!("{DECLARATION}<result><message>error</message><errors><error>");
            push_text(&mut xml, reason);
            xml.push_str("</error></errors></result>");
            xml
        }
    }
}

/// The response to `get` with `username`: in JSON that one object, in XML a list of one.
pub fn credential(format: ReplyFormat, credential: &Credential) -> String {
    let mut text = String::new();
    match format {
        ReplyFormat::Json => push_json(&mut text, credential),
        ReplyFormat::Xml => {
            let mut list = CredentialList::new(format);
            list.start(&mut text);
            list.push(&mut text, credential);
            list.end(&mut text);
        }
    }
    text
}

/// The response to `get` for a whole account, written in pieces because it can be long: [`start`](CredentialList::start), one
/// [`push`](CredentialList::push) for each credential, [`end`](CredentialList::end). Each appends to a buffer that may be sent
/// and emptied in between.
pub struct CredentialList {
    format: ReplyFormat,
    is_empty: bool,
}

impl CredentialList {
    /// A list of which nothing was written.
    pub fn new(format: ReplyFormat) -> CredentialList {
        CredentialList { format, is_empty: true }
    }

    /// Appends the start of the list.
    pub fn start(&self, text: &mut String) {
        match self.format {
            ReplyFormat::Json => text.push('['),
            ReplyFormat::Xml => {
                text.push_str(DECLARATION);
                text.push_str("<credentials>");
            }
        }
    }

    /// Appends one credential.
    pub fn push(&mut self, text: &mut String, credential: &Credential) {
        match self.format {
            ReplyFormat::Json => {
                if !self.is_empty {
                    text.push(',');
                }
                push_json(text, credential);
            }
            ReplyFormat::Xml => push_xml(text, credential),
        }
        self.is_empty = false;
    }

    /// Appends the end of the list.
    pub fn end(&self, text: &mut String) {
        text.push_str(match self.format {
            ReplyFormat::Json => "]",
            ReplyFormat::Xml => "</credentials>",
        });
    }
}

fn push_json(json: &mut String, credential: &Credential) {
    let bit = |permission| u8::from(credential.effective.contains(permission));
    json.push_str(&format!(
        r#"{{"id":{},"name":{},"permissions":{{"email":{},"api":{},"web":{}}}}}"#,
        credential.id.0,
        quoted(credential.name.as_str()),
        bit(Permission::Email),
        bit(Permission::Api),
        bit(Permission::Web),
    ));
}

fn push_xml(xml: &mut String, credential: &Credential) {
    xml.push_str("<credential><created_at>");
    push_time(xml, credential.created_at);
    xml.push_str("</created_at><permissions>");
    push_permissions(xml, credential.effective);
    xml.push_str(&format!("</permissions><id>{}</id><name>", credential.id.0));
    push_text(xml, credential.name.as_str());
    xml.push_str("</name><updated_at>");
    push_time(xml, credential.updated_at);
    xml.push_str("</updated_at></credential>");
}

/// Appends permissions for XML: a JSON text with this order and these spaces.
fn push_permissions(xml: &mut String, set: Permissions) {
    let bit = |permission| u8::from(set.contains(permission));
    let (web, api, email) = (bit(Permission::Web), bit(Permission::Api), bit(Permission::Email));
    xml.push_str(&format!(r#"{{"web": {web}, "api": {api}, "email": {email}}}"#));
}

/// Appends a time such as `2013-01-21 16:52:01`, in UTC. An invalid timestamp, which no store holds, becomes 1970.
fn push_time(xml: &mut String, seconds: i64) {
    let t = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    xml.push_str(&format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    ));
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{CredentialId, Username};

    fn john() -> Credential {
        Credential {
            id: CredentialId(4),
            name: Username::parse("johnsmith").unwrap(),
            stored: Permissions::ALL,
            effective: Permissions::only(Permission::Api),
            active: true,
            created_at: 1_358_787_121,
            updated_at: 0,
        }
    }

    fn list(format: ReplyFormat, credentials: &[Credential]) -> String {
        let mut text = String::new();
        let mut list = CredentialList::new(format);
        list.start(&mut text);
        credentials.iter().for_each(|c| list.push(&mut text, c));
        list.end(&mut text);
        text
    }

    const JOHN: &str = r#"{"id":4,"name":"johnsmith","permissions":{"email":0,"api":1,"web":0}}"#;
    const JOHN_XML: &str = "<credential><created_at>2013-01-21 16:52:01</created_at>\
        <permissions>{\"web\": 0, \"api\": 1, \"email\": 0}</permissions><id>4</id><name>johnsmith</name>\
        <updated_at>1970-01-01 00:00:00</updated_at></credential>";
    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n";

    #[test]
    fn json() {
        assert_eq!(success(ReplyFormat::Json, 4), r#"{"message":"success"}"#);
        assert_eq!(error(ReplyFormat::Json, "a \"b\"\n\u{fc}"), "{\"error\":\"a \\\"b\\\"\\n\u{fc}\"}");
        assert_eq!(
            refusal(RefusalFormat::Json, 401, "no"),
            r#"{"message":"error","errors":["no"],"error":{"code":401,"message":"no"}}"#
        );
        assert_eq!(
            refusal(RefusalFormat::V3, 401, "no"),
            r#"{"errors":[{"message":"no","field":null,"help":null}]}"#
        );
        assert_eq!(credential(ReplyFormat::Json, &john()), JOHN);
        assert_eq!(list(ReplyFormat::Json, &[]), "[]");
        assert_eq!(list(ReplyFormat::Json, &[john(), john()]), format!("[{JOHN},{JOHN}]"));
    }

    #[test]
    fn xml() {
        assert_eq!(success(ReplyFormat::Xml, 4), format!("{HEAD}<result><count>4</count></result>"));
        let wrong = format!("{HEAD}<result><message>error: a&lt;&#252;</message></result>");
        assert_eq!(error(ReplyFormat::Xml, "a<\u{fc}"), wrong);
        let refused =
            format!("{HEAD}<result><message>error</message><errors><error>no</error></errors></result>");
        assert_eq!(refusal(RefusalFormat::Xml, 401, "no"), refused);
        assert_eq!(
            credential(ReplyFormat::Xml, &john()),
            format!("{HEAD}<credentials>{JOHN_XML}</credentials>")
        );
        assert_eq!(list(ReplyFormat::Xml, &[]), format!("{HEAD}<credentials></credentials>"));
        let two = format!("{HEAD}<credentials>{JOHN_XML}{JOHN_XML}</credentials>");
        assert_eq!(list(ReplyFormat::Xml, &[john(), john()]), two);
    }

    proptest! {
        #[test]
        fn reasons_come_back_from_json(reason: String) {
            let read: serde_json::Value = serde_json::from_str(&error(ReplyFormat::Json, &reason)).unwrap();
            prop_assert_eq!(&read["error"], &serde_json::Value::from(reason.as_str()));
            let read = |format| serde_json::from_str::<serde_json::Value>(&refusal(format, 400, &reason)).unwrap();
            let (json, v3) = (read(RefusalFormat::Json), read(RefusalFormat::V3));
            let wanted = serde_json::Value::from(reason.as_str());
            for found in [&json["errors"][0], &json["error"]["message"], &v3["errors"][0]["message"]] {
                prop_assert_eq!(found, &wanted);
            }
        }

        #[test]
        fn any_time_can_be_written(created_at: i64, updated_at: i64) {
            let text = credential(ReplyFormat::Xml, &Credential { created_at, updated_at, ..john() });
            prop_assert!(text.is_ascii());
        }
    }
}
