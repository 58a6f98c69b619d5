//! One rule, the same shape for allowing and for refusing.

use std::collections::BTreeMap;

use crate::diagnostic::Position;
use crate::glob::{PathGlob, TextGlob};

/// What a request must be like; a part that is not written is not asked for.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Where it stands.
    pub at: Position,
    /// An HTTP method, `WEBSOCKET_TEXT`, a JSON-RPC or MCP method, or `*`.
    pub method: Option<Box<str>>,
    /// The request path.
    pub path: Option<PathGlob>,
    /// Query parameters by name.
    pub query: BTreeMap<Box<str>, AnyOf>,
    /// The kind of GraphQL operation.
    pub operation_type: Option<OperationKind>,
    /// The name of the GraphQL operation.
    pub operation_name: Option<TextGlob>,
    /// Root fields of the GraphQL operation.
    pub fields: Vec<TextGlob>,
    /// The MCP tool: `tool` or `params.name`.
    pub tool: Option<AnyOf>,
    /// Arguments of the MCP tool by dotted path: `params.arguments.<path>`, an extension.
    pub arguments: BTreeMap<Box<str>, ArgumentMatcher>,
}

/// One glob, or several of which one must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyOf {
    /// At least one.
    pub globs: Vec<TextGlob>,
}

/// What an argument must be.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgumentMatcher {
    /// Text that one of the globs matches; never a number or a truth value.
    Text(AnyOf),
    /// This number.
    Number(serde_json::Number),
    /// This truth value.
    Bool(bool),
}

/// The kind of a GraphQL operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// `query`.
    Query,
    /// `mutation`.
    Mutation,
    /// `subscription`.
    Subscription,
    /// `*`: any of them.
    Any,
}

impl Rule {
    /// True for a rule about method and path alone.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_http() && self.query.is_empty()
    }

    /// True for a rule about method, path and query alone.
    #[must_use]
    pub fn is_http(&self) -> bool {
        let graphql = self.operation_type.is_some() || self.operation_name.is_some() || !self.fields.is_empty();
        !graphql && self.tool.is_none() && self.arguments.is_empty()
    }
}

impl AnyOf {
    /// True where one of the globs matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(text))
    }
}

impl OperationKind {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
            Self::Any => "*",
        }
    }
}
