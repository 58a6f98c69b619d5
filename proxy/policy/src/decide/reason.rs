//! Why something is refused: a closed list, each with a stable word for programs and a sentence for people.

use std::sync::Arc;

use tollgate_inspect::{graphql, jsonrpc, mcp};
use tollgate_model::Unidentified;

use super::verdict::Layer;
use crate::document::Protocol;

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The policy has no entries at all.
    #[error("network connections not allowed by policy")]
    NoPolicies,
    /// No entry names the destination.
    #[error("endpoint {destination} is not allowed by any policy")]
    EndpointNotAllowed {
        /// `host:port`.
        destination: String,
    },
    /// Entries name the destination, but not the program.
    #[error("{}", binary_miss(program, policies, ancestors))]
    BinaryNotAllowed {
        /// The program.
        program: String,
        /// The entries that name the destination.
        policies: Vec<Arc<str>>,
        /// The programs that started it.
        ancestors: Vec<String>,
    },
    /// Entries name the destination and programs, and the caller is not known.
    #[error("the program could not be identified ({why}), and the policy names programs for {destination}")]
    CallerUnknown {
        /// Why it is not known.
        why: Unidentified,
        /// `host:port`.
        destination: String,
    },
    /// An entry would allow it under other circumstances.
    #[error("policy '{policy}' does not apply at this time or for this agent, user or data")]
    Circumstances {
        /// The entry.
        policy: Arc<str>,
    },
    /// No rule allows it.
    #[error("{operation} not permitted by policy")]
    NotPermitted {
        /// `GET /path`, or the operation inside the body.
        operation: String,
    },
    /// A deny rule refuses it.
    #[error("{operation} blocked by deny rule")]
    DenyRule {
        /// `GET /path`, or the operation inside the body.
        operation: String,
        /// The rule.
        rule: Arc<str>,
    },
    /// Endpoints speak for other paths only.
    #[error("no L7 endpoint path matched request")]
    NoEndpointPath,
    /// `%2F` where a path rule could be dodged.
    #[error("the path holds an encoded slash (%2F), which this endpoint does not accept")]
    EncodedSlash,
    /// A query that cannot be read.
    #[error("{0}")]
    Query(#[from] tollgate_inspect::query::QueryError),
    /// No rule allows the GraphQL operation.
    #[error("GraphQL operation not permitted by policy: {operation}")]
    GraphqlNotPermitted {
        /// `mutation deleteRepo`.
        operation: String,
    },
    /// A deny rule refuses the GraphQL operation.
    #[error("GraphQL operation blocked by endpoint policy: {operation}")]
    GraphqlDenyRule {
        /// `mutation deleteRepo`.
        operation: String,
        /// The rule.
        rule: Arc<str>,
    },
    /// An id without text that the registry does not hold.
    #[error("GraphQL persisted query is not registered")]
    GraphqlNotRegistered,
    /// A body or message that cannot be read as its protocol.
    #[error("{} request rejected: {why}", reader_name(*.protocol))]
    Unreadable {
        /// How it was read.
        protocol: Protocol,
        /// Why it cannot be.
        why: Unreadable,
    },
    /// An answer of the client to a request of the server.
    #[error("JSON-RPC response frames are not permitted from client to server")]
    ResponseFrame,
    /// A tool name that could be taken for another.
    #[error("the tool name is not 1 to 128 letters, digits, `_`, `.` or `-`")]
    ToolName,
    /// A plain request where only WebSocket upgrades are allowed.
    #[error("this endpoint accepts only WebSocket upgrades")]
    UpgradeOnly,
    /// Overlapping endpoints that would read the request differently; the check at load leaves none.
    #[error("endpoints disagree on how to read the request")]
    Ambiguous,
}

/// Why what a request carries cannot be judged. Audit mode does not lift it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not GraphQL.
    #[error(transparent)]
    Graphql(#[from] graphql::GraphqlError),
    /// Not JSON-RPC.
    #[error(transparent)]
    JsonRpc(#[from] jsonrpc::JsonRpcError),
    /// Not a tool call.
    #[error(transparent)]
    Mcp(#[from] mcp::McpError),
    /// A method that the protocol does not use.
    #[error("the protocol does not use this method")]
    Method,
    /// A longer body than the endpoint reads.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: u32,
    },
    /// Not `application/json` in UTF-8.
    #[error("the content type is not application/json")]
    ContentType,
    /// Compressed.
    #[error("the body is encoded")]
    ContentEncoding,
    /// A POST whose URL holds GraphQL parameters, which some servers prefer to the body.
    #[error("the URL of a POST holds GraphQL parameters")]
    UrlParameters,
    /// A GET that is not a stream of events.
    #[error("a GET must ask for text/event-stream and have no body")]
    NotAStream,
}

impl Reason {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPolicies => "no_policies",
            Self::EndpointNotAllowed { .. } => "endpoint_not_allowed",
            Self::BinaryNotAllowed { .. } => "binary_not_allowed",
            Self::CallerUnknown { .. } => "caller_unknown",
            Self::Circumstances { .. } => "circumstances",
            Self::NotPermitted { .. } => "not_permitted",
            Self::DenyRule { .. } => "deny_rule",
            Self::NoEndpointPath => "no_endpoint_path",
            Self::EncodedSlash => "encoded_slash",
            Self::Query(_) => "malformed_query",
            Self::GraphqlNotPermitted { .. } => "graphql_not_permitted",
            Self::GraphqlDenyRule { .. } => "graphql_deny_rule",
            Self::GraphqlNotRegistered => "graphql_not_registered",
            Self::Unreadable { .. } => "unreadable",
            Self::ResponseFrame => "response_frame",
            Self::ToolName => "tool_name",
            Self::UpgradeOnly => "upgrade_only",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// The deny rule behind it, in words, where there is one.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::DenyRule { rule, .. } | Self::GraphqlDenyRule { rule, .. } => Some(rule),
            _ => None,
        }
    }

    pub(super) const fn layer(&self) -> Layer {
        match self {
            Self::NoPolicies
            | Self::EndpointNotAllowed { .. }
            | Self::BinaryNotAllowed { .. }
            | Self::CallerUnknown { .. }
            | Self::Circumstances { .. } => Layer::L4,
            Self::NotPermitted { .. }
            | Self::DenyRule { .. }
            | Self::NoEndpointPath
            | Self::EncodedSlash
            | Self::Query(_)
            | Self::GraphqlNotPermitted { .. }
            | Self::GraphqlDenyRule { .. }
            | Self::GraphqlNotRegistered
            | Self::Unreadable { .. }
            | Self::ResponseFrame
            | Self::ToolName
            | Self::UpgradeOnly
            | Self::Ambiguous => Layer::L7,
        }
    }
}

fn reader_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Graphql | Protocol::Websocket => "GraphQL",
        Protocol::JsonRpc | Protocol::Mcp => "JSON-RPC",
        Protocol::Rest | Protocol::Tcp => "HTTP",
    }
}

fn binary_miss(program: &str, policies: &[Arc<str>], ancestors: &[String]) -> String {
    let ancestors = ancestors.join(", ");
    let one =
        |policy: &Arc<str>| format!("binary '{program}' not allowed in policy '{policy}' (ancestors: [{ancestors}])");
    policies.iter().map(one).collect::<Vec<_>>().join("; ")
}
