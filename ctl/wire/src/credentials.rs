//! Credentials of a running sandbox or proxy: `POST /v1/credentials/refresh` and `POST /v1/credentials/attach` on its control
//! socket.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How one credential stands, after what has changed in the store was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialState {
    /// Whose it is, where several agents share a proxy.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// True where its source has been asked for a value and has not answered yet.
    pub is_awaited: bool,
    /// Why it cannot be used; nothing where it can. Never holds a value.
    pub failure: Option<String>,
}

/// `POST /v1/credentials/attach`: a credential of the store that a running sandbox is to hold as well. The value stays where it
/// is; what it may be used for is the policy's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Its name in the store.
    pub name: String,
}
