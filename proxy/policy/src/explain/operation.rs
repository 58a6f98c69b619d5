//! The narrowest rules that allow exactly what is asked.

use tollgate_inspect::graphql::{self, Kind, Operation, Request};
use tollgate_inspect::jsonrpc::{self, Frame};
use tollgate_inspect::mcp;
use tollgate_model::{CanonicalPath, EncodedSlash};

use crate::document::{AnyOf, OperationKind, Protocol, Rule};
use crate::glob::{PathGlob, TextGlob};
use crate::question::RequestWords;

/// Rules for a request as an endpoint of this protocol reads it; nothing where it cannot be read.
pub(super) fn rules(protocol: Protocol, request: &RequestWords) -> Option<Vec<Rule>> {
    let body = request.body.as_deref().unwrap_or_default();
    match protocol {
        Protocol::Rest | Protocol::Websocket => Some(vec![http(request)?]),
        Protocol::Graphql if request.method == "GET" => {
            let (_, query) = request.path.split_once('?')?;
            operations(&[graphql::from_query(query).ok()?])
        }
        Protocol::Graphql => operations(&graphql::from_body(body.as_bytes()).ok()?),
        Protocol::JsonRpc | Protocol::Mcp => calls(protocol, body),
        Protocol::Tcp => None,
    }
}

fn http(request: &RequestWords) -> Option<Rule> {
    let path = request.path.split('?').next().unwrap_or_default();
    let path = CanonicalPath::parse(path, EncodedSlash::Keep).ok()?;
    // The only character that is literal in a canonical path and special in a glob.
    let glob = PathGlob::parse(&path.as_str().replace('*', "\\*")).ok()?;
    Some(Rule { method: Some(request.method.as_str().into()), path: Some(glob), ..Rule::default() })
}

fn operations(requests: &[Request]) -> Option<Vec<Rule>> {
    let one = |request: &Request| match request {
        Request::Operation(operation) => operation_rule(operation),
        Request::Persisted(_) => None,
    };
    requests.iter().map(one).collect()
}

fn operation_rule(operation: &Operation) -> Option<Rule> {
    let kind = match operation.kind {
        Kind::Query => OperationKind::Query,
        Kind::Mutation => OperationKind::Mutation,
        Kind::Subscription => OperationKind::Subscription,
    };
    let fields = operation.fields.iter().map(|field| TextGlob::parse(field).ok()).collect::<Option<_>>()?;
    Some(Rule { operation_type: Some(kind), fields, ..Rule::default() })
}

fn calls(protocol: Protocol, body: &str) -> Option<Vec<Rule>> {
    let frames = jsonrpc::read(body.as_bytes()).ok()?;
    let mut rules = Vec::new();
    for frame in &frames {
        let Frame::Call(call) = frame else { continue };
        let tool = match protocol {
            Protocol::Mcp => mcp::tool(call).ok()?,
            _ => None,
        };
        rules.push(match tool {
            Some(tool) => {
                Rule { tool: Some(AnyOf { globs: vec![TextGlob::parse(tool.name).ok()?] }), ..Rule::default() }
            }
            None => Rule { method: Some(call.method.as_str().into()), ..Rule::default() },
        });
    }
    Some(rules)
}
