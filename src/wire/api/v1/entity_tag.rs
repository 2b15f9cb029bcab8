//! Entity tags (RFC 9110 section 8.8.3) of credentials, and the preconditions that name them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::domain::CredentialVersion;

/// The bytes of the digest of a document that are in a tag.
const DIGEST: usize = 9;

/// The most tags of one precondition.
const MOST_TAGS: usize = 32;

/// The strong entity tag of a credential: `"VERSION.VIEW"`. VERSION names what an edit can change, and VIEW all of the document. So a
/// document that differs has another tag, and a use of the credential, which the document tells of, doesn't make an edit fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionTag(String);

impl VersionTag {
    /// The tag of `document`, which shows the credential in that version.
    pub fn of(version: CredentialVersion, document: &str) -> VersionTag {
        let digest = blake3::hash(document.as_bytes());
        let view = URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..DIGEST]);
        VersionTag(format!("{}.{view}", version.0))
    }

    /// The value of `ETag`.
    pub fn to_value(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// A tag as a client sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    is_weak: bool,
    opaque: String,
}

/// The condition of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagCondition {
    /// `*`: any document.
    Any,
    /// Any of these.
    OneOf(Vec<EntityTag>),
}

/// A list of tags that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TagListError {
    /// Not a list of tags.
    #[error("must be * or a list of entity tags, as ETag gives them: in double quotes")]
    Malformed,
    /// More tags than anybody has.
    #[error("at most 32 entity tags are allowed")]
    TooMany,
}

impl TagCondition {
    /// Reads all fields of one name; `None` without any.
    ///
    /// # Errors
    /// [`TagListError`].
    pub fn parse<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Result<Option<TagCondition>, TagListError> {
        let (mut tags, mut is_any, mut is_given) = (Vec::new(), false, false);
        for field in fields {
            is_given = true;
            if field.trim_ascii() == b"*" {
                is_any = true;
                continue;
            }
            let mut rest = field;
            loop {
                // Empty elements are allowed (RFC 9110 section 5.6.1.2).
                rest = rest.trim_ascii_start();
                while let Some(next) = rest.strip_prefix(b",") {
                    rest = next.trim_ascii_start();
                }
                if rest.is_empty() {
                    break;
                }
                let tag;
                (tag, rest) = EntityTag::take(rest).ok_or(TagListError::Malformed)?;
                if tags.len() == MOST_TAGS {
                    return Err(TagListError::TooMany);
                }
                tags.push(tag);
                rest = rest.trim_ascii_start();
                if !rest.is_empty() && !rest.starts_with(b",") {
                    return Err(TagListError::Malformed);
                }
            }
        }
        match (is_any, tags.is_empty()) {
            (true, true) => Ok(Some(TagCondition::Any)),
            (false, false) => Ok(Some(TagCondition::OneOf(tags))),
            (false, true) if !is_given => Ok(None),
            _ => Err(TagListError::Malformed),
        }
    }

    /// Returns true if the condition names a document with this tag, by the weak comparison of `If-None-Match`.
    pub fn names(&self, tag: &VersionTag) -> bool {
        match self {
            TagCondition::Any => true,
            TagCondition::OneOf(tags) => tags.iter().any(|one| one.opaque == tag.0),
        }
    }

    /// Returns true if the condition names this version, by the strong comparison of `If-Match`. A tag that is weak or was never ours
    /// names none.
    pub fn names_version(&self, version: CredentialVersion) -> bool {
        let TagCondition::OneOf(tags) = self else { return true };
        let named = tags.iter().filter(|tag| !tag.is_weak).filter_map(|tag| tag.opaque.split_once('.'));
        let version = version.0.to_string();
        named.into_iter().any(|(named, view)| named == version && is_view(view))
    }
}

/// Returns true for what may be the second part of a tag.
fn is_view(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|digest| digest.len() == DIGEST)
}

impl EntityTag {
    /// Takes a tag from the start of a text; `None` if there is none.
    fn take(text: &[u8]) -> Option<(EntityTag, &[u8])> {
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix(b"\"")?;
        let end = opaque.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = (&opaque[..end], &opaque[end + 1..]);
        let is_valid = opaque.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
        let opaque = String::from_utf8_lossy(opaque).into_owned();
        is_valid.then_some((EntityTag { is_weak, opaque }, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(fields: &[&str]) -> Result<Option<TagCondition>, TagListError> {
        TagCondition::parse(fields.iter().map(|field| field.as_bytes()))
    }

    fn listed(fields: &[&str]) -> Vec<(bool, String)> {
        match parse(fields).unwrap().unwrap() {
            TagCondition::Any => panic!("{fields:?}"),
            TagCondition::OneOf(tags) => tags.into_iter().map(|tag| (tag.is_weak, tag.opaque)).collect(),
        }
    }

    #[test]
    fn conditions() {
        let strong = |tag: &str| (false, tag.to_owned());
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[" * "]), Ok(Some(TagCondition::Any)));
        assert_eq!(listed(&["\"a\""]), [strong("a")]);
        assert_eq!(listed(&["\"\""]), [strong("")]);
        assert_eq!(
            listed(&["\"a,b\" ,, W/\"c\"", "\"d\""]),
            [strong("a,b"), (true, "c".into()), strong("d")]
        );
        for wrong in [
            &[""][..],
            &[","],
            &["a"],
            &["\"a"],
            &["\"a\"b"],
            &["\"a\" \"b\""],
            &["w/\"a\""],
            &["W/ \"a\""],
            &["\"a b\""],
            &["*, \"a\""],
            &["*", "\"a\""],
        ] {
            assert_eq!(parse(wrong), Err(TagListError::Malformed), "{wrong:?}");
        }
        let many = vec!["\"a\""; MOST_TAGS + 1].join(",");
        assert_eq!(parse(&[&many]), Err(TagListError::TooMany));
    }

    const VERSION: CredentialVersion = CredentialVersion(7);

    #[test]
    fn a_use_changes_the_tag_and_not_the_version() {
        let (before, after) = (VersionTag::of(VERSION, "{}"), VersionTag::of(VERSION, "{ }"));
        assert_ne!(before, after);
        let condition = parse(&[&before.to_value()]).unwrap().unwrap();
        assert!(condition.names(&before) && !condition.names(&after));
        assert!(condition.names_version(VERSION) && !condition.names_version(CredentialVersion(8)));
        assert!(TagCondition::Any.names_version(VERSION));
    }

    #[test]
    fn weak_and_foreign_tags_name_no_version() {
        let tag = VersionTag::of(VERSION, "{}");
        let foreign = format!(
            "W/{}, \"x\", \"\", \".\", \"7.\", \"7\", \"7.abc\", \"07.{}\"",
            tag.to_value(),
            "A".repeat(12)
        );
        let condition = parse(&[&foreign]).unwrap().unwrap();
        assert!(!condition.names_version(VERSION));
        assert!(condition.names(&tag), "by the weak comparison");
    }

    proptest! {
        #[test]
        fn no_field_panics(fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..24), 0..3)) {
            let _ = TagCondition::parse(fields.iter().map(Vec::as_slice));
        }

        #[test]
        fn our_tags_come_back(version: i64, documents: Vec<String>) {
            let version = CredentialVersion(version);
            let tags: Vec<_> = documents.iter().take(MOST_TAGS).map(|text| VersionTag::of(version, text)).collect();
            let field = tags.iter().map(VersionTag::to_value).collect::<Vec<_>>().join(", ");
            if let Ok(Some(condition)) = TagCondition::parse([field.as_bytes()].into_iter()) {
                prop_assert!(tags.iter().all(|tag| condition.names(tag)));
                prop_assert!(condition.names_version(version));
            } else {
                prop_assert!(tags.is_empty());
            }
        }
    }
}
