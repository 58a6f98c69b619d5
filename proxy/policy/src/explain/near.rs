//! Endpoints that miss a request by little.

use serde::Serialize;
use tollgate_model::{Authority, CanonicalPath, EncodedSlash};

use crate::compile::{CallerSet, HttpRules, MethodSet};
use crate::decide::Conditions as _;
use crate::document::{Document, Endpoint, Entry, Protocol, Rule};
use crate::glob::PathGlob;
use crate::question::{Question, RequestWords};

/// An endpoint and what keeps it from speaking for the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The key of its entry.
    pub policy: String,
    /// Its destination.
    pub endpoint: String,
    /// The line where it stands.
    pub line: u32,
    /// What does not match, each in words.
    pub misses: Vec<String>,
}

/// More than these things apart is not near.
const NEAR: usize = 2;

/// What is shown at most: the nearest.
const SHOWN: usize = 20;

pub(super) fn misses(document: &Document, question: &Question) -> Vec<NearMiss> {
    let Ok(authority) = question.authority() else { return Vec::new() };
    let mut all: Vec<NearMiss> = Vec::new();
    for (key, entry) in &document.network_policies {
        for endpoint in &entry.endpoints {
            let misses = misses_of(entry, endpoint, question, &authority);
            let near = (1..=NEAR).contains(&misses.len());
            let neighbour = || misses.len() == 1 && is_neighbour(endpoint, &authority);
            if near && (endpoint_covers(endpoint, &authority) || neighbour()) {
                let (policy, endpoint_text) = (key.to_string(), endpoint.describe());
                all.push(NearMiss { policy, endpoint: endpoint_text, line: endpoint.at.line, misses });
            }
        }
    }
    all.sort_by_key(|miss| miss.misses.len());
    all.truncate(SHOWN);
    all
}

/// True where the host is covered, whatever the port.
pub(super) fn endpoint_covers(endpoint: &Endpoint, authority: &Authority) -> bool {
    endpoint.host.as_ref().is_none_or(|host| host.matches(&authority.host))
}

/// True where the host lies in the same registered domain as the pattern, as far as two labels can tell.
fn is_neighbour(endpoint: &Endpoint, authority: &Authority) -> bool {
    let tail = |name: &str| name.rsplit('.').take(2).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let host = authority.host.to_string();
    endpoint.host.as_ref().is_some_and(|pattern| tail(pattern.as_str()) == tail(&host))
}

/// True where the entry names the asking program.
pub(super) fn names_caller(entry: &Entry, question: &Question) -> bool {
    CallerSet::new(entry).matches(&question.caller())
}

/// True where the circumstances of the entry hold.
pub(super) fn holds(entry: &Entry, question: &Question) -> bool {
    entry.when.as_ref().is_none_or(|when| question.circumstances().hold(when))
}

fn misses_of(entry: &Entry, endpoint: &Endpoint, question: &Question, authority: &Authority) -> Vec<String> {
    let mut misses = Vec::new();
    if !endpoint_covers(endpoint, authority) {
        let host = endpoint.host.as_ref().map_or("", |host| host.as_str());
        misses.push(format!("host: `{}` is not covered by `{host}`", authority.host));
    }
    if !endpoint.ports.contains(&authority.port) {
        let ports: Vec<String> = endpoint.ports.iter().map(ToString::to_string).collect();
        misses.push(format!("port: {} is not {}", authority.port, ports.join(" or ")));
    }
    if !names_caller(entry, question) {
        let program = question.binary.as_deref().unwrap_or("an unknown program");
        misses.push(format!("program: `{program}` is not among the entry's `binaries`"));
    }
    if !holds(entry, question) {
        misses.push("circumstances: `when` does not hold".to_owned());
    }
    if let (Some(request), Some(protocol)) = (&question.request, endpoint.inspected()) {
        misses.extend(request_miss(endpoint, protocol, request));
    }
    misses
}

/// The one reason why the rules of an endpoint do not allow a request, of the rule that comes closest.
fn request_miss(endpoint: &Endpoint, protocol: Protocol, request: &RequestWords) -> Option<String> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let path = CanonicalPath::parse(path, EncodedSlash::Keep).ok()?;
    if let Some(scope) = endpoint.path.as_ref().filter(|scope| !scope.matches(path.as_str())) {
        return Some(format!("path: the endpoint speaks for `{scope}` only"));
    }
    match protocol {
        Protocol::Rest | Protocol::Websocket => {
            if endpoint.access.is_some_and(|access| HttpRules::preset_covers(access, protocol, &request.method)) {
                return None;
            }
            let each = endpoint.rules.iter().map(|rule| rule_misses(rule, &request.method, path.as_str(), query));
            let nearest = each.min_by_key(Vec::len);
            match (nearest, endpoint.access) {
                (Some(misses), _) if misses.is_empty() => None,
                (Some(misses), _) => Some(format!("rules: {}", misses.join(" and "))),
                (None, Some(access)) => {
                    Some(format!("rules: `access: {}` does not include {}", access.as_str(), request.method))
                }
                (None, None) => None,
            }
        }
        _ => Some(format!("rules: no {} rule allows the operation", protocol.as_str())),
    }
}

fn rule_misses(rule: &Rule, method: &str, path: &str, query: &str) -> Vec<String> {
    let mut misses = Vec::new();
    if !MethodSet::written(rule.method.as_deref()).contains(method) {
        misses.push(format!("method {method} is not {}", rule.method.as_deref().unwrap_or("*")));
    }
    if let Some(glob) = rule.path.as_ref().filter(|glob| !glob.matches(path)) {
        misses.push(format!("path {path} does not match `{glob}`{}", bare_parent(glob, path)));
    }
    if !HttpRules::query_allows(rule, query) {
        let names: Vec<&str> = rule.query.keys().map(|name| &**name).collect();
        misses.push(format!("query does not have the asked values of {}", names.join(", ")));
    }
    misses
}

/// The most frequent surprise of the dialect, said where it happens.
fn bare_parent(glob: &PathGlob, path: &str) -> &'static str {
    match glob.as_str().strip_suffix("/**") == Some(path) {
        true => " (`/x/**` does not cover `/x` itself)",
        false => "",
    }
}
