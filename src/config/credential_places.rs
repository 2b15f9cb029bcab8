//! The places of a request where a credential may stand: the key `credentials`.

use super::reader::{ConfigTable, ConfigValue};
use crate::domain::Entry;

/// A place of a request where a credential may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// The `Authorization` header, with the scheme Basic.
    Basic,
    /// `api_user` and `api_key` in the query.
    Query,
    /// `api_user` and `api_key` in a form in the body.
    Form,
}

impl CredentialPlace {
    /// All places, in the order in which they are shown.
    pub const ALL: [CredentialPlace; 3] =
        [CredentialPlace::Basic, CredentialPlace::Query, CredentialPlace::Form];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            CredentialPlace::Basic => "basic",
            CredentialPlace::Query => "query",
            CredentialPlace::Form => "form",
        }
    }
}

/// The places that are read for a credential. What stands elsewhere is the backend's: it is neither read, nor judged, nor masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialPlaces {
    /// [`CredentialPlace::Basic`]
    pub basic: bool,
    /// [`CredentialPlace::Query`]
    pub query: bool,
    /// [`CredentialPlace::Form`]
    pub form: bool,
}

impl CredentialPlaces {
    /// The places of an entry that doesn't say: all for the API. A dashboard's fields are its own, and it takes Basic logins only.
    pub const fn of(entry: Entry) -> CredentialPlaces {
        let has_fields = matches!(entry, Entry::Api);
        CredentialPlaces { basic: true, query: has_fields, form: has_fields }
    }

    /// The places of both.
    pub const fn or(self, other: CredentialPlaces) -> CredentialPlaces {
        CredentialPlaces {
            basic: self.basic || other.basic,
            query: self.query || other.query,
            form: self.form || other.form,
        }
    }

    /// Returns true if `place` is read.
    pub const fn contains(self, place: CredentialPlace) -> bool {
        match place {
            CredentialPlace::Basic => self.basic,
            CredentialPlace::Query => self.query,
            CredentialPlace::Form => self.form,
        }
    }

    /// Reads the key `credentials`; `None` if it is absent or invalid.
    pub(super) fn read(table: &ConfigTable<'_>, entry: Entry) -> Option<CredentialPlaces> {
        table.optional("credentials", |value| {
            let mut seen = Vec::new();
            value.filled_list(|value| {
                let place = value.word(&CredentialPlace::ALL, CredentialPlace::as_str)?;
                refuse_place(value, place, entry, &seen);
                seen.push(place);
                Some(place)
            })?;
            Some(CredentialPlaces {
                basic: seen.contains(&CredentialPlace::Basic),
                query: seen.contains(&CredentialPlace::Query),
                form: seen.contains(&CredentialPlace::Form),
            })
        })
    }
}

fn refuse_place(value: &ConfigValue<'_>, place: CredentialPlace, entry: Entry, seen: &[CredentialPlace]) {
    let word = place.as_str();
    if !CredentialPlaces::of(entry).contains(place) {
        value.refuse(format!("'{word}' is not possible in [{}]: expected basic", entry.as_str()));
    }
    if seen.contains(&place) {
        value.refuse(format!("'{word}' is listed twice"));
    }
}
