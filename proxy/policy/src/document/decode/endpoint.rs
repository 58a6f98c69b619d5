//! One endpoint: a destination and how its traffic is read.

use std::collections::BTreeMap;

use super::request_path::request_path;
use super::rule::{OPERATIONS, allow_rule, rule};
use crate::document::{
    Access, Cidr, CredentialSigning, Endpoint, Enforcement, McpOptions, PersistedQueries, Protocol, RegisteredQuery,
    Tls,
};
use crate::hosts::{HostPattern, HostPatternError};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{Node, Value};
use tollgate_model::Port;

const FIELDS: &[&str] = &[
    "host",
    "path",
    "port",
    "ports",
    "protocol",
    "tls",
    "enforcement",
    "access",
    "rules",
    "allowed_ips",
    "deny_rules",
    "allow_encoded_slash",
    "websocket_credential_rewrite",
    "request_body_credential_rewrite",
    "allow_uninspected_credentials",
    "persisted_queries",
    "graphql_persisted_queries",
    "graphql_max_body_bytes",
    "credential_signing",
    "signing_service",
    "signing_region",
    "credential_binding",
    "json_rpc",
    "mcp",
];

/// The most that may be held in memory to judge one body.
const MAX_BODY_BYTES: i64 = 16 << 20;

pub(super) fn endpoint(reader: &mut Reader, node: &Node) -> Option<Endpoint> {
    let fields = reader.fields(node, "an endpoint", FIELDS)?;
    let mut endpoint = Endpoint { at: node.at, places: places(&fields), ..Endpoint::default() };
    destination(reader, &fields, &mut endpoint);
    reading(reader, &fields, &mut endpoint);
    permissions(reader, &fields, &mut endpoint);
    flags(reader, &fields, &mut endpoint);
    credentials(reader, &fields, &mut endpoint);
    graphql(reader, &fields, &mut endpoint);
    rpc(reader, &fields, &mut endpoint);
    Some(endpoint)
}

fn places(fields: &Fields<'_>) -> BTreeMap<&'static str, crate::diagnostic::Position> {
    let known = |text: &str| FIELDS.iter().find(|field| **field == text).copied();
    fields.pairs().iter().filter_map(|(key, _)| Some((known(&key.text)?, key.at))).collect()
}

fn destination(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    endpoint.host = fields.get("host").and_then(|node| host(reader, node));
    endpoint.ports = ports(reader, fields);
    endpoint.path = fields.get("path").and_then(|node| request_path(reader, node, "`path`"));
    if let Some(node) = fields.get("allowed_ips") {
        endpoint.allowed_ips = reader.each(node, "`allowed_ips`", |reader, item| {
            let text = reader.word(item, "an address")?;
            text.parse::<Cidr>().map_err(|error| drop(reader.error(item.at, format!("`{text}`: {error}")))).ok()
        });
    }
}

pub(super) fn host(reader: &mut Reader, node: &Node) -> Option<HostPattern> {
    let text = reader.text(node, "`host`")?;
    if text.trim().is_empty() {
        return None;
    }
    let error = match HostPattern::parse(text) {
        Ok(pattern) => return Some(pattern),
        Err(error) => error,
    };
    let hint = match error {
        HostPatternError::Url => "write only the name, for example `api.example.com`",
        HostPatternError::Port => "write the port in `port`",
        HostPatternError::TooBroad => "write at least `*.example.com`",
        HostPatternError::Address => "write one address, or use `allowed_ips`",
        HostPatternError::Misplaced | HostPatternError::MisplacedDeep => "write `*.example.com` or `**.example.com`",
        HostPatternError::Host(_) | HostPatternError::Glob(_) => "write a host name such as `api.example.com`",
    };
    reader.error(node.at, format!("the host `{text}`: {error}")).hint(hint);
    None
}

fn ports(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Port> {
    match (fields.get("port"), fields.get("ports")) {
        (Some(_), Some(both)) => {
            reader.error(both.at, "`port` and `ports` stand together").hint("keep one of them");
            Vec::new()
        }
        (Some(one), None) => reader.port(one, "`port`").into_iter().collect(),
        (None, Some(many)) => reader.each(many, "`ports`", |reader, item| reader.port(item, "a port")),
        (None, None) => Vec::new(),
    }
}

fn reading(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    endpoint.protocol = fields.get("protocol").and_then(|node| protocol(reader, node));
    let tls = [
        ("skip", Some(Tls::Skip)),
        ("terminate", Some(Tls::Terminate)),
        ("passthrough", Some(Tls::Passthrough)),
        ("", None),
    ];
    endpoint.tls = fields.get("tls").and_then(|node| reader.one_of(node, "`tls`", &tls).flatten());
    if let (Some(old @ (Tls::Terminate | Tls::Passthrough)), Some(node)) = (endpoint.tls, fields.get("tls")) {
        reader
            .warning(node.at, format!("`tls: {}` is an older spelling of automatic TLS", old.as_str()))
            .hint("leave the field out");
    }
    let enforcement = [("enforce", Some(Enforcement::Enforce)), ("audit", Some(Enforcement::Audit)), ("", None)];
    endpoint.enforcement =
        fields.get("enforcement").and_then(|node| reader.one_of(node, "`enforcement`", &enforcement).flatten());
}

/// Protocol names are read in any case, since `GraphQL` is how people write it.
fn protocol(reader: &mut Reader, node: &Node) -> Option<Protocol> {
    let words = [
        ("rest", Some(Protocol::Rest)),
        ("websocket", Some(Protocol::Websocket)),
        ("graphql", Some(Protocol::Graphql)),
        ("json-rpc", Some(Protocol::JsonRpc)),
        ("mcp", Some(Protocol::Mcp)),
        ("tcp", Some(Protocol::Tcp)),
        ("", None),
    ];
    let text = reader.text(node, "`protocol`")?.to_ascii_lowercase();
    if text == "sql" {
        reader.error(node.at, "`protocol: sql` is not inspected").hint("use `protocol: tcp` to allow the connection");
        return None;
    }
    let lower = Node { at: node.at, value: Value::Text(text.into()) };
    reader.one_of(&lower, "`protocol`", &words).flatten()
}

fn permissions(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    let access = [
        ("read-only", Some(Access::ReadOnly)),
        ("read-write", Some(Access::ReadWrite)),
        ("full", Some(Access::Full)),
        ("", None),
    ];
    endpoint.access = fields.get("access").and_then(|node| reader.one_of(node, "`access`", &access).flatten());
    if let Some(node) = fields.get("rules") {
        endpoint.rules = reader.each(node, "`rules`", allow_rule);
    }
    if let Some(node) = fields.get("deny_rules") {
        endpoint.deny_rules = reader.each(node, "`deny_rules`", rule);
        refuse_empty(reader, node, "`deny_rules`");
    }
}

fn refuse_empty(reader: &mut Reader, node: &Node, what: &str) {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        reader.error(node.at, format!("{what} is empty")).hint("leave it out");
    }
}

fn flags(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    let mut flag = |name: &str| fields.get(name).is_some_and(|node| reader.flag(node, &format!("`{name}`")));
    endpoint.allow_encoded_slash = flag("allow_encoded_slash");
    endpoint.websocket_credential_rewrite = flag("websocket_credential_rewrite");
    endpoint.request_body_credential_rewrite = flag("request_body_credential_rewrite");
    endpoint.allow_uninspected_credentials = flag("allow_uninspected_credentials");
}

fn credentials(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    let signing = [
        ("sigv4", Some(CredentialSigning::SigV4)),
        ("sigv4:body", Some(CredentialSigning::SigV4Body)),
        ("sigv4:no_body", Some(CredentialSigning::SigV4NoBody)),
        ("", None),
    ];
    endpoint.credential_signing = fields
        .get("credential_signing")
        .and_then(|node| reader.one_of(node, "`credential_signing`", &signing).flatten());
    let mut text = |name: &str| {
        let node = fields.get(name)?;
        reader.text(node, &format!("`{name}`")).filter(|text| !text.is_empty()).map(Box::from)
    };
    endpoint.signing_service = text("signing_service");
    endpoint.signing_region = text("signing_region");
    endpoint.credential_binding = fields.get("credential_binding").and_then(|node| {
        let fields = reader.fields(node, "`credential_binding`", &["provider"])?;
        let Some(node) = fields.get("provider") else {
            reader.error(fields.at, "`credential_binding` needs `provider`");
            return None;
        };
        reader.word(node, "`provider`").map(Box::from)
    });
}

fn graphql(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    let words = [
        ("deny", Some(PersistedQueries::Deny)),
        ("allow_registered", Some(PersistedQueries::AllowRegistered)),
        ("", None),
    ];
    endpoint.persisted_queries =
        fields.get("persisted_queries").and_then(|node| reader.one_of(node, "`persisted_queries`", &words).flatten());
    if let Some(node) = fields.get("graphql_persisted_queries") {
        for (key, node) in reader.map(node, "`graphql_persisted_queries`") {
            if let Some(query) = registered(reader, node) {
                endpoint.graphql_persisted_queries.insert(key.text.clone(), query);
            }
        }
    }
    endpoint.graphql_max_body_bytes =
        fields.get("graphql_max_body_bytes").and_then(|node| body_bytes(reader, node, "`graphql_max_body_bytes`"));
}

fn registered(reader: &mut Reader, node: &Node) -> Option<RegisteredQuery> {
    let fields = reader.fields(node, "a registered query", &["operation_type", "operation_name", "fields"])?;
    let Some(kind) = fields.get("operation_type") else {
        reader.error(fields.at, "a registered query needs `operation_type`");
        return None;
    };
    let operations = &OPERATIONS[..3];
    Some(RegisteredQuery {
        operation_type: reader.one_of(kind, "`operation_type`", operations)?,
        operation_name: fields
            .get("operation_name")
            .and_then(|node| reader.word(node, "`operation_name`"))
            .map(Box::from),
        fields: match fields.get("fields") {
            Some(node) => reader.each(node, "`fields`", |reader, item| reader.word(item, "a field").map(Box::from)),
            None => Vec::new(),
        },
    })
}

/// 0 stands for the default.
fn body_bytes(reader: &mut Reader, node: &Node, what: &str) -> Option<u32> {
    let bytes = reader.number(node, what, 0..=MAX_BODY_BYTES)?;
    u32::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

fn rpc(reader: &mut Reader, fields: &Fields<'_>, endpoint: &mut Endpoint) {
    let limit = |reader: &mut Reader, fields: &Fields<'_>| {
        fields.get("max_body_bytes").and_then(|node| body_bytes(reader, node, "`max_body_bytes`"))
    };
    if let Some(node) = fields.get("json_rpc") {
        let options = reader.fields(node, "`json_rpc`", &["max_body_bytes"]);
        endpoint.json_rpc_max_body_bytes = options.and_then(|options| limit(reader, &options));
    }
    let Some(node) = fields.get("mcp") else { return };
    let known = ["max_body_bytes", "strict_tool_names", "allow_all_known_mcp_methods"];
    let Some(options) = reader.fields(node, "`mcp`", &known) else { return };
    let flag = |reader: &mut Reader, name: &str, default: bool| match options.get(name) {
        Some(node) => reader.flag(node, &format!("`{name}`")),
        None => default,
    };
    endpoint.mcp = Some(McpOptions {
        max_body_bytes: limit(reader, &options),
        strict_tool_names: flag(reader, "strict_tool_names", true),
        allow_all_known_mcp_methods: flag(reader, "allow_all_known_mcp_methods", false),
    });
}
