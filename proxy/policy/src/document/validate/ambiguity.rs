//! Overlapping endpoints must agree on how to read traffic; what they allow may differ.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_model::Port;

use super::Report;
use crate::diagnostic::{Diagnostics, Position};
use crate::document::{Cidr, CredentialSigning, Document, Endpoint, Enforcement, Entry, Protocol, Tls};
use crate::hosts::HostPattern;

/// Pairs that are compared at most; a document that needs more is refused rather than half checked.
const MAX_PAIRS: usize = 4_000_000;

/// Messages about ambiguity; a document with more has one cause.
const MAX_REPORTS: usize = 50;

pub(super) fn ambiguity(document: &Document, found: &mut Diagnostics) {
    let readings = distinct(document);
    let mut pairs = 0;
    let mut reports = 0;
    for bucket in buckets(&readings).values() {
        pairs += bucket.len() * bucket.len() / 2;
        if pairs > MAX_PAIRS {
            found.error(Position { line: 1, column: 1 }, "too many endpoints overlap to compare them all");
            return;
        }
        for (index, a) in bucket.iter().enumerate() {
            for b in &bucket[index + 1..] {
                let (a, b) = (&readings[*a], &readings[*b]);
                if reports < MAX_REPORTS && compare(a, b, found) {
                    reports += 1;
                }
            }
        }
    }
}

/// Endpoints that say the same about reading, told once.
struct Reading<'d> {
    entry: &'d Entry,
    index: usize,
    endpoint: &'d Endpoint,
}

fn distinct(document: &Document) -> Vec<Reading<'_>> {
    let mut seen = BTreeSet::new();
    let mut readings = Vec::new();
    for entry in document.network_policies.values() {
        for (index, endpoint) in entry.endpoints.iter().enumerate() {
            let host = endpoint.host.as_ref().map(|host| host.as_str().to_lowercase());
            let path = endpoint.path.as_ref().map(|path| path.as_str());
            let ports: BTreeSet<Port> = endpoint.ports.iter().copied().collect();
            if seen.insert((host, path, ports, format!("{:?}", facts(endpoint)))) {
                readings.push(Reading { entry, index, endpoint });
            }
        }
    }
    readings
}

/// Indices of readings that may overlap: by the last two labels, which every wildcard has plain. Readings without a host
/// overlap with all.
fn buckets(readings: &[Reading<'_>]) -> BTreeMap<String, Vec<usize>> {
    let mut buckets: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut hostless = Vec::new();
    for (index, reading) in readings.iter().enumerate() {
        match &reading.endpoint.host {
            Some(host) => buckets.entry(tail(host)).or_default().push(index),
            None => hostless.push(index),
        }
    }
    if !hostless.is_empty() {
        buckets.values_mut().for_each(|bucket| bucket.extend(&hostless));
        buckets.insert(String::new(), hostless);
    }
    buckets
}

fn tail(host: &HostPattern) -> String {
    let text = host.exact().map_or_else(|| host.as_str().to_lowercase(), ToString::to_string);
    let labels: Vec<&str> = text.trim_end_matches('.').rsplit('.').take(2).collect();
    labels.join(".")
}

/// Reports how two endpoints disagree, if they overlap and do.
fn compare(a: &Reading<'_>, b: &Reading<'_>, found: &mut Diagnostics) -> bool {
    let Some(ports) = shared_ports(a.endpoint, b.endpoint) else { return false };
    let overlap = match (&a.endpoint.host, &b.endpoint.host) {
        (Some(a), Some(b)) => a.overlaps(b),
        (None, _) | (_, None) => true,
    };
    if !overlap {
        return false;
    }
    let (left, right) = (facts(a.endpoint), facts(b.endpoint));
    let same_scope = left.is_read && right.is_read && same_scope(a.endpoint, b.endpoint);
    let mut different: Vec<String> = Vec::new();
    for (x, y) in left.connection.iter().zip(&right.connection) {
        note(x, y, &mut different);
    }
    if same_scope {
        left.requests.iter().zip(&right.requests).for_each(|(x, y)| note(x, y, &mut different));
    }
    if different.is_empty() {
        return false;
    }
    let message = format!(
        "network policies {} and {} overlap on port(s) {ports} with conflicting metadata: {}",
        name(a),
        name(b),
        different.join("; ")
    );
    found.error_with(
        b.endpoint.at.max(a.endpoint.at),
        message,
        "make them agree, or keep their hosts, ports or paths apart",
    );
    true
}

fn name(reading: &Reading<'_>) -> String {
    format!("'{}' endpoint[{}] ({})", reading.entry.name, reading.index, reading.endpoint.describe())
}

fn note(a: &(&'static str, String), b: &(&'static str, String), different: &mut Vec<String>) {
    if a.1 != b.1 {
        different.push(format!("{}={} vs {}", a.0, a.1, b.1));
    }
}

fn shared_ports(a: &Endpoint, b: &Endpoint) -> Option<String> {
    let a: BTreeSet<Port> = a.ports.iter().copied().collect();
    let shared: Vec<String> = b.ports.iter().filter(|port| a.contains(port)).map(Port::to_string).collect();
    (!shared.is_empty()).then(|| shared.join(", "))
}

/// Equally specific paths that may meet; a more specific path decides alone, so it may differ.
fn same_scope(a: &Endpoint, b: &Endpoint) -> bool {
    let specificity = |endpoint: &Endpoint| endpoint.path.as_ref().map_or(0, |path| path.specificity());
    match (&a.path, &b.path) {
        _ if a.path == b.path => true,
        (Some(x), Some(y)) => specificity(a) == specificity(b) && x.overlaps(y),
        (None, Some(other)) | (Some(other), None) => other.is_any(),
        (None, None) => true,
    }
}

/// What must agree: about the connection always, about requests where both speak for the same paths.
#[derive(Debug)]
struct Facts {
    is_read: bool,
    connection: Vec<(&'static str, String)>,
    requests: Vec<(&'static str, String)>,
}

fn facts(endpoint: &Endpoint) -> Facts {
    let ips: BTreeSet<&Cidr> = endpoint.allowed_ips.iter().collect();
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    let mcp = endpoint.mcp.unwrap_or_default();
    let connection = vec![
        ("protocol tcp", (endpoint.protocol == Some(Protocol::Tcp)).to_string()),
        ("tls", quoted(if endpoint.tls == Some(Tls::Skip) { "skip" } else { "auto" })),
        ("allowed_ips", format!("[{}]", ips.join(", "))),
    ];
    let requests = vec![
        ("protocol", quoted(endpoint.protocol.map_or("", Protocol::as_str))),
        ("enforcement", quoted(endpoint.enforcement.unwrap_or(Enforcement::Enforce).as_str())),
        ("allow_encoded_slash", endpoint.allow_encoded_slash.to_string()),
        ("websocket_credential_rewrite", endpoint.websocket_credential_rewrite.to_string()),
        ("request_body_credential_rewrite", endpoint.request_body_credential_rewrite.to_string()),
        ("credential_signing", quoted(endpoint.credential_signing.map_or("", CredentialSigning::as_str))),
        ("signing_service", quoted(endpoint.signing_service.as_deref().unwrap_or_default())),
        ("signing_region", quoted(endpoint.signing_region.as_deref().unwrap_or_default())),
        ("credential_binding", quoted(endpoint.credential_binding.as_deref().unwrap_or_default())),
        ("max_body_bytes", endpoint.body_limit().to_string()),
        ("mcp.strict_tool_names", mcp.strict_tool_names.to_string()),
    ];
    let is_read = endpoint.inspected().is_some()
        || !endpoint.allowed_ips.is_empty()
        || endpoint.tls.is_some()
        || endpoint.credential_binding.is_some();
    Facts { is_read, connection, requests }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
