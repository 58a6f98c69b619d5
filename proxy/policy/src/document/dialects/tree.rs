//! Making and taking apart tree nodes.

use crate::diagnostic::Position;
use crate::yaml::{Key, Node, Value};

/// The pairs of a map; nothing for anything else.
pub(super) fn pairs(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Map(pairs) => pairs,
        _ => &[],
    }
}

/// One field of a map.
pub(super) fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    pairs(node).iter().find(|(key, _)| &*key.text == name).map(|(_, node)| node)
}

/// The items of a list; a single value is a list of one.
pub(super) fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null => &[],
        _ => std::slice::from_ref(node),
    }
}

pub(super) fn text(at: Position, text: &str) -> Node {
    Node { at, value: Value::Text(text.into()) }
}

pub(super) fn list(at: Position, items: Vec<Node>) -> Node {
    Node { at, value: Value::List(items) }
}

pub(super) fn map(at: Position, pairs: Vec<(&str, Node)>) -> Node {
    let pairs = pairs.into_iter().map(|(name, node)| (Key { at: node.at, text: name.into() }, node)).collect();
    Node { at, value: Value::Map(pairs) }
}

/// A policy of these parts.
pub(super) fn policy(at: Position, parts: Vec<(&str, Node)>) -> Node {
    let version = Node { at, value: Value::Integer(crate::document::VERSION.into()) };
    map(at, std::iter::once(("version", version)).chain(parts).collect())
}
