//! The operations of API v1, on the services.

use zeroize::Zeroizing;

use super::answer::ApiAnswer;
use super::preconditions::Preconditions;
use super::refused::ApiRefusal;
use super::routes::CREDENTIALS;
use crate::domain::{AccountError, CredentialDetails, CredentialId, NewPassword, Note, PermissionEdit};
use crate::service::credentials::{Addition, Edit, Manager};
use crate::service::{CredentialPageQuery, Credentials, ManagementError};
use crate::state::store::CredentialFilter;
use crate::wire::api::v1::{
    CredentialPatch, ListQuery, NewCredentialBody, Problem, ProblemKind, VersionTag, credential_json,
    page_json,
};

/// The operations for one request.
pub struct Operations<'a> {
    /// The service.
    pub credentials: &'a Credentials,
    /// The account holder.
    pub manager: &'a Manager,
}

impl Operations<'_> {
    /// Answers with a page of credentials.
    pub async fn list(&self, query: &ListQuery) -> Result<ApiAnswer, ApiRefusal> {
        let holds = query.permission.map(crate::domain::Permissions::only).unwrap_or_default();
        let filter = CredentialFilter { holds, use_state: query.state, ..CredentialFilter::default() };
        let prefix = query.prefix.as_ref().map_or("", |prefix| prefix.lower());
        let asked = CredentialPageQuery { prefix, filter, cursor: query.cursor, limit: query.limit };
        let page = self.credentials.page(self.manager, &asked).await?;
        let answer = ApiAnswer::json(200, page_json(&page.credentials, page.next.as_ref()));
        Ok(match page.next {
            Some(next) => answer.with("Link", format!("<{CREDENTIALS}?{}>; rel=\"next\"", query.next(&next))),
            None => answer,
        })
    }

    /// Adds a credential.
    pub async fn add(&self, body: NewCredentialBody) -> Result<ApiAnswer, ApiRefusal> {
        let NewCredentialBody { name, password, permissions, note } = body;
        let generated = match password {
            Some(_) => None,
            None => Some(generated_password()?),
        };
        let chosen = password.as_ref().map(|password| password.secret().expose());
        let addition = Addition {
            username: name.as_str(),
            password: generated.as_ref().map_or(chosen.unwrap_or_default(), |password| password.as_bytes()),
            permissions: PermissionEdit::exactly(permissions),
            note: note.as_ref().map_or("", Note::as_str),
        };
        let changed = self.credentials.add(self.manager, addition).await.map_err(ApiRefusal::of_addition)?;
        let details = self.credentials.by_name(self.manager, name.as_str()).await.map_err(|error| {
            let detail = "the credential was added, and can't be shown now: find it in the list";
            ApiRefusal { problem: Problem::new(ProblemKind::Unavailable, detail), ..error.into() }
        })?;
        let json = credential_json(&details, generated.as_ref().map(|password| password.as_str()));
        let location = format!("{CREDENTIALS}/{}", details.credential.id.0);
        let answer = ApiAnswer::json(201, json).with("Location", location).with("ETag", tag_of(&details));
        Ok(answer.with_effect(changed.effect))
    }

    /// Answers with a credential.
    pub async fn get(&self, id: CredentialId, conditions: &Preconditions) -> Result<ApiAnswer, ApiRefusal> {
        let details = self.credentials.by_id(self.manager, id).await?;
        let json = credential_json(&details, None);
        let tag = VersionTag::of(details.version, &json);
        let answer = match conditions.check_read(details.version, &tag)? {
            true => ApiAnswer::json(200, json),
            false => ApiAnswer::empty(304),
        };
        Ok(answer.with("ETag", tag.to_value()))
    }

    /// Edits a credential.
    pub async fn edit(
        &self,
        id: CredentialId,
        patch: CredentialPatch,
        conditions: &Preconditions,
    ) -> Result<ApiAnswer, ApiRefusal> {
        let details = self.credentials.by_id_for_change(self.manager, id).await?;
        let condition = conditions.check_change(&details)?;
        if patch.is_empty() {
            return Ok(shown(&details));
        }
        let note = patch.note.as_ref().map(|note| note.as_ref().map_or("", Note::as_str));
        let edit = Edit {
            username: details.credential.name.as_str(),
            password: patch.password.as_ref().map(|password| password.secret().expose()),
            permissions: patch.permissions,
            note,
            condition,
        };
        let changed = self.credentials.edit(self.manager, edit).await;
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => return Err(self.refused(id, error, condition.version.is_none()).await),
        };
        // Another request may have removed it already.
        let details = self.credentials.by_id_for_change(self.manager, id).await?;
        Ok(shown(&details).with_effect(changed.effect))
    }

    /// Removes a credential.
    pub async fn remove(
        &self,
        id: CredentialId,
        conditions: &Preconditions,
    ) -> Result<ApiAnswer, ApiRefusal> {
        let details = self.credentials.by_id_for_change(self.manager, id).await?;
        let condition = conditions.check_change(&details)?;
        let name = details.credential.name.as_str();
        let changed = self.credentials.remove_if(self.manager, name, condition).await;
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => return Err(self.refused(id, error, condition.version.is_none()).await),
        };
        Ok(ApiAnswer::empty(204).with_effect(changed.effect))
    }

    /// The refusal of a change. Without a version, the condition says only that the name is still that of this credential, so another one
    /// has it. A 404 is then true on all nodes, as for one that is not found at all.
    async fn refused(&self, id: CredentialId, error: ManagementError, is_unconditional: bool) -> ApiRefusal {
        match error {
            ManagementError::NotAllowed(AccountError::ConditionFailed) if is_unconditional => {
                match self.credentials.by_id_for_change(self.manager, id).await {
                    Err(error) => error.into(),
                    Ok(_) => ApiRefusal::of_change(error),
                }
            }
            error => ApiRefusal::of_change(error),
        }
    }
}

fn shown(details: &CredentialDetails) -> ApiAnswer {
    ApiAnswer::json(200, credential_json(details, None)).with("ETag", tag_of(details))
}

/// The tag of a credential, as GET would give it.
fn tag_of(details: &CredentialDetails) -> String {
    VersionTag::of(details.version, &credential_json(details, None)).to_value()
}

/// Makes a password.
fn generated_password() -> Result<Zeroizing<String>, ApiRefusal> {
    let made = crate::domain::generated_password(getrandom::fill);
    let made = made.ok().flatten().filter(|password| NewPassword::parse(password.as_bytes()).is_ok());
    let no_random = || Problem::new(ProblemKind::Unavailable, "the system has no random numbers, try again");
    made.ok_or_else(|| ApiRefusal::of(no_random()))
}
