//! GraphQL: which operations a request asks for, and which root fields they touch.
//!
//! Aliases are ignored (the real field counts), fragments at the root are followed, a batch is all of its operations.
//! Deliberately no schema: what a field means is not known here.
//!
//! ```
//! use tollgate_inspect::graphql::{self, Kind, Request};
//!
//! let requests = graphql::from_body(br#"{"query": "mutation M { x: deleteRepo { id } }"}"#).unwrap();
//! let [Request::Operation(operation)] = &requests[..] else { panic!() };
//! assert_eq!((operation.kind, &operation.fields[..]), (Kind::Mutation, &["deleteRepo".to_owned()][..]));
//! ```

mod document;
mod request;
mod socket;

pub use request::{from_body, from_query, is_parameter};
pub use socket::{Message, from_message};

use crate::json::JsonError;
use crate::query::QueryError;

/// One operation that the server is asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What kind.
    pub kind: Kind,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The real names of its root fields, each once, in order of appearance.
    pub fields: Vec<String>,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads.
    Query,
    /// Writes.
    Mutation,
    /// Listens.
    Subscription,
}

/// What one request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// An operation whose text is at hand.
    Operation(Operation),
    /// An operation that the server knows by this id.
    Persisted(String),
}

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphqlError {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A query string that cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Neither an object nor a list of objects.
    #[error("a request is an object or a list of objects")]
    NotAnObject,
    /// `[]`.
    #[error("the batch is empty")]
    EmptyBatch,
    /// More than [`MAX_BATCH`].
    #[error("the batch has more than {MAX_BATCH} operations")]
    LongBatch,
    /// A member of the wrong type.
    #[error("`{0}` has the wrong type")]
    Type(&'static str),
    /// The same parameter twice in a query string.
    #[error("the parameter `{0}` stands twice")]
    Duplicate(&'static str),
    /// Neither text nor the id of a persisted operation.
    #[error("the request names no operation")]
    NoOperation,
    /// Ids of persisted operations that differ.
    #[error("the request names several persisted operations")]
    ManyIds,
    /// A document that does not follow the grammar, or is too large.
    #[error("the document cannot be read")]
    Syntax,
    /// Definitions of types, which no client sends.
    #[error("the document defines types")]
    Definitions,
    /// Names that stand for two things.
    #[error("the document names two operations or fragments alike")]
    Ambiguous,
    /// `operationName` is missing where there are several, or names none of them.
    #[error("the request does not say which of its operations to run")]
    Unselected,
    /// A fragment that is not there.
    #[error("the document spreads a fragment that it does not define")]
    UnknownFragment,
    /// A message of the WebSocket protocol that cannot be read.
    #[error("the message is no GraphQL message")]
    Message,
}

/// Operations in one batch.
pub const MAX_BATCH: usize = 256;

#[cfg(test)]
mod tests;
