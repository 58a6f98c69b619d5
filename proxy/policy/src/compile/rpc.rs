//! Rules over JSON-RPC and MCP calls.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Number, Value};
use tollgate_inspect::jsonrpc::Call;
use tollgate_inspect::mcp::{self, Tool};

use super::EndpointId;
use super::http::Origin;
use crate::document::{AnyOf, ArgumentMatcher, Endpoint, Protocol, Rule};
use crate::glob::TextGlob;

/// What an endpoint says about calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct RpcRules {
    allow: CallRules,
    deny: CallRules,
    /// Every method is allowed; tools only where no rule names tools.
    all_methods: Option<Origin>,
    /// Tool names that could be taken for others are refused.
    pub(crate) strict_names: bool,
}

/// Rules of one side: exact methods by hash, the others in a row.
#[derive(Debug, Clone, Default)]
struct CallRules {
    methods: HashMap<Box<str>, Origin>,
    patterns: Vec<(TextGlob, Origin)>,
    tools: Vec<ToolRule>,
}

#[derive(Debug, Clone)]
struct ToolRule {
    /// Nothing means any tool.
    tool: Option<AnyOf>,
    arguments: Vec<(Box<str>, ArgumentMatcher)>,
    origin: Origin,
}

/// How many of the values that an argument holds must match.
#[derive(Debug, Clone, Copy)]
enum Quantity {
    All,
    Some,
}

impl RpcRules {
    pub(super) fn new(endpoint: &Endpoint, entry: &Arc<str>, id: EndpointId) -> Self {
        let options = endpoint.mcp.unwrap_or_default();
        let is_mcp = endpoint.protocol == Some(Protocol::Mcp);
        let origin = || Origin { text: "mcp: any method".into(), entry: entry.clone(), endpoint: id };
        Self {
            allow: CallRules::new(&endpoint.rules, entry, id),
            deny: CallRules::new(&endpoint.deny_rules, entry, id),
            all_methods: (is_mcp && options.allow_all_known_mcp_methods).then(origin),
            strict_names: is_mcp && options.strict_tool_names,
        }
    }

    /// A rule that allows the call.
    pub(crate) fn allowing(&self, call: &Call, tool: Option<Tool<'_>>) -> Option<&Origin> {
        let open = tool.is_none() || self.allow.tools.is_empty();
        let blanket = self.all_methods.as_ref().filter(|_| open);
        self.allow.find(call, tool, Quantity::All).or(blanket)
    }

    /// A rule that refuses the call.
    pub(crate) fn refusing(&self, call: &Call, tool: Option<Tool<'_>>) -> Option<&Origin> {
        self.deny.find(call, tool, Quantity::Some)
    }
}

impl CallRules {
    fn new(rules: &[Rule], entry: &Arc<str>, endpoint: EndpointId) -> Self {
        let mut compiled = Self::default();
        for rule in rules {
            let origin = Origin { text: in_words(rule).into(), entry: entry.clone(), endpoint };
            let arguments: Vec<_> =
                rule.arguments.iter().map(|(path, matcher)| (path.clone(), matcher.clone())).collect();
            match rule.method.as_deref() {
                _ if rule.tool.is_some() || !arguments.is_empty() => {
                    compiled.tools.push(ToolRule { tool: rule.tool.clone(), arguments, origin });
                }
                Some(method) => match TextGlob::parse(method) {
                    Ok(glob) if glob.literal().is_none() => compiled.patterns.push((glob, origin)),
                    _ => drop(compiled.methods.insert(method.into(), origin)),
                },
                None => {}
            }
        }
        compiled
    }

    fn find(&self, call: &Call, tool: Option<Tool<'_>>, quantity: Quantity) -> Option<&Origin> {
        let exact = self.methods.get(&*call.method);
        let pattern = || self.patterns.iter().find(|(glob, _)| glob.matches(&call.method)).map(|(_, origin)| origin);
        let by_tool =
            |tool: Tool<'_>| self.tools.iter().find(|rule| rule.matches(tool, quantity)).map(|rule| &rule.origin);
        exact.or_else(pattern).or_else(|| tool.and_then(by_tool))
    }
}

impl ToolRule {
    fn matches(&self, tool: Tool<'_>, quantity: Quantity) -> bool {
        let named = self.tool.as_ref().is_none_or(|globs| globs.matches(tool.name));
        named && self.arguments.iter().all(|(path, matcher)| argument(tool, path, matcher, quantity))
    }
}

/// An argument that is missing never matches.
fn argument(tool: Tool<'_>, path: &str, matcher: &ArgumentMatcher, quantity: Quantity) -> bool {
    let values = tool.arguments.map(|arguments| mcp::values(arguments, path)).unwrap_or_default();
    let one = |value: &&Value| match (matcher, value) {
        (ArgumentMatcher::Text(globs), Value::String(text)) => globs.matches(text),
        (ArgumentMatcher::Number(wanted), Value::Number(number)) => same_number(wanted, number),
        (ArgumentMatcher::Bool(wanted), Value::Bool(flag)) => wanted == flag,
        _ => false,
    };
    match quantity {
        Quantity::All => !values.is_empty() && values.iter().all(one),
        Quantity::Some => values.iter().any(one),
    }
}

/// `1` and `1.0` are the same number.
fn same_number(a: &Number, b: &Number) -> bool {
    a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64())
}

fn in_words(rule: &Rule) -> String {
    let mut text = rule.method.as_deref().unwrap_or(mcp::CALL).to_owned();
    if let Some(tool) = &rule.tool {
        let globs: Vec<&str> = tool.globs.iter().map(TextGlob::as_str).collect();
        text.push_str(&format!(" {}", globs.join("|")));
    }
    if !rule.arguments.is_empty() {
        let names: Vec<&str> = rule.arguments.keys().map(|name| &**name).collect();
        text.push_str(&format!(" with {}", names.join(", ")));
    }
    text
}
