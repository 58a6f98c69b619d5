//! Credentials of a running sandbox or proxy: `POST /v1/credentials/refresh` on its control socket.

use serde::{Deserialize, Serialize};

/// How one credential stands, after what has changed in the store was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
