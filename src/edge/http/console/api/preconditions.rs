//! Preconditions of a request to one credential: `If-Match` and `If-None-Match` (RFC 9110 section 13).

use super::refused::{ApiRefusal, precondition_failed};
use crate::domain::{ChangeCondition, CredentialDetails, CredentialId, CredentialVersion};
use crate::wire::RequestHead;
use crate::wire::api::v1::{TagCondition, VersionTag, credential_json};

/// The preconditions of a request.
#[derive(Clone, Debug)]
pub struct Preconditions {
    if_match: Option<TagCondition>,
    if_none_match: Option<TagCondition>,
}

impl Preconditions {
    /// Reads those of a request.
    ///
    /// # Errors
    /// 400 for a field that is no list of tags. It must not be ignored: the client doesn't want to overwrite what it doesn't know.
    pub fn of(head: &RequestHead) -> Result<Preconditions, ApiRefusal> {
        let read = |name: &'static str| {
            let tags = TagCondition::parse(head.fields().named(name));
            tags.map_err(|error| ApiRefusal::field(name, error.to_string()))
        };
        Ok(Preconditions { if_match: read("If-Match")?, if_none_match: read("If-None-Match")? })
    }

    /// Checks a request that changes a credential. Returns the condition for the transaction of the change, in which it is compared
    /// again.
    ///
    /// # Errors
    /// 412.
    pub fn check_change(&self, details: &CredentialDetails) -> Result<ChangeCondition, ApiRefusal> {
        self.check_match(details.version)?;
        let is_known = |condition: &TagCondition| {
            condition.names(&VersionTag::of(details.version, &credential_json(details, None)))
        };
        if self.if_none_match.as_ref().is_some_and(is_known) {
            return Err(ApiRefusal::of(precondition_failed()));
        }
        let id: CredentialId = details.credential.id;
        let names_versions = |condition: &Option<TagCondition>| {
            condition.as_ref().is_some_and(|condition| *condition != TagCondition::Any)
        };
        let is_bound = names_versions(&self.if_match) || names_versions(&self.if_none_match);
        Ok(ChangeCondition { id: Some(id), version: is_bound.then_some(details.version) })
    }

    /// Checks a request that reads a credential. Returns false if the client has it as it is.
    ///
    /// # Errors
    /// 412.
    pub fn check_read(&self, version: CredentialVersion, tag: &VersionTag) -> Result<bool, ApiRefusal> {
        self.check_match(version)?;
        Ok(!self.if_none_match.as_ref().is_some_and(|condition| condition.names(tag)))
    }

    fn check_match(&self, version: CredentialVersion) -> Result<(), ApiRefusal> {
        match self.if_match.as_ref().is_none_or(|condition| condition.names_version(version)) {
            true => Ok(()),
            false => Err(ApiRefusal::of(precondition_failed())),
        }
    }
}
