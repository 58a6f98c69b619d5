//! Whether a sandbox or proxy does its work: `GET /healthz`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// True where requests that the policy allows can pass.
    pub is_healthy: bool,
    /// Why they cannot; empty where they can.
    pub reason: String,
}
