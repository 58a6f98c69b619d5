//! One endpoint of an entry: a destination, how its traffic is read, and what of it is allowed.

use std::collections::BTreeMap;

use tollgate_model::Port;

use super::{Cidr, OperationKind, Rule};
use crate::diagnostic::Position;
use crate::glob::PathGlob;
use crate::hosts::HostPattern;

/// A destination and its rules.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// Where it stands.
    pub at: Position,
    /// Where its fields stand.
    pub places: BTreeMap<&'static str, Position>,
    /// Which hosts; nothing means any host inside `allowed_ips`.
    pub host: Option<HostPattern>,
    /// Which ports; at least one, in the order written.
    pub ports: Vec<Port>,
    /// For which request paths this endpoint speaks; nothing means all.
    pub path: Option<PathGlob>,
    /// How the traffic is read; nothing means not at all.
    pub protocol: Option<Protocol>,
    /// What happens to TLS.
    pub tls: Option<Tls>,
    /// Whether refusals are enforced.
    pub enforcement: Option<Enforcement>,
    /// A preset instead of rules.
    pub access: Option<Access>,
    /// What is allowed.
    pub rules: Vec<Rule>,
    /// What is refused even where it is allowed.
    pub deny_rules: Vec<Rule>,
    /// Where the host may resolve to, instead of the usual check.
    pub allowed_ips: Vec<Cidr>,
    /// Keep `%2F` in paths instead of refusing it.
    pub allow_encoded_slash: bool,
    /// Swap placeholders in WebSocket text of the client.
    pub websocket_credential_rewrite: bool,
    /// Swap placeholders in request bodies.
    pub request_body_credential_rewrite: bool,
    /// Accept credentials where nothing is inspected.
    pub allow_uninspected_credentials: bool,
    /// What to do with persisted GraphQL queries.
    pub persisted_queries: Option<PersistedQueries>,
    /// The trusted persisted queries, by id.
    pub graphql_persisted_queries: BTreeMap<Box<str>, RegisteredQuery>,
    /// The largest GraphQL body, in bytes.
    pub graphql_max_body_bytes: Option<u32>,
    /// Signing of requests.
    pub credential_signing: Option<CredentialSigning>,
    /// The service to sign for.
    pub signing_service: Option<Box<str>>,
    /// The region to sign for.
    pub signing_region: Option<Box<str>>,
    /// The provider whose credentials are bound to this endpoint.
    pub credential_binding: Option<Box<str>>,
    /// The largest JSON-RPC body, in bytes.
    pub json_rpc_max_body_bytes: Option<u32>,
    /// Options of MCP.
    pub mcp: Option<McpOptions>,
}

/// How traffic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Not at all, captured transparently.
    Tcp,
    /// HTTP: method, path, query.
    Rest,
    /// A WebSocket upgrade and its text messages.
    Websocket,
    /// GraphQL over HTTP.
    Graphql,
    /// JSON-RPC 2.0 over HTTP.
    JsonRpc,
    /// The Model Context Protocol over HTTP.
    Mcp,
}

/// `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tls {
    /// A raw tunnel.
    Skip,
    /// Automatic, in an older spelling.
    Terminate,
    /// Automatic, in an older spelling.
    Passthrough,
}

/// `enforcement`; where it is omitted, `enforce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// Refuse what no rule allows.
    Enforce,
    /// Let it pass and record it.
    Audit,
}

/// `access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading methods or queries.
    ReadOnly,
    /// The same and writing, without deleting.
    ReadWrite,
    /// Anything.
    Full,
}

/// `persisted_queries`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersistedQueries {
    /// Refuse them.
    Deny,
    /// Judge those of the registry.
    AllowRegistered,
}

/// `credential_signing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialSigning {
    /// AWS Signature Version 4.
    SigV4,
    /// The same over the body.
    SigV4Body,
    /// The same without the body.
    SigV4NoBody,
}

/// One entry of `graphql_persisted_queries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredQuery {
    /// Its kind of operation.
    pub operation_type: OperationKind,
    /// Its name.
    pub operation_name: Option<Box<str>>,
    /// Its root fields.
    pub fields: Vec<Box<str>>,
}

/// `mcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct McpOptions {
    /// The largest body, in bytes.
    pub max_body_bytes: Option<u32>,
    /// Refuse tool names outside `[A-Za-z0-9_.-]{1,128}`.
    pub strict_tool_names: bool,
    /// Allow every method; tools stay limited where rules name tools.
    pub allow_all_known_mcp_methods: bool,
}

/// Bodies are read up to here where the endpoint says nothing else.
const DEFAULT_BODY_BYTES: u32 = 65_536;

impl Default for McpOptions {
    fn default() -> Self {
        Self { max_body_bytes: None, strict_tool_names: true, allow_all_known_mcp_methods: false }
    }
}

/// Where an endpoint opens every field for the credentials that are bound to its destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rewrites {
    /// The bodies of requests (`request_body_credential_rewrite`).
    pub body: bool,
    /// The client's messages on a WebSocket (`websocket_credential_rewrite`).
    pub messages: bool,
}

impl Endpoint {
    /// Where it opens every field for credentials.
    #[must_use]
    pub fn rewrites(&self) -> Rewrites {
        Rewrites { body: self.request_body_credential_rewrite, messages: self.websocket_credential_rewrite }
    }

    /// Where a field stands, or the endpoint where the field does not.
    #[must_use]
    pub fn place(&self, field: &str) -> Position {
        self.places.get(field).copied().unwrap_or(self.at)
    }

    /// True where refusals are only recorded.
    #[must_use]
    pub fn is_audit(&self) -> bool {
        self.enforcement == Some(Enforcement::Audit)
    }

    /// How requests are read, where they are.
    #[must_use]
    pub fn inspected(&self) -> Option<Protocol> {
        self.protocol.filter(|protocol| *protocol != Protocol::Tcp)
    }

    /// Whether bytes pass as they are, TLS and all.
    #[must_use]
    pub fn passes_unread(&self) -> bool {
        self.tls == Some(Tls::Skip) || self.protocol == Some(Protocol::Tcp)
    }

    /// The largest body that is read to judge it, in bytes.
    #[must_use]
    pub fn body_limit(&self) -> u32 {
        let written = match self.protocol {
            Some(Protocol::Mcp) => self.mcp.and_then(|mcp| mcp.max_body_bytes),
            Some(Protocol::JsonRpc) => self.json_rpc_max_body_bytes,
            _ => self.graphql_max_body_bytes,
        };
        written.filter(|bytes| *bytes > 0).unwrap_or(DEFAULT_BODY_BYTES)
    }

    /// The destination in words, for messages: `api.example.com:443/v1/**`.
    #[must_use]
    pub fn describe(&self) -> String {
        let host = self.host.as_ref().map_or("<any host>", HostPattern::as_str);
        let ports: Vec<String> = self.ports.iter().map(Port::to_string).collect();
        let path = self.path.as_ref().map_or("", PathGlob::as_str);
        format!("{host}:{}{path}", ports.join(","))
    }
}

impl Protocol {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Rest => "rest",
            Self::Websocket => "websocket",
            Self::Graphql => "graphql",
            Self::JsonRpc => "json-rpc",
            Self::Mcp => "mcp",
        }
    }
}

impl Tls {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Terminate => "terminate",
            Self::Passthrough => "passthrough",
        }
    }
}

impl Enforcement {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

impl Access {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
            Self::Full => "full",
        }
    }

    /// The methods that it stands for at an endpoint of HTTP requests; `*` is any.
    #[must_use]
    pub const fn methods(self, protocol: Option<Protocol>) -> &'static [&'static str] {
        match (self, protocol) {
            (Self::Full, _) => &["*"],
            (Self::ReadOnly, Some(Protocol::Websocket)) => &["GET"],
            (Self::ReadWrite, Some(Protocol::Websocket)) => &["GET", "WEBSOCKET_TEXT"],
            (Self::ReadOnly, _) => &["GET", "HEAD", "OPTIONS"],
            (Self::ReadWrite, _) => &["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH"],
        }
    }
}

impl PersistedQueries {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::AllowRegistered => "allow_registered",
        }
    }
}

impl CredentialSigning {
    /// As written in a policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SigV4 => "sigv4",
            Self::SigV4Body => "sigv4:body",
            Self::SigV4NoBody => "sigv4:no_body",
        }
    }
}
