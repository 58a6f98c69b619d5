//! Blueprints: the entries that they add. Everything else of a blueprint is its runner's business.

use super::{Report, START, Translated, text_of, tree};
use crate::diagnostic::Diagnostics;
use crate::yaml::Node;

pub(super) fn translate(node: &Node, found: &mut Diagnostics) -> Translated {
    let policy = tree::field(node, "components").and_then(|components| tree::field(components, "policy"));
    let additions = policy.and_then(|policy| tree::field(policy, "additions"));
    let Some(additions) = additions else {
        found.warning(START, "the blueprint adds no policy entries", "write them below `components.policy.additions`");
        return Translated {
            description: text_of(node, "description"),
            ..Translated::plain(tree::policy(node.at, vec![]))
        };
    };
    for (key, addition) in tree::pairs(additions) {
        if let Some(binaries) = tree::field(addition, "binaries") {
            let message = format!("the addition `{}` may not name programs", key.text);
            found.error_with(binaries.at, message, "leave `binaries` out");
        }
    }
    Translated {
        tree: tree::policy(node.at, vec![("network_policies", additions.clone())]),
        name: text_of(node, "name"),
        description: text_of(node, "description"),
        requires_approval: false,
    }
}
