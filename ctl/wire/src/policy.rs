//! The policy of a running sandbox: `/v1/policy`, `/v1/policy/revisions` and `/v1/policy/rollback` on its control socket.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a policy revision came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The policy file of the sandbox.
    File,
    /// An operator's `policy set`.
    Set,
    /// An operator's `policy rollback`.
    Rollback,
}

/// How a revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoadStatus {
    /// It is in force.
    Loaded,
    /// It was kept and never came into force.
    Failed,
    /// It was in force, and another one is now.
    Superseded,
}

/// One accepted policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// Counted from 1 for each sandbox, over all its starts.
    pub number: u64,
    /// SHA-256 of its canonical text with what providers bring, 64 hexadecimal digits.
    pub sha256: String,
    /// How it stands.
    pub status: LoadStatus,
    /// What it came from.
    pub origin: Origin,
    /// The revision that a rollback went back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// User id of who brought it: the peer of the control socket, or the owner of the policy file.
    pub author_uid: u32,
    /// When it was accepted, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// When it came into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_at_ms: Option<u64>,
    /// Why it never came into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `PUT /v1/policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The policy, as YAML.
    pub text: String,
    /// At least 12 digits of the hash of the policy that it is to replace; if another one is in force, nothing changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// `POST /v1/policy/rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The revision to put in force again.
    pub revision: u64,
    /// As in `Replacement`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// What a replacement or a rollback came to. The policy is in force for every request from now on, and what has lost its
/// permission has been told to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// False where it was in force already.
    pub is_new: bool,
    /// The revision in force.
    pub revision: Revision,
    /// The generation in force.
    pub generation: u64,
}

/// `GET /v1/policy`, with `?revision=N` another than the one in force; with `&text=effective` or `&text=base` its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shown {
    /// The revision.
    pub revision: Revision,
    /// The number of the one in force.
    pub active: u64,
    /// The generation in force.
    pub generation: u64,
    /// The canonical text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `GET /v1/policy/revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revisions {
    /// The number of the one in force.
    pub active: u64,
    /// All that are kept, newest first.
    pub revisions: Vec<Revision>,
}

/// Why a request changed nothing; the HTTP status tells the kinds apart: 400 not a request, 404 no such revision, 409 another
/// policy is in force, 422 the policy has mistakes, 500 it cannot be kept or recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What happened, in one sentence.
    pub message: String,
    /// Every mistake of a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
}

/// One mistake of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mistake {
    /// The line, from 1; nothing where it is about the policy as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
