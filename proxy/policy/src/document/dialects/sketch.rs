//! `network.allow[].domain` and `network.egress[].host`, with their `filesystem` and `process`.

use super::entries::egress_entries;
use super::sections::{closed_by_default, filesystem, process};
use super::{Report, Translated, text_of, tree, unknown_fields};
use crate::diagnostic::Diagnostics;
use crate::yaml::Node;

pub(super) fn translate(node: &Node, found: &mut Diagnostics) -> Translated {
    let known = ["version", "name", "description", "network", "filesystem", "process"];
    unknown_fields(node, "a policy of this dialect", &known, found);
    let mut parts = Vec::new();
    if let Some(section) = tree::field(node, "filesystem") {
        parts.push(("filesystem_policy", filesystem(section, found)));
    }
    if let Some(section) = tree::field(node, "process") {
        process(section, found);
    }
    if let Some(section) = tree::field(node, "network") {
        parts.extend(network(section, found).map(|entries| ("network_policies", entries)));
    }
    Translated {
        tree: tree::policy(node.at, parts),
        name: text_of(node, "name"),
        description: text_of(node, "description"),
        requires_approval: false,
    }
}

fn network(section: &Node, found: &mut Diagnostics) -> Option<Node> {
    unknown_fields(section, "`network`", &["default", "allow", "egress"], found);
    closed_by_default(section, "network", found);
    match (tree::field(section, "allow"), tree::field(section, "egress")) {
        (Some(list), None) => Some(egress_entries(list, "domain", found)),
        (None, Some(list)) => Some(egress_entries(list, "host", found)),
        (Some(_), Some(both)) => {
            found.error_with(both.at, "`allow` and `egress` belong to different dialects", "keep one of them");
            None
        }
        (None, None) => None,
    }
}
