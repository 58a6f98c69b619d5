//! Operations inside bodies: GraphQL, JSON-RPC, MCP. Each must pass on its own; one refusal refuses the whole.

use tollgate_inspect::graphql::{self, Kind, Operation, Request};
use tollgate_inspect::jsonrpc::{self, Call, Frame};
use tollgate_inspect::mcp::{self, Tool};

use super::payload::{Payload, refuse_parameters};
use super::reason::{Reason, Unreadable};
use super::request::Judged;
use super::verdict::{BodyNeed, Decision};
use crate::compile::{Origin, Scope};
use crate::document::Protocol;

impl<'p> Judged<'_, 'p> {
    /// A request for one or more GraphQL operations.
    pub(super) fn graphql(&self, first: &Scope, payload: Option<Payload<'_>>) -> Decision {
        let query = self.ask.query.unwrap_or_default();
        let limit = first.reading.body_limit;
        let requests = match (self.ask.method.as_str(), payload) {
            ("GET", _) => graphql::from_query(query).map(|request| vec![request]).map_err(Unreadable::from),
            ("POST", None) => return Decision::NeedsBody(BodyNeed { limit, protocol: Protocol::Graphql }),
            ("POST", Some(payload)) => refuse_parameters(query)
                .and_then(|()| payload.readable(limit))
                .and_then(|body| Ok(graphql::from_body(body)?)),
            _ => Err(Unreadable::Method),
        };
        match requests {
            Err(why) => self.deny(Reason::Unreadable { protocol: Protocol::Graphql, why }),
            Ok(requests) => self.every(first, &requests, |request| self.graphql_request(request)),
        }
    }

    /// One GraphQL operation, given by text or by id.
    pub(super) fn graphql_request(&self, request: &Request) -> Result<&'p Origin, Reason> {
        let operation = match request {
            Request::Operation(operation) => operation,
            Request::Persisted(id) => self
                .authoritative()
                .find_map(|scope| scope.graphql.registered(id))
                .ok_or(Reason::GraphqlNotRegistered)?,
        };
        if let Some(rule) = self.rules_of(|scope| &scope.graphql).find_map(|rules| rules.refusing(operation)) {
            let rule = rule.text.clone();
            return Err(Reason::GraphqlDenyRule { operation: in_words(operation), rule });
        }
        let allowing = |scope: &'p Scope| scope.graphql.allowing(operation);
        self.authoritative()
            .find_map(allowing)
            .ok_or_else(|| Reason::GraphqlNotPermitted { operation: in_words(operation) })
    }

    /// One or more JSON-RPC calls, of which MCP ones may call tools.
    pub(super) fn rpc(&self, first: &Scope, protocol: Protocol, payload: Option<Payload<'_>>) -> Decision {
        let limit = first.reading.body_limit;
        let unreadable = |why| self.deny(Reason::Unreadable { protocol, why });
        let body = match (self.ask.method.as_str(), protocol, payload) {
            ("POST", _, None) | ("GET", Protocol::Mcp, None) => {
                return Decision::NeedsBody(BodyNeed { limit, protocol });
            }
            ("GET", Protocol::Mcp, Some(payload)) if payload.is_event_stream() => {
                return self.allow(first, &first.own_origin("mcp: event stream"));
            }
            ("GET", Protocol::Mcp, Some(_)) => return unreadable(Unreadable::NotAStream),
            ("POST", _, Some(payload)) => payload.readable(limit),
            _ => Err(Unreadable::Method),
        };
        let frames = match body.and_then(|body| Ok(jsonrpc::read(body)?)) {
            Ok(frames) => frames,
            Err(why) => return unreadable(why),
        };
        let mut calls = Vec::new();
        for frame in &frames {
            match (frame, protocol) {
                (Frame::Call(call), _) => match self.tool(call, protocol) {
                    Ok(tool) => calls.push((call, tool)),
                    Err(reason) => return self.deny(reason),
                },
                (Frame::Response, Protocol::Mcp) => {}
                (Frame::Response, _) => return self.deny(Reason::ResponseFrame),
            }
        }
        if calls.is_empty() {
            return self.allow(first, &first.own_origin("mcp: response"));
        }
        self.every(first, &calls, |(call, tool)| self.call(call, *tool))
    }

    /// The tool that a call means, with a name that is no other's.
    fn tool<'c>(&self, call: &'c Call, protocol: Protocol) -> Result<Option<Tool<'c>>, Reason> {
        if protocol != Protocol::Mcp {
            return Ok(None);
        }
        let tool = mcp::tool(call).map_err(|why| Reason::Unreadable { protocol, why: why.into() })?;
        let strict = self.authoritative().any(|scope| scope.rpc.strict_names);
        match tool {
            Some(tool) if strict && !mcp::is_strict_name(tool.name) => Err(Reason::ToolName),
            tool => Ok(tool),
        }
    }

    fn call(&self, call: &Call, tool: Option<Tool<'_>>) -> Result<&'p Origin, Reason> {
        let operation = || match tool {
            Some(tool) => format!("{} {}", call.method, tool.name),
            None => call.method.clone(),
        };
        if let Some(rule) = self.rules_of(|scope| &scope.rpc).find_map(|rules| rules.refusing(call, tool)) {
            return Err(Reason::DenyRule { operation: operation(), rule: rule.text.clone() });
        }
        let allowing = |scope: &'p Scope| scope.rpc.allowing(call, tool);
        self.authoritative().find_map(allowing).ok_or_else(|| Reason::NotPermitted { operation: operation() })
    }

    /// Allows by the rule of the first operation, once every one of them has a rule.
    fn every<T>(&self, first: &Scope, items: &[T], judge: impl Fn(&T) -> Result<&'p Origin, Reason>) -> Decision {
        let mut by = None;
        for item in items {
            match judge(item) {
                Ok(origin) => by = by.or(Some(origin)),
                Err(reason) => return self.refuse(first, reason),
            }
        }
        match by {
            Some(origin) => self.allow(first, origin),
            None => self.deny(Reason::NotPermitted { operation: self.in_words() }),
        }
    }

    /// One kind of rules of every scope that reads the request, authoritative or not: any deny rule wins.
    fn rules_of<R: 'p>(&self, rules: impl Fn(&'p Scope) -> &'p R) -> impl Iterator<Item = &'p R> {
        self.readers().map(rules)
    }
}

/// `mutation IssueX {createIssue}`.
fn in_words(operation: &Operation) -> String {
    let kind = match operation.kind {
        Kind::Query => "query",
        Kind::Mutation => "mutation",
        Kind::Subscription => "subscription",
    };
    let name = operation.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    format!("{kind}{name} {{{}}}", operation.fields.join(", "))
}
