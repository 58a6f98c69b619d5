//! Rules over method, path and query, found by path.

use std::ops::ControlFlow;
use std::sync::Arc;

use tollgate_inspect::query;

use super::methods::MethodSet;
use super::{EndpointId, index};
use crate::document::{Access, AnyOf, Protocol, Rule};
use crate::glob::{GlobMap, PathGlob};

/// The rules of one side (allow or deny) of a scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpRules {
    by_path: GlobMap<u32>,
    rules: Vec<HttpRule>,
}

/// One rule without its path.
#[derive(Debug, Clone)]
struct HttpRule {
    methods: MethodSet,
    query: Vec<(Box<str>, AnyOf)>,
    origin: Origin,
}

/// Where a rule comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The rule in words: `GET /v1/**`.
    pub(crate) text: Arc<str>,
    /// The key of the entry that holds it.
    pub(crate) entry: Arc<str>,
    /// The endpoint that holds it.
    pub(crate) endpoint: EndpointId,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpAsk<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl HttpRules {
    pub(super) fn push(&mut self, rule: &Rule, entry: &Arc<str>, endpoint: EndpointId) {
        let compiled = HttpRule {
            methods: MethodSet::written(rule.method.as_deref()),
            query: rule.query.iter().map(|(name, globs)| (name.clone(), globs.clone())).collect(),
            origin: Origin { text: in_words(rule).into(), entry: entry.clone(), endpoint },
        };
        self.insert(rule.path.as_ref(), compiled);
    }

    /// The rule that an access preset stands for.
    pub(super) fn push_access(
        &mut self,
        access: Access,
        protocol: Option<Protocol>,
        entry: &Arc<str>,
        endpoint: EndpointId,
    ) {
        let methods = preset_methods(access, protocol);
        let text = format!("access: {}", access.as_str()).into();
        let origin = Origin { text, entry: entry.clone(), endpoint };
        self.insert(None, HttpRule { methods, query: Vec::new(), origin });
    }

    /// True where a preset covers the method.
    pub(crate) fn preset_covers(access: Access, protocol: Protocol, method: &str) -> bool {
        preset_methods(access, Some(protocol)).contains(method)
    }

    /// True where the query is as a rule that allows asks for.
    pub(crate) fn query_allows(rule: &Rule, query: &str) -> bool {
        rule.query.iter().all(|(name, globs)| all_values(query, name, globs))
    }

    fn insert(&mut self, path: Option<&PathGlob>, rule: HttpRule) {
        let index = index(self.rules.len());
        self.rules.push(rule);
        match path {
            Some(path) => self.by_path.insert(path, index),
            None => self.by_path.insert_any(index),
        }
    }

    /// A rule that allows the request: each parameter that it names is there, with no other value than it accepts.
    pub(crate) fn allowing(&self, ask: HttpAsk<'_>) -> Option<&Origin> {
        self.find(ask, |rule| rule.query.iter().all(|(name, globs)| all_values(ask.query, name, globs)))
    }

    /// A rule that refuses the request: each parameter that it names is there, with at least one value that it refuses.
    pub(crate) fn refusing(&self, ask: HttpAsk<'_>) -> Option<&Origin> {
        self.find(ask, |rule| rule.query.iter().all(|(name, globs)| some_value(ask.query, name, globs)))
    }

    fn find(&self, ask: HttpAsk<'_>, holds: impl Fn(&HttpRule) -> bool) -> Option<&Origin> {
        let found = self.by_path.visit(ask.path, |index| {
            let rule = &self.rules[index as usize];
            match rule.methods.contains(ask.method) && holds(rule) {
                true => ControlFlow::Break(&rule.origin),
                false => ControlFlow::Continue(()),
            }
        });
        found.break_value()
    }
}

/// What an access preset covers.
fn preset_methods(access: Access, protocol: Option<Protocol>) -> MethodSet {
    match access {
        Access::Full => MethodSet::any(),
        _ => MethodSet::of(access.methods(protocol)),
    }
}

fn all_values(text: &str, name: &str, globs: &AnyOf) -> bool {
    let mut seen = false;
    for pair in query::pairs(text) {
        match pair {
            Ok((other, value)) if other == name => {
                if !globs.matches(&value) {
                    return false;
                }
                seen = true;
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    seen
}

/// Reads the query in both ways that servers do; what cannot be read counts as refused.
fn some_value(text: &str, name: &str, globs: &AnyOf) -> bool {
    let refused = |pair: Result<query::Pair<'_>, _>| match pair {
        Ok((other, value)) => other == name && globs.matches(&value),
        Err(_) => true,
    };
    query::pairs(text).any(refused) || (text.contains(';') && query::pairs_with_semicolons(text).any(refused))
}

fn in_words(rule: &Rule) -> String {
    let method = rule.method.as_deref().unwrap_or("*");
    let path = rule.path.as_ref().map_or("/**", PathGlob::as_str);
    if rule.query.is_empty() {
        return [method, " ", path].concat();
    }
    let query: Vec<String> = rule
        .query
        .iter()
        .map(|(name, globs)| {
            let globs: Vec<&str> = globs.globs.iter().map(crate::glob::TextGlob::as_str).collect();
            format!("{name}={}", globs.join("|"))
        })
        .collect();
    format!("{method} {path}?{}", query.join("&"))
}
