//! What endpoints must agree on where they overlap.

use std::collections::BTreeSet;

use crate::document::{Cidr, CredentialSigning, Endpoint, Enforcement, Protocol, Tls};

/// How an endpoint wants its traffic read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reading {
    /// False where nothing is said about requests.
    is_read: bool,
    /// About the connection: must agree for every overlap of hosts and ports.
    connection: Vec<(&'static str, String)>,
    /// About requests: must agree where both speak for the same paths.
    requests: Vec<(&'static str, String)>,
}

impl Reading {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let is_read = endpoint.inspected().is_some()
            || !endpoint.allowed_ips.is_empty()
            || endpoint.tls.is_some()
            || endpoint.credential_binding.is_some();
        Self { is_read, connection: connection(endpoint), requests: requests(endpoint) }
    }

    /// What differs, in words.
    pub(super) fn differences(&self, other: &Self, same_scope: bool) -> Vec<String> {
        let requests = same_scope && self.is_read && other.is_read;
        let own = self.connection.iter().chain(self.requests.iter().filter(|_| requests));
        let others = other.connection.iter().chain(other.requests.iter().filter(|_| requests));
        own.zip(others).filter(|(a, b)| a.1 != b.1).map(|(a, b)| format!("{}={} vs {}", a.0, a.1, b.1)).collect()
    }
}

fn connection(endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let ips: BTreeSet<&Cidr> = endpoint.allowed_ips.iter().collect();
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    vec![
        ("protocol tcp", (endpoint.protocol == Some(Protocol::Tcp)).to_string()),
        ("tls", quoted(if endpoint.tls == Some(Tls::Skip) { "skip" } else { "auto" })),
        ("allowed_ips", format!("[{}]", ips.join(", "))),
    ]
}

fn requests(endpoint: &Endpoint) -> Vec<(&'static str, String)> {
    let mcp = endpoint.mcp.unwrap_or_default();
    vec![
        ("protocol", quoted(endpoint.protocol.map_or("", Protocol::as_str))),
        ("enforcement", quoted(endpoint.enforcement.unwrap_or(Enforcement::Enforce).as_str())),
        ("allow_encoded_slash", endpoint.allow_encoded_slash.to_string()),
        ("websocket_credential_rewrite", endpoint.websocket_credential_rewrite.to_string()),
        ("request_body_credential_rewrite", endpoint.request_body_credential_rewrite.to_string()),
        ("credential_signing", quoted(endpoint.credential_signing.map_or("", CredentialSigning::as_str))),
        ("signing_service", quoted(endpoint.signing_service.as_deref().unwrap_or_default())),
        ("signing_region", quoted(endpoint.signing_region.as_deref().unwrap_or_default())),
        ("credential_binding", quoted(endpoint.credential_binding.as_deref().unwrap_or_default())),
        ("max_body_bytes", endpoint.body_limit().to_string()),
        ("mcp.strict_tool_names", mcp.strict_tool_names.to_string()),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
