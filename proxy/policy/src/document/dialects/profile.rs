//! Provider profiles: one entry of the profile's endpoints and programs, and a binding of each credential to each endpoint
//! that judges requests. The values stay with the broker.

use super::{Report, Translated, text_of, tree};
use crate::diagnostic::Diagnostics;
use crate::yaml::{Key, Node, Value};

pub(super) fn translate(node: &Node, found: &mut Diagnostics) -> Translated {
    let id = text_of(node, "id");
    let mut fields = Vec::new();
    match tree::field(node, "endpoints") {
        Some(endpoints) => fields.push(("endpoints", endpoints.clone())),
        None => found.warning(node.at, "the profile has no endpoints", "it adds nothing to a policy"),
    }
    // A profile without programs is for any program that has the provider's credentials.
    if let Some(binaries) = tree::field(node, "binaries") {
        fields.push(("binaries", tree::list(binaries.at, tree::items(binaries).iter().map(program).collect())));
    }
    let key = Key { at: node.at, text: id.clone().unwrap_or_else(|| "profile".to_owned()).into() };
    let entry = tree::map(node.at, fields);
    let entries = match tree::field(node, "endpoints") {
        Some(_) => vec![(key, entry)],
        None => Vec::new(),
    };
    let entries = Node { at: node.at, value: Value::Map(entries) };
    let mut parts = vec![("network_policies", entries)];
    let credentials = credentials(node);
    if !tree::pairs(&credentials).is_empty() {
        parts.push(("x-tollgate", tree::map(node.at, vec![("credentials", credentials)])));
    }
    Translated {
        tree: tree::policy(node.at, parts),
        name: id,
        description: text_of(node, "description"),
        requires_approval: false,
    }
}

/// Profiles write programs as plain paths.
fn program(node: &Node) -> Node {
    match &node.value {
        Value::Text(_) => tree::map(node.at, vec![("path", node.clone())]),
        _ => node.clone(),
    }
}

/// By the name of its variable, each credential's bindings. A credential that several variables may hold is bound under
/// each name.
fn credentials(profile: &Node) -> Node {
    let mut named = Vec::new();
    for credential in tree::field(profile, "credentials").map(tree::items).unwrap_or_default() {
        let bindings = bindings(profile, credential);
        let names = tree::field(credential, "env_vars").map(tree::items).unwrap_or_default();
        for name in names.iter().filter(|_| !tree::items(&bindings).is_empty()) {
            if let Value::Text(text) = &name.value {
                let key = Key { at: name.at, text: text.clone() };
                named.push((key, tree::map(credential.at, vec![("bindings", bindings.clone())])));
            }
        }
    }
    Node { at: profile.at, value: Value::Map(named) }
}

/// Those that the profile writes itself, as our extension; otherwise one for each endpoint that judges requests.
fn bindings(profile: &Node, credential: &Node) -> Node {
    let written = tree::field(credential, "x-tollgate").and_then(|extension| tree::field(extension, "bindings"));
    if let Some(written) = written {
        return written.clone();
    }
    let endpoints = tree::field(profile, "endpoints").map(tree::items).unwrap_or_default();
    let slot = slot(credential);
    let mut bindings: Vec<Node> = Vec::new();
    for endpoint in endpoints.iter().filter(|endpoint| is_judged(endpoint)) {
        let Some(host) = tree::field(endpoint, "host") else { continue };
        for port in ports(endpoint) {
            let fields = vec![("host", host.clone()), ("port", port.clone()), slot.clone()];
            let binding = tree::map(credential.at, fields);
            if bindings.iter().all(|known| !is_same(known, &binding)) {
                bindings.push(binding);
            }
        }
    }
    tree::list(credential.at, bindings)
}

/// True where requests are read and rules are enforced, so that a credential may be bound there. Signed endpoints send no
/// credential but what is computed from it.
fn is_judged(endpoint: &Node) -> bool {
    let is = |field: &str, word: &str| text_of(endpoint, field).is_some_and(|text| text == word);
    tree::field(endpoint, "protocol").is_some()
        && tree::field(endpoint, "credential_signing").is_none()
        && !is("protocol", "tcp")
        && !is("tls", "skip")
        && !is("enforcement", "audit")
}

fn ports(endpoint: &Node) -> &[Node] {
    tree::field(endpoint, "ports").or_else(|| tree::field(endpoint, "port")).map(tree::items).unwrap_or_default()
}

/// Where the profile says that the credential stands; a profile that does not say means a bearer token.
fn slot(credential: &Node) -> (&'static str, Node) {
    let written = |field: &str| tree::field(credential, field).cloned();
    let place = match text_of(credential, "auth_style").as_deref() {
        Some("query") => written("query_param").map(|name| ("query", name)),
        Some("path") => written("path_template").map(|template| ("path_template", template)),
        _ => None,
    };
    let header = || written("header_name").unwrap_or_else(|| tree::text(credential.at, "authorization"));
    place.unwrap_or_else(|| ("header", header()))
}

fn is_same(a: &Node, b: &Node) -> bool {
    let values = |node| tree::pairs(node).iter().map(|(_, value)| &value.value);
    values(a).eq(values(b))
}
