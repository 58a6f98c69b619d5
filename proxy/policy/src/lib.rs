//! Judges: a policy document in, verdicts out.
//!
//! `document` is a policy as written, `compile` turns it into direct lookups, `decide` answers. Everything that asks a
//! policy (the proxy at run time, `policy explain`, `policy test`, replay) asks these same functions. Deliberately no IO, no
//! clock, no locks, and no protocol reading: that is `tollgate-inspect`.
//!
//! ```
//! use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Scheme, Unidentified};
//! use tollgate_policy::Decision;
//!
//! let policy = tollgate_policy::load("
//! version: 1
//! network_policies:
//!   models:
//!     endpoints:
//!     - {host: api.example.com, port: 443, protocol: rest, access: read-only}
//! ").unwrap();
//! let ask = Ask {
//!     caller: &Caller::Unknown(Unidentified::Outside),
//!     authority: &Authority::parse("api.example.com:443").unwrap(),
//!     scheme: Scheme::Https,
//!     method: &Method::parse("GET").unwrap(),
//!     path: &CanonicalPath::parse("/v1/models", EncodedSlash::Refuse).unwrap(),
//!     query: None,
//! };
//! assert!(matches!(policy.decide(&ask), Decision::Allow(_)));
//! ```
#![forbid(unsafe_code)]

pub mod cases;
mod compile;
mod decide;
pub mod diagnostic;
pub mod diff;
pub mod document;
pub mod explain;
mod facts;
pub mod glob;
pub mod hosts;
pub mod lint;
pub mod profile;
pub mod question;
pub mod update;
pub mod yaml;

pub use compile::{EndpointId, Policy};
pub use decide::{
    BodyNeed, Circumstances, Conditions, ConnectPermit, Decision, Denial, Inspection, Layer, Mode, Payload, Permit,
    Reach, Reason, Unreadable,
};
pub use diagnostic::{Diagnostic, Diagnostics, Position, Severity};
pub use document::{Compatibility, CredentialBinding, Document, Filesystem, Process, Rewrites, Slot};
pub use facts::AuditEndpoint;

/// Reads, validates and compiles a policy.
///
/// # Errors
/// Every mistake at once, in the order of the text.
pub fn load(text: &str) -> Result<Policy, Diagnostics> {
    Policy::compile(document::read(text)?)
}
