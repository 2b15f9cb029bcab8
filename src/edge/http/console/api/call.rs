//! A request to API v1, from its path to its answer.

use std::sync::OnceLock;

use http::Method;

use super::answer::{ApiAnswer, not_acceptable};
use super::body;
use super::holder::HolderCheck;
use super::operations::Operations;
use super::preconditions::Preconditions;
use super::refused::{ApiRefusal, no_such_credential};
use super::routes::{self, ApiOperation, RoutedCall};
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::proxy::exchange::Exchange;
use crate::edge::http::refused;
use crate::edge::http::request_quota;
use crate::edge::http::service::{HttpService, Plan};
use crate::edge::http::target::Target;
use crate::service::Credentials;
use crate::wire::api::v1::{CredentialPatch, ListQuery, NewCredentialBody, ProblemKind, accepts_json};
use crate::wire::unreserved;

/// The description of the API.
pub const DESCRIPTION_JSON: &[u8] = include_bytes!("openapi.json");

/// A request to the API.
pub struct ApiCall<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The service that makes the changes.
    pub credentials: &'a Credentials,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username of the account holder.
    pub user: &'a OnceLock<String>,
}

impl ApiCall<'_> {
    /// Answers the request. Every error is a problem.
    pub async fn answer(&self, session: &mut ClientSession, target: &Target<'_>) -> Exchange {
        let performed = self.perform(session, target).await;
        let (client, within) = (self.client, self.plan.timeouts.write);
        let refusal = match performed {
            Ok(answer) => return answer.write(session, client, self.request_id, within).await,
            Err(refusal) if refusal.is_client_gone => return Exchange::ClientGone,
            Err(refusal) => refusal,
        };
        self.log(session, &refusal);
        let answer = ApiAnswer::problem(&refusal, session.head(), self.request_id);
        match request_quota::take_for_refusal(self.site, self.plan, client, session.head()) {
            Some(_room) => answer.write(session, client, self.request_id, within).await,
            None => answer.write_head(session, self.request_id, within).await,
        }
    }

    async fn perform(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
    ) -> Result<ApiAnswer, ApiRefusal> {
        let call = routes::find(session.head().method().as_str(), &unreserved(&target.path))?;
        let performed = self.run(session, target, &call).await;
        let status = performed.as_ref().map_or_else(ApiRefusal::status, ApiAnswer::status);
        let operation = call.route.operation.as_str();
        debug_assert!(call.route.statuses.contains(&status), "{operation}: {status} is not described");
        performed
    }

    async fn run(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
        call: &RoutedCall,
    ) -> Result<ApiAnswer, ApiRefusal> {
        let is_removal = *session.head().method() == Method::DELETE;
        let accepts = is_removal || accepts_json(session.head().fields().named("Accept"));
        let accepted = || if accepts { Ok(()) } else { Err(ApiRefusal::of(not_acceptable())) };
        let query = target.query.as_deref().unwrap_or_default();
        let has_no_parameters = || {
            ListQuery::refuse_any(query)
                .map_err(|faults| ApiRefusal::faults(ProblemKind::InvalidParameters, faults))
        };
        if call.route.operation == ApiOperation::GetOpenApi {
            accepted()?;
            has_no_parameters()?;
            return Ok(ApiAnswer::json(200, DESCRIPTION_JSON));
        }
        let ApiCall { site, client, plan, request_id, user, .. } = *self;
        let manager = HolderCheck { site, client, plan, request_id, user }.run(session).await?;
        accepted()?;
        if call.route.operation != ApiOperation::ListCredentials {
            has_no_parameters()?;
        }
        let operations = Operations { credentials: self.credentials, manager: &manager };
        match (call.route.operation, call.id) {
            (ApiOperation::ListCredentials, _) => {
                let query = ListQuery::parse(query)
                    .map_err(|faults| ApiRefusal::faults(ProblemKind::InvalidParameters, faults))?;
                operations.list(&query).await
            }
            (ApiOperation::AddCredential, _) => {
                let body = NewCredentialBody::read(body::read(session, plan).await?);
                operations
                    .add(body.map_err(|faults| ApiRefusal::faults(ProblemKind::InvalidBody, faults))?)
                    .await
            }
            (ApiOperation::EditCredential, id) => {
                let conditions = Preconditions::of(session.head())?;
                let body = CredentialPatch::read(body::read(session, plan).await?);
                let patch = body.map_err(|faults| ApiRefusal::faults(ProblemKind::InvalidBody, faults))?;
                let id = id.ok_or_else(|| ApiRefusal::of(no_such_credential()))?;
                operations.edit(id, patch, &conditions).await
            }
            (operation, id) => {
                let conditions = Preconditions::of(session.head())?;
                let id = id.ok_or_else(|| ApiRefusal::of(no_such_credential()))?;
                match operation {
                    ApiOperation::RemoveCredential => operations.remove(id, &conditions).await,
                    _ => operations.get(id, &conditions).await,
                }
            }
        }
    }

    /// Logs a refusal that the audit trail doesn't have.
    fn log(&self, session: &ClientSession, refusal: &ApiRefusal) {
        if refusal.is_audited {
            return;
        }
        let source = self.client.source(session.head().fields(), &self.plan.trusted_proxies);
        let user = self.user.get().map_or("", |user| user);
        let code = refusal.status().to_string();
        let told = (refusal.reason(), code.as_str(), refusal.problem.detail.as_str());
        refused::log(self.site, source, self.request_id, user, told);
    }
}
