//! Provider profiles: one entry of the profile's endpoints and programs. Credentials stay with the broker.

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
    Translated {
        tree: tree::policy(node.at, vec![("network_policies", entries)]),
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
