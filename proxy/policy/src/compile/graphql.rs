//! Rules over GraphQL operations.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_inspect::graphql::{Kind, Operation};

use super::EndpointId;
use super::http::Origin;
use crate::document::{Access, Endpoint, OperationKind, PersistedQueries, RegisteredQuery, Rule};
use crate::glob::TextGlob;

/// What an endpoint says about GraphQL operations.
#[derive(Debug, Clone, Default)]
pub(crate) struct GraphqlRules {
    allow: Vec<OperationRule>,
    deny: Vec<OperationRule>,
    /// Persisted operations that may be named by id alone.
    registry: HashMap<Box<str>, Operation>,
}

#[derive(Debug, Clone)]
struct OperationRule {
    kind: OperationKind,
    name: Option<TextGlob>,
    fields: Vec<TextGlob>,
    origin: Origin,
}

impl GraphqlRules {
    pub(super) fn new(endpoint: &Endpoint, entry: &Arc<str>, id: EndpointId) -> Self {
        let preset = endpoint.access.into_iter().flat_map(|access| preset(access, entry, id));
        let rules = |rules: &[Rule]| -> Vec<OperationRule> {
            rules.iter().filter_map(|rule| OperationRule::new(rule, entry, id)).collect()
        };
        let known = endpoint.graphql_persisted_queries.iter();
        let registered = endpoint.persisted_queries == Some(PersistedQueries::AllowRegistered);
        Self {
            allow: preset.chain(rules(&endpoint.rules)).collect(),
            deny: rules(&endpoint.deny_rules),
            registry: known.filter(|_| registered).map(|(id, query)| (id.clone(), operation(query))).collect(),
        }
    }

    /// True where nothing is said about operations.
    pub(crate) fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// True where some rule allows operations.
    pub(crate) fn allows_any(&self) -> bool {
        !self.allow.is_empty()
    }

    /// The persisted operation of that id.
    pub(crate) fn registered(&self, id: &str) -> Option<&Operation> {
        self.registry.get(id)
    }

    /// A rule that allows the operation: every root field is among those that it names.
    pub(crate) fn allowing(&self, operation: &Operation) -> Option<&Origin> {
        let all =
            |rule: &&OperationRule| rule.fields.is_empty() || operation.fields.iter().all(|field| rule.names(field));
        self.allow.iter().filter(|rule| rule.is_about(operation)).find(all).map(|rule| &rule.origin)
    }

    /// A rule that refuses the operation: any root field is among those that it names.
    pub(crate) fn refusing(&self, operation: &Operation) -> Option<&Origin> {
        let some =
            |rule: &&OperationRule| rule.fields.is_empty() || operation.fields.iter().any(|field| rule.names(field));
        self.deny.iter().filter(|rule| rule.is_about(operation)).find(some).map(|rule| &rule.origin)
    }
}

impl OperationRule {
    /// Nothing for a rule that is not about GraphQL, as a WebSocket endpoint may hold.
    fn new(rule: &Rule, entry: &Arc<str>, endpoint: EndpointId) -> Option<Self> {
        let kind = rule.operation_type?;
        let mut text = format!("graphql {}", kind.as_str());
        if let Some(name) = &rule.operation_name {
            text.push_str(&format!(" {name}"));
        }
        if !rule.fields.is_empty() {
            let fields: Vec<&str> = rule.fields.iter().map(TextGlob::as_str).collect();
            text.push_str(&format!(" {{{}}}", fields.join(", ")));
        }
        Some(Self {
            kind,
            name: rule.operation_name.clone(),
            fields: rule.fields.clone(),
            origin: Origin { text: text.into(), entry: entry.clone(), endpoint },
        })
    }

    fn is_about(&self, operation: &Operation) -> bool {
        let kind = match self.kind {
            OperationKind::Any => true,
            OperationKind::Query => operation.kind == Kind::Query,
            OperationKind::Mutation => operation.kind == Kind::Mutation,
            OperationKind::Subscription => operation.kind == Kind::Subscription,
        };
        let named = |glob: &TextGlob| operation.name.as_deref().is_some_and(|name| glob.matches(name));
        kind && self.name.as_ref().is_none_or(named)
    }

    fn names(&self, field: &str) -> bool {
        self.fields.iter().any(|glob| glob.matches(field))
    }
}

fn preset(access: Access, entry: &Arc<str>, endpoint: EndpointId) -> Vec<OperationRule> {
    let kinds: &[OperationKind] = match access {
        Access::ReadOnly => &[OperationKind::Query],
        Access::ReadWrite => &[OperationKind::Query, OperationKind::Mutation],
        Access::Full => &[OperationKind::Any],
    };
    let origin = Origin { text: format!("access: {}", access.as_str()).into(), entry: entry.clone(), endpoint };
    let rule =
        |kind: &OperationKind| OperationRule { kind: *kind, name: None, fields: Vec::new(), origin: origin.clone() };
    kinds.iter().map(rule).collect()
}

fn operation(query: &RegisteredQuery) -> Operation {
    Operation {
        kind: match query.operation_type {
            OperationKind::Mutation => Kind::Mutation,
            OperationKind::Subscription => Kind::Subscription,
            OperationKind::Query | OperationKind::Any => Kind::Query,
        },
        name: query.operation_name.as_deref().map(str::to_owned),
        fields: query.fields.iter().map(ToString::to_string).collect(),
    }
}
