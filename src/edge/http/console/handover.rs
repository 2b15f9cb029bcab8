//! The page that shows a new password, once.

use super::answer::ConsoleAnswer;
use super::page_request::PageRequest;
use super::snippets::snippets;
use crate::domain::{CredentialId, Permission, Permissions};
use crate::edge::http::pages::views::{Handover, HandoverView, PermissionPill, Section};
use crate::service::Effect;
use crate::state::cluster::Unconfirmed;

/// A credential whose password is shown.
pub struct NewLogin<'a> {
    /// The number, if it is known.
    pub id: Option<CredentialId>,
    /// The username.
    pub name: &'a str,
    /// The effective permissions.
    pub permissions: Permissions,
}

/// Shows the password of a credential. It is in no other answer, and no cache keeps this one.
pub fn page(
    request: &PageRequest<'_>,
    kind: Handover,
    login: &NewLogin<'_>,
    password: &str,
    effect: Result<&Effect, &Unconfirmed>,
) -> ConsoleAnswer {
    let (endpoints, permissions) = (&request.console.endpoints, login.permissions);
    let pill = |permission: Permission| PermissionPill { name: permission.as_str(), without_effect: None };
    let view = HandoverView {
        frame: request.frame_with(Section::Credentials, None),
        kind,
        id: login.id.map(|id| id.0.to_string()),
        name: login.name.to_owned(),
        password: password.to_owned(),
        permissions: permissions.iter().map(pill).collect(),
        servers: endpoints.servers(permissions),
        snippets: snippets(endpoints, login.name, password, permissions),
        effect: effect.map(|effect| request.effect_words(effect)).unwrap_or_default(),
        doubt: effect.err().map(doubt),
    };
    // A change that is written was accepted, wherever it is not in effect yet.
    let status = match effect {
        Ok(_) => 200,
        Err(Unconfirmed::Silent(_)) => 202,
        Err(Unconfirmed::Unknown { .. }) => 503,
    };
    ConsoleAnswer::page(status, &view)
}

/// The words for what is not known of an addition. The password is shown, since it can't be read again.
const fn doubt(unconfirmed: &Unconfirmed) -> &'static str {
    match unconfirmed {
        Unconfirmed::Silent(_) => {
            "The credential is added, but not yet confirmed on every node. Until then, a node may still refuse it."
        }
        Unconfirmed::Unknown { .. } => {
            "The connection to the database was lost, so it is unknown if the credential was added. If it is in the list, this is its \
             password. If not, add it again."
        }
    }
}
