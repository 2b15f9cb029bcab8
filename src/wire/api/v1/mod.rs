//! The JSON of API v1 (docs/api-v1.md): bodies, problems, cursors, entity tags and preconditions.
//!
//! `strict_json` reads a body, `credential_body` finds all its errors, and `problem` writes them (RFC 9457). `credential_json`
//! writes credentials, `entity_tag` names their states (RFC 9110), and `cursor` their pages.

pub mod credential_body;
pub mod credential_json;
pub mod cursor;
pub mod effect;
pub mod entity_tag;
pub mod list_query;
pub mod media;
pub mod pointer;
pub mod problem;
pub mod strict_json;

pub use credential_body::{CredentialPatch, NewCredentialBody};
pub use credential_json::{credential_json, page_json};
pub use cursor::{CursorError, decode_cursor, encode_cursor};
pub use effect::{EFFECT_FIELD, effect_value};
pub use entity_tag::{EntityTag, TagCondition, TagListError, VersionTag};
pub use list_query::ListQuery;
pub use media::{JsonMedia, accepts_json};
pub use pointer::JsonPointer;
pub use problem::{Fault, FaultPlace, Faults, PROBLEM_JSON, Problem, ProblemKind};
pub use strict_json::StrictJson;
