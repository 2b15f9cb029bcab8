//! The page that shows a new password, once.

use super::answer::ConsoleAnswer;
use super::credential_words;
use super::page_request::PageRequest;
use super::snippets::snippets;
use crate::domain::CredentialDetails;
use crate::edge::http::pages::views::{Handover, HandoverView, Section, effect_words};
use crate::service::sessions::Effect;

/// Shows the password of a credential. It is in no other answer, and no cache keeps this one.
pub fn page(
    request: &PageRequest<'_>,
    kind: Handover,
    details: &CredentialDetails,
    password: &str,
    effect: &Effect,
) -> ConsoleAnswer {
    let endpoints = &request.console.endpoints;
    let (name, permissions) = (details.credential.name.as_str(), details.credential.effective);
    let view = HandoverView {
        frame: request.frame_with(Section::Credentials, None),
        kind,
        id: details.credential.id.0.to_string(),
        name: name.to_owned(),
        password: Some(password.to_owned()),
        permissions: credential_words::pills(details),
        servers: endpoints.servers(permissions),
        snippets: snippets(endpoints, name, password, permissions),
        effect: effect_words(effect.nodes, effect.took),
    };
    ConsoleAnswer::page(200, &view)
}
