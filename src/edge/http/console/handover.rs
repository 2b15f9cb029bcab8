//! The page that shows a new password, once.

use super::answer::ConsoleAnswer;
use super::page_request::PageRequest;
use super::snippets::snippets;
use crate::domain::{CredentialId, Permission, Permissions};
use crate::edge::http::pages::views::{Handover, HandoverView, PermissionPill, Section, effect_words};
use crate::service::Effect;

/// A credential whose password is shown.
pub struct NewLogin<'a> {
    /// The number.
    pub id: CredentialId,
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
    effect: &Effect,
) -> ConsoleAnswer {
    let (endpoints, permissions) = (&request.console.endpoints, login.permissions);
    let pill = |permission: Permission| PermissionPill { name: permission.as_str(), without_effect: None };
    let view = HandoverView {
        frame: request.frame_with(Section::Credentials, None),
        kind,
        id: login.id.0.to_string(),
        name: login.name.to_owned(),
        password: password.to_owned(),
        permissions: permissions.iter().map(pill).collect(),
        servers: endpoints.servers(permissions),
        snippets: snippets(endpoints, login.name, password, permissions),
        effect: effect_words(effect.nodes, effect.took),
    };
    ConsoleAnswer::page(200, &view)
}
