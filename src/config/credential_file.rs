//! The file of `gatepost credential apply`: the credentials that an account should have.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use toml::de::DeTable;

use super::findings::Findings;
use super::parse::{Understood, understand};
use super::reader::{ConfigTable, ConfigValue};
use super::{ConfigErrors, KeyLocation, NamedFile};
use crate::domain::{Canonical, Note, Permission, Permissions, Username};

/// A file with every key: parsing it asks for each.
const EVERY_KEY: &str = "[[credential]]\n";

/// The credentials that an account should have, as a file lists them.
#[derive(Debug)]
pub struct CredentialFile {
    /// The account, if the file names it.
    pub account: Option<ListedAccount>,
    /// The credentials, in their order. Their names differ.
    pub credentials: Vec<ListedCredential>,
}

/// The account that a file names.
#[derive(Debug)]
pub struct ListedAccount {
    /// The username of its holder.
    pub name: String,
    /// The place of the name.
    pub place: KeyLocation,
}

/// A credential that an account should have.
#[derive(Clone, Debug)]
pub struct ListedCredential {
    /// The username.
    pub name: Username,
    /// The place of the name.
    pub place: KeyLocation,
    /// The permissions, exactly.
    pub permissions: Permissions,
    /// The place of the permissions.
    pub permissions_place: KeyLocation,
    /// The note.
    pub note: Option<Note>,
    /// The file with its password. Without one, a new credential gets a generated password, and another one keeps its own.
    pub password_file: Option<NamedFile>,
}

impl CredentialFile {
    /// Parses and checks the text of a file; `file` is its name in the errors.
    ///
    /// # Errors
    /// All errors, each with its line and key.
    pub fn parse(text: &str, file: &str) -> Result<CredentialFile, ConfigErrors> {
        static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(CredentialFile::keys);
        let Understood { value, errors, .. } = understand(text, &KNOWN, CredentialFile::read);
        match errors.is_empty() {
            true => Ok(value),
            false => Err(ConfigErrors::new(file, errors)),
        }
    }

    /// Every section and key of such a file, such as `credential.name`.
    pub fn keys() -> BTreeSet<String> {
        let findings = Findings::of(EVERY_KEY);
        if let Ok(table) = DeTable::parse(EVERY_KEY) {
            CredentialFile::read(&findings, table.get_ref());
        }
        findings.into_asked()
    }

    fn read(findings: &Findings, table: &DeTable<'_>) -> CredentialFile {
        let root = ConfigTable::root(findings, table);
        let account = root.optional("account", |value| {
            let name = value.parsed(name)?;
            Some(ListedAccount { name: name.as_str().to_owned(), place: root.place("account") })
        });
        let mut seen: Vec<(Canonical, usize)> = Vec::new();
        let mut credentials = Vec::new();
        for table in root.tables("credential") {
            let Some(credential) = ListedCredential::read(&table) else { continue };
            let (name, line) = (credential.name.canonical(), credential.place.line);
            match seen.iter().find(|(other, _)| *other == name) {
                Some((_, first)) => {
                    table.refuse(
                        "name",
                        format!("'{}' is listed twice: first on line {first}", credential.name),
                    );
                }
                None => seen.push((name, line)),
            }
            credentials.push(credential);
        }
        root.finish();
        CredentialFile { account, credentials }
    }
}

impl ListedCredential {
    fn read(table: &ConfigTable<'_>) -> Option<ListedCredential> {
        let name = table.required("name", |value| value.parsed(name));
        let permissions = table.required("permissions", permissions);
        let note = table.read("note", None, |value| {
            value.parsed(|text| Note::parse(text).map_err(|error| error.to_string()))
        });
        let password_file = table.optional("password_file", ConfigValue::file);
        for secret in ["password", "password_hash"] {
            if let Some(value) = table.value(secret) {
                value.refuse("a secret does not belong in this file: write password_file = \"FILE\"");
            }
        }
        let (place, permissions_place) = (table.place("name"), table.place("permissions"));
        table.finish();
        let (name, permissions) = (name?, permissions?);
        Some(ListedCredential { name, place, permissions, permissions_place, note, password_file })
    }
}

fn name(text: &str) -> Result<Username, String> {
    Username::parse(text).map_err(|error| error.to_string())
}

/// Reads a list such as `["email", "api"]`; an empty one grants nothing.
fn permissions(value: &ConfigValue<'_>) -> Option<Permissions> {
    let mut set = Permissions::NONE;
    value.list(|element| {
        let permission = element.word(&Permission::ALL, Permission::as_str)?;
        if set.contains(permission) {
            element.refuse(format!("'{permission}' is listed twice"));
        }
        set = set.or(Permissions::only(permission));
        Some(())
    })?;
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let errors = CredentialFile::parse(text, "x.toml").unwrap_err();
        errors.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_file_with_everything() {
        let text = "account = \"acme\"\n\n[[credential]]\nname = \"Billing\"\npermissions = [\"email\", \"web\"]\n\
                    note = \"db-3\"\npassword_file = \"/run/billing\"\n[[credential]]\nname = \"ci-1\"\npermissions = []\n";
        let file = CredentialFile::parse(text, "x.toml").unwrap();
        assert_eq!(file.account.unwrap().name, "acme");
        let [billing, other] = &file.credentials[..] else { panic!("there are two") };
        assert_eq!((billing.name.as_str(), billing.permissions.as_str()), ("Billing", "email,web"));
        assert_eq!(billing.note.as_ref().map(Note::as_str), Some("db-3"));
        assert_eq!(billing.place.line, 4);
        assert!(billing.password_file.is_some());
        assert!(other.permissions.is_empty() && other.note.is_none() && other.password_file.is_none());
        assert!(CredentialFile::parse("", "x.toml").unwrap().credentials.is_empty());
    }

    #[test]
    fn all_errors_are_told_with_their_lines() {
        let text = "acount = \"acme\"\n[[credential]]\nname = \"a b\"\npermissions = [\"mail\"]\n\
                    [[credential]]\nname = \"ci\"\nnote = 3\n[[credential]]\nname = \"joe-ci\"\n\
                    permissions = [\"api\", \"api\"]\npassword = \"hunter22\"\n[[credential]]\nname = \"JOE-CI\"\n\
                    permissions = \"api\"\n[[credential]]\nname = \"Joe-CI\"\npermissions = [\"api\"]\n";
        let errors = errors(text);
        let expected = [
            "x.toml:1: acount: unknown key, did you mean 'account'?",
            "x.toml:3: credential.name: username may contain only letters, digits and . _ - + @",
            "x.toml:4: credential.permissions: unknown value 'mail', did you mean 'email'? Expected one of email, api, web",
            "x.toml:5: credential.permissions: required key is missing",
            "x.toml:6: credential.name: username must be 3 to 64 characters long",
            "x.toml:7: credential.note: expected a string in quotes, found a number: write note = \"3\"",
            "x.toml:10: credential.permissions: 'api' is listed twice",
            "x.toml:11: credential.password: a secret does not belong in this file: write password_file = \"FILE\"",
            "x.toml:14: credential.permissions: expected a list in brackets, found a string: write permissions = [\"api\"]",
            "x.toml:16: credential.name: 'Joe-CI' is listed twice: first on line 9",
        ];
        assert_eq!(errors, expected, "{errors:#?}");
        assert!(errors.iter().all(|error| !error.contains("hunter22")));
    }

    #[test]
    fn invalid_toml_is_told_in_words() {
        let errors = errors("[[credential]]\nname = billing\npermissions = [email]\n");
        assert_eq!(
            errors,
            [
                "x.toml:2: credential.name: a text needs quotes: write name = \"billing\"",
                "x.toml:3: credential.permissions: each text in a list needs quotes: write permissions = [\"email\"]"
            ]
        );
    }
}
