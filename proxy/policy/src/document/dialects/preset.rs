//! Presets: a name and entries to add.

use super::entries::egress_entries;
use super::{Report, Translated, text_of, tree, unknown_fields};
use crate::diagnostic::Diagnostics;
use crate::yaml::{Node, Value};

/// `preset: {name, description}` and `network_policies`, without a version.
pub(super) fn translate(node: &Node, found: &mut Diagnostics) -> Translated {
    unknown_fields(node, "a preset", &["preset", "network_policies", "version"], found);
    let header = tree::field(node, "preset");
    if let Some(header) = header {
        unknown_fields(header, "`preset`", &["name", "description"], found);
        if text_of(header, "name").is_none() {
            found.error_with(header.at, "a preset needs `name`", "give it the name of its file");
        }
    }
    let entries = tree::field(node, "network_policies").cloned();
    if entries.is_none() {
        found.error(node.at, "a preset needs `network_policies`");
    }
    Translated {
        tree: tree::policy(node.at, entries.into_iter().map(|entries| ("network_policies", entries)).collect()),
        name: header.and_then(|header| text_of(header, "name")),
        description: header.and_then(|header| text_of(header, "description")),
        requires_approval: false,
    }
}

/// `name`, `egress[]`, `merge_strategy: additive`, `requires_approval`.
pub(super) fn translate_egress(node: &Node, found: &mut Diagnostics) -> Translated {
    let known = ["name", "description", "version", "egress", "merge_strategy", "requires_approval"];
    unknown_fields(node, "a preset", &known, found);
    if let Some(strategy) = tree::field(node, "merge_strategy")
        && strategy.value != Value::Text("additive".into())
    {
        found.error_with(strategy.at, "a preset can only add", "write `merge_strategy: additive`");
    }
    let approval = tree::field(node, "requires_approval");
    if let Some(flag) = approval.filter(|flag| !matches!(flag.value, Value::Bool(_))) {
        found.error(flag.at, "`requires_approval` must be true or false");
    }
    let entries = tree::field(node, "egress").map(|egress| egress_entries(egress, "host", found));
    Translated {
        tree: tree::policy(node.at, entries.into_iter().map(|entries| ("network_policies", entries)).collect()),
        name: text_of(node, "name"),
        description: text_of(node, "description"),
        requires_approval: approval.is_some_and(|flag| flag.value == Value::Bool(true)),
    }
}
