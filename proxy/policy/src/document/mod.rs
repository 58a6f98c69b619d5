//! A policy as written: OpenShell's schema version 1 and our extension, decoded and validated, not yet compiled.
//!
//! Every value in here is valid by itself (a host is a host pattern, a path a glob); [`decode`](self::read) also checks
//! what fields mean together. What the document *does* is the business of `compile` and `decide`.
//!
//! ```
//! let document = tollgate_policy::document::read("version: 1\nnetwork_policies: {}\n").unwrap();
//! assert!(document.network_policies.is_empty());
//! ```

mod attach;
mod canonical;
mod cidr;
mod decode;
mod dialects;
mod endpoint;
mod extension;
mod header;
mod rule;
mod slot;
mod validate;

use std::collections::BTreeMap;

pub use attach::Attachment;
pub use canonical::fragment;
pub use cidr::{Cidr, CidrError};
pub(crate) use decode::other_spelling;
pub use dialects::{Dialect, Imported, import};
pub use endpoint::{
    Access, CredentialSigning, Endpoint, Enforcement, McpOptions, PersistedQueries, Protocol, RegisteredQuery,
    Rewrites, Tls,
};
pub use extension::{Clock, CredentialBinding, Day, TimeWindow, When};
pub use rule::{AnyOf, ArgumentMatcher, OperationKind, Rule};
pub use slot::{PathTemplate, PathTemplateError, Slot};

use crate::diagnostic::{Diagnostic, Diagnostics, Position};
use crate::glob::PathGlob;
use crate::yaml;

/// The one version of the schema.
pub const VERSION: u32 = 1;

/// A whole document.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// What the agent may touch on disk; nothing means the built-in default.
    pub filesystem_policy: Option<Filesystem>,
    /// How strictly Landlock is applied.
    pub landlock: Option<Compatibility>,
    /// Whom the agent runs as.
    pub process: Option<Process>,
    /// What may be reached, by key.
    pub network_policies: BTreeMap<Box<str>, Entry>,
    /// Stages between the decision and the injection, by key.
    pub network_middlewares: BTreeMap<Box<str>, Middleware>,
    /// Which secret may go where: the extension `x-tollgate`.
    pub credentials: Vec<CredentialBinding>,
    /// What loads but is probably not meant.
    pub warnings: Diagnostics,
}

/// `filesystem_policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Grant the working directory as well.
    pub include_workdir: bool,
    /// Absolute paths to read.
    pub read_only: Vec<String>,
    /// Absolute paths to read and write.
    pub read_write: Vec<String>,
}

/// `landlock.compatibility`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compatibility {
    /// Use what the kernel has.
    #[default]
    BestEffort,
    /// Refuse to start where the kernel lacks anything.
    HardRequirement,
}

impl Compatibility {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "best_effort",
            Self::HardRequirement => "hard_requirement",
        }
    }
}

/// `process`: `sandbox` or a number, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The user.
    pub run_as_user: Option<String>,
    /// The group.
    pub run_as_group: Option<String>,
}

/// One entry of `network_policies`: any of its programs may reach any of its endpoints.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub at: Position,
    /// A name for display; the key where none is written.
    pub name: Box<str>,
    /// Where to.
    pub endpoints: Vec<Endpoint>,
    /// Who; nothing means any program, an empty list nobody.
    pub binaries: Option<Vec<Binary>>,
    /// Under which circumstances: the extension `x-tollgate`.
    pub when: Option<When>,
    /// Whether its programs may be other files than at first, as where agents upgrade themselves: the extension `x-tollgate`.
    pub upgrades: bool,
}

/// A program that an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it stands.
    pub at: Position,
    /// The executable or, with wildcards, several.
    pub path: PathGlob,
}

/// One entry of `network_middlewares`: parsed and validated here, run elsewhere.
#[derive(Debug, Clone)]
pub struct Middleware {
    /// Where it stands.
    pub at: Position,
    /// A label; the key where none is written.
    pub name: Box<str>,
    /// The implementation.
    pub middleware: Box<str>,
    /// Its place in the row.
    pub order: i32,
    /// For the implementation.
    pub config: serde_json::Value,
    /// What happens when it fails.
    pub on_error: Option<OnError>,
    /// Host patterns that it sees.
    pub include: Vec<Box<str>>,
    /// Host patterns that it does not see.
    pub exclude: Vec<Box<str>>,
}

/// `on_error` of a middleware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Refuse the request.
    FailClosed,
    /// Let it pass.
    FailOpen,
}

/// Reads and validates a document in the schema itself; other dialects are for [`import`].
///
/// # Errors
/// Every mistake at once, in the order of the text.
pub fn read(text: &str) -> Result<Document, Diagnostics> {
    let (tree, found) = yaml::read_on(&header::without(text))?;
    complete(&tree, found)
}

/// Decodes and validates a tree, adding to what was found on the way to it.
fn complete(tree: &yaml::Node, mut found: Diagnostics) -> Result<Document, Diagnostics> {
    let (mut document, mistakes) = decode::document(tree);
    found.extend(mistakes);
    validate::document(&document, &mut found);
    if found.has_errors() {
        return Err(found.sorted());
    }
    document.warnings = found.sorted();
    Ok(document)
}

/// Validates a document that was changed after it was read.
///
/// # Errors
/// What the change broke.
pub fn check(document: &Document) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::default();
    validate::document(document, &mut found);
    match found.has_errors() {
        true => Err(found.sorted()),
        false => Ok(()),
    }
}

/// A diagnostic collector that the decoder and the validator share.
trait Report {
    fn error(&mut self, at: Position, message: impl Into<String>);
    fn error_with(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>);
    fn warning(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>);
}

impl Report for Diagnostics {
    fn error(&mut self, at: Position, message: impl Into<String>) {
        self.push(Diagnostic::error(at, message));
    }

    fn error_with(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic::error(at, message).hint(hint));
    }

    fn warning(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.push(Diagnostic::warning(at, message).hint(hint));
    }
}
