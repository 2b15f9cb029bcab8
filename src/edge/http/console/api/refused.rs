//! Refusals of API v1: the one table from errors to problems.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::{AccountError, Permission, RefusalReason, Unavailable};
use crate::edge::http::error::Refusal;
use crate::service::ManagementError;
use crate::state::cluster::Unconfirmed;
use crate::wire::api::v1::{FaultPlace, Faults, JsonPointer, Problem, ProblemKind};

/// An answer that refuses a request.
#[derive(Clone, Debug)]
pub struct ApiRefusal {
    /// The problem that is told.
    pub problem: Problem,
    /// True if the audit trail has it.
    pub is_audited: bool,
    /// The time after which to try again.
    pub retry_after: Option<Duration>,
    /// The methods of the path, if another one was used.
    pub allowed: Option<&'static str>,
    /// True if the client is gone, and reads nothing.
    pub is_client_gone: bool,
}

impl ApiRefusal {
    /// A refusal that the log gets.
    pub fn of(problem: Problem) -> ApiRefusal {
        let retry_after = (problem.kind.status() == 503).then_some(Duration::from_secs(1));
        ApiRefusal { problem, is_audited: false, retry_after, allowed: None, is_client_gone: false }
    }

    /// The refusal of a method. The path supports these.
    pub fn method(allowed: &'static str) -> ApiRefusal {
        let problem = Problem::new(ProblemKind::MethodNotAllowed, format!("use {allowed}"));
        ApiRefusal { allowed: Some(allowed), ..ApiRefusal::of(problem) }
    }

    /// The refusal of a header field.
    pub fn field(name: &'static str, detail: impl Into<String>) -> ApiRefusal {
        let faults = Faults::one(FaultPlace::Field(name), detail);
        ApiRefusal::of(Problem::of_faults(ProblemKind::InvalidRequest, faults))
    }

    /// The refusal of a request that has faults.
    pub fn faults(kind: ProblemKind, faults: Faults) -> ApiRefusal {
        ApiRefusal::of(Problem::of_faults(kind, faults))
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.problem.kind.status()
    }

    /// `Retry-After` in whole seconds.
    pub fn retry_seconds(&self) -> Option<u64> {
        self.retry_after.map(|delay| delay.as_millis().div_ceil(1000).max(1) as u64)
    }

    /// The reason in the log.
    pub fn reason(&self) -> RefusalReason {
        match self.problem.kind {
            ProblemKind::NotFound | ProblemKind::NoSuchCredential => RefusalReason::NotFound,
            ProblemKind::MethodNotAllowed => RefusalReason::MethodNotAllowed,
            ProblemKind::RequestTimeout => RefusalReason::SlowRequest,
            ProblemKind::NameTaken => RefusalReason::NameTaken,
            ProblemKind::ContentTooLarge => RefusalReason::BodyTooLarge,
            ProblemKind::Misdirected => RefusalReason::OtherHost,
            ProblemKind::Unavailable | ProblemKind::Unconfirmed => RefusalReason::NoRoom,
            ProblemKind::InvalidRequest
            | ProblemKind::InvalidJson
            | ProblemKind::InvalidParameters
            | ProblemKind::NotAcceptable
            | ProblemKind::PreconditionFailed
            | ProblemKind::UnsupportedMediaType
            | ProblemKind::InvalidBody
            // In the audit trail.
            | ProblemKind::Unauthenticated
            | ProblemKind::NotAccountHolder
            | ProblemKind::CrossSite
            | ProblemKind::Throttled => RefusalReason::InvalidRequest,
        }
    }
}

impl From<Refusal> for ApiRefusal {
    /// The same refusal as a problem. Those of backends and permissions do not happen here.
    fn from(refusal: Refusal) -> ApiRefusal {
        let kind = match &refusal {
            Refusal::Malformed(_) | Refusal::HeaderTooLarge => ProblemKind::InvalidRequest,
            Refusal::NoCredential
            | Refusal::BadCredential
            | Refusal::Unauthenticated(_)
            | Refusal::SessionEnded => ProblemKind::Unauthenticated,
            Refusal::Forbidden(_) | Refusal::NotHolder => ProblemKind::NotAccountHolder,
            Refusal::CrossSite(_) | Refusal::OtherOrigin | Refusal::ServiceWorker => ProblemKind::CrossSite,
            Refusal::NotFound(_) => ProblemKind::NotFound,
            Refusal::Method(_) => ProblemKind::MethodNotAllowed,
            Refusal::Timeout | Refusal::ClientGone => ProblemKind::RequestTimeout,
            Refusal::Conflict(_) => ProblemKind::NameTaken,
            Refusal::Misdirected => ProblemKind::Misdirected,
            Refusal::TooLarge => ProblemKind::ContentTooLarge,
            Refusal::Throttled(_) => ProblemKind::Throttled,
            Refusal::Unavailable(_)
            | Refusal::Overloaded(_)
            | Refusal::BadGateway
            | Refusal::GatewayTimeout => ProblemKind::Unavailable,
        };
        let detail: Cow<'static, str> = match &refusal {
            Refusal::CrossSite(_) => "a page of another origin makes this request: use another client".into(),
            Refusal::NotHolder => "only the account holder manages credentials".into(),
            other => other.reason(),
        };
        let allowed = if let Refusal::Method(allowed) = &refusal { Some(*allowed) } else { None };
        ApiRefusal {
            problem: Problem::new(kind, detail),
            is_audited: refusal.is_audited(),
            retry_after: match refusal {
                Refusal::Throttled(delay) => Some(delay),
                _ => refusal.retry_after().map(Duration::from_secs),
            },
            allowed,
            is_client_gone: refusal == Refusal::ClientGone,
        }
    }
}

impl From<ManagementError> for ApiRefusal {
    /// The table from the service's errors, whose lines the audit trail has.
    fn from(error: ManagementError) -> ApiRefusal {
        use ManagementError as E;
        let member = |name: &str| JsonPointer::root().member(name);
        let fault = |at: JsonPointer| {
            let faults = Faults::one(FaultPlace::Body(at), error.to_string());
            Problem::of_faults(ProblemKind::InvalidBody, faults)
        };
        let problem = match &error {
            E::Username(_) => fault(member("name")),
            E::Password(_) => fault(member("password")),
            E::Note(_) => fault(member("note")),
            E::Permissions(_) => fault(member("permissions")),
            E::NotAllowed(AccountError::AboveRights(permission)) => above_rights(*permission),
            // The holder lost its rights during the request.
            E::NotAllowed(AccountError::Suspended | AccountError::NoSuchAccount) => {
                return ApiRefusal { is_audited: true, ..Refusal::BadCredential.into() };
            }
            E::NotAllowed(AccountError::NoSuchCredential) => no_such_credential(),
            E::NotAllowed(AccountError::ConditionFailed) => precondition_failed(),
            E::NotAllowed(AccountError::NameTaken) => {
                let faults = Faults::one(FaultPlace::Body(member("name")), error.to_string());
                Problem::of_faults(ProblemKind::NameTaken, faults)
            }
            // Of sessions, and of many changes at once.
            E::NotAllowed(
                AccountError::TooManyAtOnce | AccountError::NoSuchSession | AccountError::LoginChanged,
            ) => Problem::new(ProblemKind::InvalidRequest, error.to_string()),
            E::Busy => Problem::new(ProblemKind::Unavailable, "too many requests at once, try again"),
            E::Store(_) => Problem::new(ProblemKind::Unavailable, "the store does not answer, try again"),
            E::Unconfirmed(Unconfirmed::Silent(_)) => Problem::new(
                ProblemKind::Unconfirmed,
                "the change is stored, but it is not known to be in effect on all nodes: send it again",
            ),
            E::Unconfirmed(Unconfirmed::Unknown { within, .. }) => {
                let seconds = within.as_millis().div_ceil(1000);
                let detail = format!(
                    "it is unknown if the change was made: if so, it is in effect on all nodes within {seconds} s. \
                     Send it again"
                );
                Problem::new(ProblemKind::Unconfirmed, detail)
            }
        };
        ApiRefusal { is_audited: true, ..ApiRefusal::of(problem) }
    }
}

impl ApiRefusal {
    /// The refusal of a change. Unlike a read, it may have been made although the store did not answer.
    pub fn of_change(error: ManagementError) -> ApiRefusal {
        let is_unknown = matches!(error, ManagementError::Store(_));
        let refusal = ApiRefusal::from(error);
        match is_unknown {
            true => refusal.with_detail("it is unknown if the change was made: send it again"),
            false => refusal,
        }
    }

    /// The refusal of an addition. If it may have been made, its repetition is refused, and a generated password is lost.
    pub fn of_addition(error: ManagementError) -> ApiRefusal {
        let detail = match &error {
            ManagementError::Store(_) | ManagementError::Unconfirmed(Unconfirmed::Unknown { .. }) => {
                "it is unknown if the credential was added: send it again. If that is a 409, it was: find it in the list, and set a \
                 password"
            }
            ManagementError::Unconfirmed(Unconfirmed::Silent(_)) => {
                "the credential was added, but it is not known to be in effect on all nodes: find it in the list, and set a password"
            }
            _ => return error.into(),
        };
        ApiRefusal::from(error).with_detail(detail)
    }

    fn with_detail(self, detail: &'static str) -> ApiRefusal {
        ApiRefusal { problem: Problem::new(self.problem.kind, detail), ..self }
    }
}

impl From<Unavailable> for ApiRefusal {
    fn from(unavailable: Unavailable) -> ApiRefusal {
        Refusal::from(unavailable).into()
    }
}

/// The problem of a number that no credential of the account has.
pub fn no_such_credential() -> Problem {
    Problem::new(ProblemKind::NoSuchCredential, "the account has no credential of this number")
}

/// The problem of a credential that is not as its client expects.
pub fn precondition_failed() -> Problem {
    Problem::new(ProblemKind::PreconditionFailed, "the credential was changed in the meantime: get it again")
}

fn above_rights(permission: Permission) -> Problem {
    let at = JsonPointer::root().member("permissions").member(permission.as_str());
    let detail = format!("{permission} is not among the rights of the account");
    Problem::of_faults(ProblemKind::InvalidBody, Faults::one(FaultPlace::Body(at), detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Denial;
    use crate::state::store::StoreError;

    #[test]
    fn unknown_wrong_and_suspended_are_one_problem() {
        let problems = [Denial::Unknown, Denial::Wrong, Denial::Suspended]
            .map(|denial| ApiRefusal::from(Refusal::from(denial)).problem);
        assert!(problems.iter().all(|problem| *problem == problems[0]));
        assert_eq!(problems[0].kind.status(), 401);
    }

    #[test]
    fn what_may_succeed_later_says_when() {
        let throttled = ApiRefusal::from(Refusal::Throttled(Duration::from_millis(1001)));
        assert_eq!((throttled.status(), throttled.retry_seconds()), (429, Some(2)));
        let busy = ApiRefusal::from(ManagementError::Busy);
        assert_eq!((busy.status(), busy.retry_seconds()), (503, Some(1)));
        assert_eq!(ApiRefusal::from(Unavailable::Store).retry_seconds(), Some(1));
        assert_eq!(ApiRefusal::method("GET, HEAD").retry_seconds(), None);
    }

    #[test]
    fn a_failed_change_claims_no_more_than_is_known() {
        let store = || ManagementError::Store(StoreError::Unavailable("/var/lib".to_owned()));
        let within = Duration::from_millis(1500);
        let unknown = || ManagementError::Unconfirmed(Unconfirmed::Unknown { reason: String::new(), within });
        let silent = || ManagementError::Unconfirmed(Unconfirmed::Silent("process 7".to_owned()));
        let read = ApiRefusal::from(store());
        assert_eq!(
            (read.status(), read.problem.detail.as_ref()),
            (503, "the store does not answer, try again")
        );
        for (refusal, expected) in [
            (ApiRefusal::of_change(store()), "it is unknown if the change was made"),
            (ApiRefusal::of_change(unknown()), "it is in effect on all nodes within 2 s"),
            (ApiRefusal::of_change(silent()), "the change is stored"),
            (
                ApiRefusal::of_addition(store()),
                "unknown if the credential was added: send it again. If that is a 409",
            ),
            (ApiRefusal::of_addition(unknown()), "If that is a 409"),
            (ApiRefusal::of_addition(silent()), "find it in the list, and set a password"),
        ] {
            let detail = &refusal.problem.detail;
            assert!(detail.contains(expected), "{detail}");
            assert!(refusal.is_audited && refusal.status() == 503 && refusal.retry_seconds() == Some(1));
            assert!(!detail.contains("/var/lib") && !detail.contains("process"), "{detail}");
        }
        assert_eq!(
            ApiRefusal::of_addition(ManagementError::Busy).problem,
            ApiRefusal::from(ManagementError::Busy).problem
        );
    }

    #[test]
    fn errors_of_the_service_name_their_place() {
        let refusal =
            ApiRefusal::from(ManagementError::NotAllowed(AccountError::AboveRights(Permission::Web)));
        let json = refusal.problem.to_json("0");
        assert!(json.contains("#/permissions/web"), "{json}");
        let refusal = ApiRefusal::from(ManagementError::NotAllowed(AccountError::ConditionFailed));
        assert_eq!(refusal.status(), 412);
    }
}
