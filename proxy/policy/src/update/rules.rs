//! Adding a rule to an endpoint that is there.

use super::{Destination, UpdateError};
use crate::document::{Document, Endpoint, Protocol, Rule};
use crate::glob::PathGlob;

/// Allows one kind of request. A preset of access becomes the rules that it stands for first.
pub fn allow(
    document: &mut Document,
    destination: &Destination,
    rule: &Rule,
    told: &mut Vec<String>,
) -> Result<(), UpdateError> {
    let endpoint = find(document, destination)?;
    if let Some(access) = endpoint.access.take() {
        told.push(format!("`access: {}` of {destination} is written as rules now", access.as_str()));
        endpoint.rules = access.methods(endpoint.protocol).iter().map(|method| any_path(method)).collect();
    }
    push(&mut endpoint.rules, rule);
    Ok(())
}

/// Refuses one kind of request.
pub fn deny(document: &mut Document, destination: &Destination, rule: &Rule) -> Result<(), UpdateError> {
    let endpoint = find(document, destination)?;
    if endpoint.access.is_none() && endpoint.rules.is_empty() {
        return Err(UpdateError::NothingAllowed(destination.to_string()));
    }
    push(&mut endpoint.deny_rules, rule);
    Ok(())
}

/// The one endpoint of the destination whose requests are read as HTTP.
fn find<'d>(document: &'d mut Document, destination: &Destination) -> Result<&'d mut Endpoint, UpdateError> {
    let endpoints = document.network_policies.values_mut().flat_map(|entry| &mut entry.endpoints);
    let mut found: Vec<_> = endpoints.filter(|endpoint| destination.is_in(endpoint)).collect();
    let place = destination.to_string();
    let is_http = |endpoint: &Endpoint| matches!(endpoint.protocol, Some(Protocol::Rest | Protocol::Websocket));
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(UpdateError::NotFound(place)),
        (Some(_), false) => Err(UpdateError::Ambiguous(place)),
        (Some(one), true) if is_http(one) => Ok(one),
        (Some(_), true) => Err(UpdateError::Unread(place)),
    }
}

fn any_path(method: &str) -> Rule {
    let path = PathGlob::parse("/**").expect("a glob");
    Rule { method: Some(method.into()), path: Some(path), ..Rule::default() }
}

fn push(rules: &mut Vec<Rule>, rule: &Rule) {
    let path = |rule: &Rule| rule.path.as_ref().map(|path| path.as_str().to_owned());
    let is_same = |known: &Rule| known.is_plain() && known.method == rule.method && path(known) == path(rule);
    if !rules.iter().any(is_same) {
        rules.push(rule.clone());
    }
}
