//! Overlapping endpoints must agree on how to read traffic; what they allow may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use tollgate_model::{Host, Port};

use super::Report;
use super::reading::Reading;
use crate::diagnostic::{Diagnostics, Position};
use crate::document::{Document, Endpoint, Entry};
use crate::hosts::{HostMap, HostPattern};

/// Pairs that are compared at most; a document that needs more is refused rather than half checked.
const MAX_PAIRS: usize = 1_000_000;

/// Messages about ambiguity; a document with more has one cause.
const MAX_REPORTS: usize = 50;

pub(super) fn ambiguity(document: &Document, found: &mut Diagnostics) {
    let mut classes: BTreeMap<Reading, usize> = BTreeMap::new();
    let endpoints = distinct(document, &mut classes);
    let readings: BTreeMap<usize, &Reading> = classes.iter().map(|(reading, class)| (*class, reading)).collect();
    let mut compared = Compared { readings, pairs: 0, reports: 0, found };
    for group in groups(&endpoints) {
        if compared.group(&endpoints, &group).is_break() {
            return;
        }
    }
}

/// Endpoints that say the same about the same destination, told once.
struct Told<'d> {
    entry: &'d Entry,
    index: usize,
    endpoint: &'d Endpoint,
    ports: BTreeSet<Port>,
    /// Equal numbers read traffic alike.
    class: usize,
}

fn distinct<'d>(document: &'d Document, classes: &mut BTreeMap<Reading, usize>) -> Vec<Told<'d>> {
    let mut seen = BTreeSet::new();
    let mut told = Vec::new();
    for entry in document.network_policies.values() {
        for (index, endpoint) in entry.endpoints.iter().enumerate() {
            let next = classes.len();
            let class = *classes.entry(Reading::of(endpoint)).or_insert(next);
            let host = endpoint.host.as_ref().map(|host| host.as_str().to_lowercase());
            let path = endpoint.path.as_ref().map(|path| path.as_str());
            let ports: BTreeSet<Port> = endpoint.ports.iter().copied().collect();
            if seen.insert((host, path, ports.clone(), class)) {
                told.push(Told { entry, index, endpoint, ports, class });
            }
        }
    }
    told
}

/// Endpoints whose hosts may overlap, in groups such that each overlapping pair is in one: each exact host with the
/// wildcards that cover it, wildcards with equal ends, and all together where an endpoint names no host.
fn groups(endpoints: &[Told<'_>]) -> Vec<Vec<usize>> {
    let mut wildcards = HostMap::default();
    let mut exact: BTreeMap<&Host, Vec<usize>> = BTreeMap::new();
    let mut ends: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, told) in endpoints.iter().enumerate() {
        let Some(pattern) = &told.endpoint.host else { return vec![(0..endpoints.len()).collect()] };
        match pattern.exact() {
            Some(host) => exact.entry(host).or_default().push(index),
            None => {
                wildcards.insert(pattern, index);
                ends.entry(plain_end(pattern)).or_default().push(index);
            }
        }
    }
    for (host, group) in &mut exact {
        let _ = wildcards.visit(host, |index| {
            group.push(index);
            ControlFlow::<()>::Continue(())
        });
    }
    exact.into_values().chain(ends.into_values()).collect()
}

/// The last two labels, which every wildcard has plain.
fn plain_end(wildcard: &HostPattern) -> String {
    let text = wildcard.as_str().trim_end_matches('.').to_lowercase();
    text.rsplit('.').take(2).collect::<Vec<_>>().join(".")
}

struct Compared<'d> {
    readings: BTreeMap<usize, &'d Reading>,
    pairs: usize,
    reports: usize,
    found: &'d mut Diagnostics,
}

impl Compared<'_> {
    /// Compares endpoints of different classes; those of one class agree whatever they overlap.
    fn group(&mut self, endpoints: &[Told<'_>], group: &[usize]) -> ControlFlow<()> {
        let mut by_class: BTreeMap<usize, Vec<&Told<'_>>> = BTreeMap::new();
        for index in group {
            by_class.entry(endpoints[*index].class).or_default().push(&endpoints[*index]);
        }
        let classes: Vec<Vec<&Told<'_>>> = by_class.into_values().collect();
        for (index, some) in classes.iter().enumerate() {
            for others in &classes[index + 1..] {
                self.pairs += some.len() * others.len();
                if self.pairs > MAX_PAIRS {
                    let start = Position { line: 1, column: 1 };
                    self.found.error(start, "too many endpoints overlap and read traffic differently");
                    return ControlFlow::Break(());
                }
                some.iter().for_each(|a| others.iter().for_each(|b| self.pair(a, b)));
            }
        }
        ControlFlow::Continue(())
    }

    fn pair(&mut self, a: &Told<'_>, b: &Told<'_>) {
        let ports: Vec<String> = a.ports.intersection(&b.ports).map(Port::to_string).collect();
        let hosts = match (&a.endpoint.host, &b.endpoint.host) {
            (Some(a), Some(b)) => a.overlaps(b),
            (None, _) | (_, None) => true,
        };
        if ports.is_empty() || !hosts || self.reports >= MAX_REPORTS {
            return;
        }
        let scope = same_scope(a.endpoint, b.endpoint);
        let different = self.readings[&a.class].differences(self.readings[&b.class], scope);
        if different.is_empty() {
            return;
        }
        self.reports += 1;
        let message = format!(
            "network policies {} and {} overlap on port(s) {} with conflicting metadata: {}",
            name(a),
            name(b),
            ports.join(", "),
            different.join("; ")
        );
        let hint = "make them agree, or keep their hosts, ports or paths apart";
        self.found.error_with(b.endpoint.at.max(a.endpoint.at), message, hint);
    }
}

fn name(told: &Told<'_>) -> String {
    format!("'{}' endpoint[{}] ({})", told.entry.name, told.index, told.endpoint.describe())
}

/// Equally specific paths that may meet; a more specific path decides alone, so it may differ.
fn same_scope(a: &Endpoint, b: &Endpoint) -> bool {
    match (&a.path, &b.path) {
        (None, None) => true,
        (None, Some(other)) | (Some(other), None) => other.is_any(),
        (Some(a), Some(b)) => a.specificity() == b.specificity() && a.overlaps(b),
    }
}
