//! The operator API's answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cell::Control;

/// How a sandbox stands: `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The sandbox's name.
    pub name: String,
    /// Process id of its proxy on the host.
    pub pid: u32,
    /// The agent's command.
    pub command: Vec<String>,
    /// When it was started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Ports of the host's loopback that lead inside, `HOST:INSIDE`.
    pub forwards: Vec<String>,
    /// The policy file that is followed.
    pub policy_file: String,
    /// The generation in force, from 1.
    pub generation: u64,
    /// SHA-256 of its canonical text, hexadecimal.
    pub policy_sha256: String,
    /// Endpoints that only audit: what they would deny passes.
    pub audit_endpoints: Vec<String>,
    /// Protections and how they stand.
    pub controls: Vec<Control>,
    /// Names of those that are missing because the operator allowed it.
    pub degraded: Vec<String>,
    /// Names that the operator pinned, `name:port -> address`.
    pub pins: Vec<String>,
    /// Names of the credentials that are held.
    pub credentials: Vec<String>,
    /// Connections and requests that are open at this moment.
    pub open: usize,
    /// Bounds by name.
    #[schema(value_type = Object)]
    pub limits: serde_json::Map<String, serde_json::Value>,
    /// The journal's folder.
    pub journal: String,
}
