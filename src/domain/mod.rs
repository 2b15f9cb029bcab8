//! Layer 0: the terms of Gatepost as types. Pure: without sockets, store and clock.

pub mod account_error;
pub mod common_password;
pub mod credential;
pub mod credential_details;
pub mod decision;
pub mod fleet;
pub mod generated_password;
pub mod last_use;
pub mod moment;
pub mod name_prefix;
pub mod network;
pub mod note;
pub mod page_cursor;
pub mod password;
pub mod pattern;
pub mod permission;
pub mod refusal_reason;
pub mod request_id;
pub mod session;
pub mod shown;
pub mod username;

pub use account_error::AccountError;
pub use credential::{
    AccountId, Credential, CredentialId, Principal, PrincipalId, PrincipalKind, StoredHash,
};
pub use credential_details::{ChangeCondition, CredentialDetails, CredentialVersion, NoEffect};
pub use decision::{Denial, Entry, Unavailable};
pub use generated_password::generated_password;
pub use last_use::{LatestUse, UseState};
pub use moment::Moment;
pub use name_prefix::NamePrefix;
pub use network::ClientNetwork;
pub use note::{Note, NoteError};
pub use page_cursor::{NameBound, PageCursor, PageDirection};
pub use password::{NewPassword, PasswordError, PasswordRules, Presented, Secret};
pub use pattern::{PathPattern, PatternError};
pub use permission::{Permission, PermissionEdit, Permissions, PermissionsError};
pub use refusal_reason::RefusalReason;
pub use request_id::{MailId, RequestId};
pub use session::{Session, SessionCookie, SessionDigest, SessionFacts, SessionId, SessionToken};
pub use shown::{LONGEST_NAME, LONGEST_TEXT, shown};
pub use username::{Canonical, Username, UsernameError};
