//! Rules that do nothing, and paths that are nearly covered.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Document, Endpoint, Protocol, Rule};
use crate::glob::PathGlob;

/// Pairs compared at most in one endpoint; beyond that only the first rules are.
const MAX_COMPARED: usize = 1_000;

pub(super) fn rules(endpoint: &Endpoint, found: &mut Diagnostics) {
    if !matches!(endpoint.protocol, Some(Protocol::Rest | Protocol::Websocket)) {
        return;
    }
    let allow: Vec<&Rule> = endpoint.rules.iter().filter(|rule| rule.is_http()).take(MAX_COMPARED).collect();
    let deny: Vec<&Rule> = endpoint.deny_rules.iter().filter(|rule| rule.is_http()).take(MAX_COMPARED).collect();
    shadowed(&allow, found);
    unreachable(&allow, &deny, endpoint, found);
    for rule in allow.iter().chain(&deny) {
        bare_parent(rule, &allow, &deny, found);
    }
}

fn shadowed(allow: &[&Rule], found: &mut Diagnostics) {
    for (index, rule) in allow.iter().enumerate() {
        // Of two equal rules only the later one is told.
        let by = allow.iter().enumerate().find(|(other_index, other)| {
            index != *other_index && covers(other, rule) && (index > *other_index || !covers(rule, other))
        });
        if let Some((_, other)) = by {
            let message = format!("the rule adds nothing: line {} allows the same already", other.at.line);
            found.push(Diagnostic::warning(rule.at, message).hint("remove one of them"));
        }
    }
}

fn unreachable(allow: &[&Rule], deny: &[&Rule], endpoint: &Endpoint, found: &mut Diagnostics) {
    for rule in allow {
        if let Some(other) = deny.iter().find(|other| other.query.is_empty() && covers(other, rule)) {
            let message =
                format!("the rule never allows anything: the deny rule in line {} refuses all of it", other.at.line);
            found.push(Diagnostic::warning(rule.at, message).hint("remove the rule, or narrow the deny rule"));
        }
    }
    let Some(scope) = &endpoint.path else { return };
    for rule in allow.iter().chain(deny) {
        if let Some(path) = rule.path.as_ref().filter(|path| !path.overlaps(scope)) {
            let message = format!("the rule never matches: the endpoint speaks for `{scope}`, not for `{path}`");
            found.push(
                Diagnostic::warning(rule.at, message).hint("write whole paths in rules, with the endpoint's part"),
            );
        }
    }
}

/// `/x/**` leaves `/x` out: seldom meant where allowed, never where refused.
fn bare_parent(rule: &Rule, allow: &[&Rule], deny: &[&Rule], found: &mut Diagnostics) {
    let Some(path) = &rule.path else { return };
    let Some(parent) = path.as_str().strip_suffix("/**").filter(|parent| !parent.is_empty()) else { return };
    let own_side = if deny.iter().any(|other| std::ptr::eq(*other, rule)) { deny } else { allow };
    let Ok(bare) = PathGlob::parse(parent) else { return };
    let bare_rule = Rule { path: Some(bare), ..rule.clone() };
    if !own_side.iter().any(|other| covers(other, &bare_rule)) {
        found.push(
            Diagnostic::warning(rule.at, format!("`{path}` does not cover `{parent}` itself"))
                .hint(format!("add a rule for `{parent}` if it is meant")),
        );
    }
}

/// True where every request that the narrow rule matches is matched by the wide one too. Errs on the side of false.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let method = match (wide.method.as_deref(), narrow.method.as_deref()) {
        (None | Some("*"), _) => true,
        (Some(wide), Some(narrow)) => {
            wide.eq_ignore_ascii_case(narrow)
                || (wide.eq_ignore_ascii_case("GET") && narrow.eq_ignore_ascii_case("HEAD"))
        }
        (Some(_), None) => false,
    };
    let path = match (&wide.path, &narrow.path) {
        (None, _) => true,
        (Some(wide), None) => wide.is_any(),
        (Some(wide), Some(narrow)) => path_covers(wide, narrow),
    };
    method && path && (wide.query.is_empty() || wide.query == narrow.query)
}

fn path_covers(wide: &PathGlob, narrow: &PathGlob) -> bool {
    if wide.is_any() || wide == narrow {
        return true;
    }
    if let Some(literal) = narrow.literal() {
        return wide.matches(&literal);
    }
    let below = wide.as_str().strip_suffix("**").filter(|prefix| !prefix.contains(['*', '?', '[', '{', '\\']));
    below.is_some_and(|prefix| narrow.as_str().starts_with(prefix))
}

/// Many servers take `/graphql/` for `/graphql`; a broader endpoint would judge it by its own rules.
pub(super) fn lookalike_paths(document: &Document, found: &mut Diagnostics) {
    let endpoints = || document.network_policies.values().flat_map(|entry| &entry.endpoints);
    for narrow in endpoints() {
        let operations = !matches!(narrow.inspected(), None | Some(Protocol::Rest));
        let Some(path) = narrow.path.as_ref().and_then(PathGlob::literal).filter(|_| operations) else { continue };
        let slashed = format!("{}/", path.trim_end_matches('/'));
        let speaks = |wide: &&Endpoint| {
            wide.inspected() == Some(Protocol::Rest)
                && super::hosts::can_write(wide)
                && wide.path.as_ref().is_none_or(|scope| scope.matches(&slashed))
                && wide.ports.iter().any(|port| narrow.ports.contains(port))
                && wide.host.as_ref().zip(narrow.host.as_ref()).is_some_and(|(a, b)| a.overlaps(b))
        };
        if let Some(wide) = endpoints().find(speaks) {
            let message = format!(
                "`{slashed}` is judged by the broader endpoint in line {}, though servers may take it for `{path}`",
                wide.at.line
            );
            found.push(
                Diagnostic::warning(narrow.place("path"), message)
                    .hint(format!("write `path: {path}**` or deny `{slashed}` there")),
            );
        }
    }
}
