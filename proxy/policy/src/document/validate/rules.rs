//! One rule and its protocol, and the rules of one endpoint together.

use super::Report;
use super::endpoint::any_path;
use crate::diagnostic::Diagnostics;
use crate::document::{Endpoint, Protocol, Rule};

/// Whether a rule allows or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Allow,
    Deny,
}

/// The method that stands for one text message of a WebSocket.
const TEXT_MESSAGE: &str = "WEBSOCKET_TEXT";

/// The MCP method that calls a tool.
const CALL: &str = "tools/call";

pub(super) fn rule(endpoint: &Endpoint, protocol: Protocol, rule: &Rule, side: Side, found: &mut Diagnostics) {
    match protocol {
        Protocol::Rest => {
            only(rule, &[Part::Http], "rest", found);
            http_method(rule, found);
        }
        Protocol::Websocket => websocket(rule, found),
        Protocol::Graphql => {
            only(rule, &[Part::Graphql], "graphql", found);
            if rule.operation_type.is_none() {
                found.error_with(
                    rule.at,
                    "a graphql rule needs `operation_type`",
                    "write query, mutation, subscription or \"*\"",
                );
            }
        }
        Protocol::JsonRpc => {
            only(rule, &[Part::Method], "json-rpc", found);
            json_rpc_method(rule, found);
        }
        Protocol::Mcp => mcp(endpoint, rule, side, found),
        Protocol::Tcp => {}
    }
}

/// True for a rule that allows whatever HTTP can say.
pub(super) fn allows_everything(rule: &Rule) -> bool {
    let http_only = rule.query.is_empty() && !has(rule, Part::Graphql) && !has(rule, Part::Tool);
    rule.method.as_deref().is_none_or(|method| method == "*") && any_path(rule.path.as_ref()) && http_only
}

/// Groups of fields that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `method`, `path`, `query`.
    Http,
    /// `method` alone.
    Method,
    /// `operation_type`, `operation_name`, `fields`.
    Graphql,
    /// `tool`, `params`.
    Tool,
}

fn has(rule: &Rule, part: Part) -> bool {
    match part {
        Part::Http => rule.method.is_some() || rule.path.is_some() || !rule.query.is_empty(),
        Part::Method => rule.method.is_some(),
        Part::Graphql => rule.operation_type.is_some() || rule.operation_name.is_some() || !rule.fields.is_empty(),
        Part::Tool => rule.tool.is_some() || !rule.arguments.is_empty(),
    }
}

fn only(rule: &Rule, parts: &[Part], protocol: &str, found: &mut Diagnostics) {
    let mut refuse = |fields: &str| {
        let message = format!("{fields} cannot be judged with `protocol: {protocol}`");
        found.error_with(rule.at, message, "move the rule to an endpoint of the right protocol");
    };
    let method_only = parts.contains(&Part::Method);
    if method_only && (rule.path.is_some() || !rule.query.is_empty()) {
        refuse("`path` and `query`");
    }
    if !method_only && !parts.contains(&Part::Http) && has(rule, Part::Http) {
        refuse("`method`, `path` and `query`");
    }
    if !parts.contains(&Part::Graphql) && has(rule, Part::Graphql) {
        refuse("GraphQL operations");
    }
    if !parts.contains(&Part::Tool) && has(rule, Part::Tool) {
        refuse("`tool` and `params`");
    }
}

fn http_method(rule: &Rule, found: &mut Diagnostics) {
    let Some(method) = rule.method.as_deref() else { return };
    if method != "*" && tollgate_model::Method::parse(method).is_err() {
        found.error_with(rule.at, format!("`{method}` is not an HTTP method"), "write a method such as GET, or \"*\"");
    }
    if method != "*" && method.contains('*') {
        found.error_with(rule.at, format!("`{method}`: a method has no wildcards"), "list each method, or write \"*\"");
    }
}

fn websocket(rule: &Rule, found: &mut Diagnostics) {
    only(rule, &[Part::Http, Part::Graphql], "websocket", found);
    if has(rule, Part::Http) && has(rule, Part::Graphql) {
        found.error_with(rule.at, "a websocket rule is about HTTP or about GraphQL, not both", "write two rules");
    }
    let known =
        |method: &str| method == "*" || method.eq_ignore_ascii_case("GET") || method.eq_ignore_ascii_case(TEXT_MESSAGE);
    if rule.method.as_deref().is_some_and(|method| !known(method)) {
        found.error_with(rule.at, "a websocket knows only GET and WEBSOCKET_TEXT", "write one of them, or \"*\"");
    }
    if has(rule, Part::Graphql) && rule.operation_type.is_none() {
        found.error_with(
            rule.at,
            "a GraphQL rule needs `operation_type`",
            "write query, mutation, subscription or \"*\"",
        );
    }
}

fn json_rpc_method(rule: &Rule, found: &mut Diagnostics) {
    match rule.method.as_deref() {
        None => found.error_with(rule.at, "a json-rpc rule needs `method`", "write the exact method, or \"*\""),
        Some("*") => {}
        Some(method) if is_glob(method) => {
            found.error_with(rule.at, format!("`{method}`: json-rpc methods are exact or \"*\""), "list each method");
        }
        Some(_) => {}
    }
}

fn mcp(endpoint: &Endpoint, rule: &Rule, side: Side, found: &mut Diagnostics) {
    only(rule, &[Part::Method, Part::Tool], "mcp", found);
    let options = endpoint.mcp.unwrap_or_default();
    match rule.method.as_deref() {
        None if !has(rule, Part::Tool) => {
            found.error_with(rule.at, "an mcp rule needs `method` or `tool`", "write `method: tools/list`")
        }
        None => {}
        Some("*") => found.error_with(
            rule.at,
            "`method: \"*\"` is not accepted for mcp",
            "use `mcp: {allow_all_known_mcp_methods: true}`",
        ),
        Some(method) if is_glob(method) && !method.starts_with("tools/") => {
            found.error_with(
                rule.at,
                format!("`{method}`: globs are accepted only below `tools/`"),
                "list each method",
            );
        }
        Some(method) if is_glob(method) && crate::glob::TextGlob::parse(method).is_err() => {
            found.error(rule.at, format!("`{method}` cannot be read as a glob"));
        }
        Some(method) if has(rule, Part::Tool) && method != CALL => {
            found.error_with(rule.at, "`tool` and `params` belong to `tools/call`", "write `method: tools/call`");
        }
        Some(_) => {}
    }
    let wildcard_tool = rule.tool.as_ref().is_some_and(|tool| tool.globs.iter().any(|glob| glob.literal().is_none()));
    if wildcard_tool && !options.strict_tool_names && side == Side::Allow {
        found.error_with(
            rule.at,
            "a tool pattern needs strict tool names, or it matches names that look like others",
            "remove `strict_tool_names: false`, or list each tool",
        );
    }
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Rules of one endpoint that contradict each other.
pub(super) fn together(endpoint: &Endpoint, protocol: Protocol, found: &mut Diagnostics) {
    match protocol {
        Protocol::Mcp => {
            broad_and_narrow(&endpoint.rules, found);
            broad_and_narrow(&endpoint.deny_rules, found);
            if endpoint.host.is_none() {
                found.error_with(endpoint.at, "an mcp endpoint needs `host`", "name the server");
            }
        }
        Protocol::Websocket => {
            let graphql = endpoint.rules.iter().any(|rule| has(rule, Part::Graphql));
            let text = |rule: &&Rule| rule.method.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(TEXT_MESSAGE));
            if let Some(rule) = endpoint.rules.iter().find(text).filter(|_| graphql) {
                found.error_with(
                    rule.at,
                    "WEBSOCKET_TEXT next to GraphQL rules would allow every message",
                    "keep one of them",
                );
            }
        }
        _ => {}
    }
}

/// A rule for `tools/call` as a whole makes rules for single tools pointless.
fn broad_and_narrow(rules: &[Rule], found: &mut Diagnostics) {
    let narrow = rules.iter().any(|rule| has(rule, Part::Tool));
    let covers_calls = |rule: &&Rule| {
        !has(rule, Part::Tool)
            && rule.method.as_deref().is_some_and(|method| {
                method == CALL || crate::glob::TextGlob::parse(method).is_ok_and(|glob| glob.matches(CALL))
            })
    };
    if let Some(rule) = rules.iter().find(covers_calls).filter(|_| narrow) {
        found.error_with(
            rule.at,
            "this rule covers every tool, so the rules for single tools have no effect",
            "keep one kind",
        );
    }
}
