//! How a stand-alone proxy stands: `GET /v1/status` on its control socket.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A stand-alone proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyStatus {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The configuration that is followed.
    pub config: String,
    /// Its listeners, `explicit proxy at 127.0.0.1:3128`.
    pub listeners: Vec<String>,
    /// Its agents.
    pub agents: Vec<AgentStatus>,
    /// Names that the operator pinned, `name:port -> address`.
    pub pins: Vec<String>,
    /// Connections at this moment.
    pub connections: u32,
    /// Connections that there may be: as configured, or as descriptors allow.
    pub connection_limit: u32,
    /// How often a connection could not be accepted, for want of descriptors or memory.
    pub failed_accepts: u64,
    /// Bounds by name.
    #[schema(value_type = Object)]
    pub limits: serde_json::Map<String, serde_json::Value>,
    /// Seconds that connections may go on after SIGTERM.
    pub drain_seconds: u64,
    /// Why the last change of a file was refused; empty when everything is in force.
    pub refused: String,
    /// The journal's folder.
    pub journal: String,
}

/// One agent of a stand-alone proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// How it is told from others, `token, from 10.1.0.0/16`.
    pub known_by: String,
    /// The policy file that is followed.
    pub policy_file: String,
    /// The generation in force, from 1.
    pub generation: u64,
    /// SHA-256 of its canonical text, hexadecimal.
    pub policy_sha256: String,
    /// Endpoints that only audit: what they would deny passes.
    pub audit_endpoints: Vec<String>,
    /// Names of the credentials that are held.
    pub credentials: Vec<String>,
    /// Connections at this moment.
    pub connections: u32,
    /// Connections that there may be.
    pub connection_limit: u32,
}
