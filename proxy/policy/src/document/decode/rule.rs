//! One rule object, in `rules[].allow` and in `deny_rules[]`.

use std::collections::BTreeMap;

use super::request_path::request_path;
use crate::document::{AnyOf, ArgumentMatcher, OperationKind, Rule};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{Key, Node, Value};

const FIELDS: &[&str] =
    &["method", "path", "query", "operation_type", "operation_name", "fields", "tool", "params", "command"];

pub(super) const OPERATIONS: &[(&str, OperationKind)] = &[
    ("query", OperationKind::Query),
    ("mutation", OperationKind::Mutation),
    ("subscription", OperationKind::Subscription),
    ("*", OperationKind::Any),
];

/// An item of `rules`: the rule stands below `allow`.
pub(super) fn allow_rule(reader: &mut Reader, node: &Node) -> Option<Rule> {
    let wrapper = reader.fields(node, "an item of `rules`", &["allow"])?;
    let Some(node) = wrapper.get("allow") else {
        reader.error(wrapper.at, "an item of `rules` needs `allow`").hint("write `- allow: {method: GET, path: /**}`");
        return None;
    };
    rule(reader, node)
}

/// A rule object itself.
pub(super) fn rule(reader: &mut Reader, node: &Node) -> Option<Rule> {
    let fields = reader.fields(node, "a rule", FIELDS)?;
    if fields.pairs().is_empty() {
        reader.error(node.at, "the rule is empty").hint("write `method: \"*\"` and `path: /**` for anything");
        return None;
    }
    if let Some(node) = fields.get("command") {
        reader.error(node.at, "`command` belongs to SQL, which is not inspected").hint("use `protocol: tcp`");
    }
    let mut rule = Rule {
        at: node.at,
        method: fields.get("method").and_then(|node| method(reader, node)),
        path: fields.get("path").and_then(|node| request_path(reader, node, "`path`")),
        query: fields.get("query").map(|node| query(reader, node)).unwrap_or_default(),
        ..Rule::default()
    };
    graphql(reader, &fields, &mut rule);
    tool(reader, &fields, &mut rule);
    Some(rule)
}

fn method(reader: &mut Reader, node: &Node) -> Option<Box<str>> {
    let text = reader.word(node, "`method`")?;
    let odd = text.len() > 128 || text.chars().any(|c| c.is_whitespace() || c.is_control());
    if odd {
        reader.error(node.at, format!("`{text}` is not a method"));
        return None;
    }
    Some(text.into())
}

fn query(reader: &mut Reader, node: &Node) -> BTreeMap<Box<str>, AnyOf> {
    let pairs = reader.map(node, "`query`");
    pairs.iter().filter_map(|(key, node)| Some((key.text.clone(), any_of(reader, node, "a query value")?))).collect()
}

/// A glob, or `{any: [glob, …]}`.
fn any_of(reader: &mut Reader, node: &Node, what: &str) -> Option<AnyOf> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.glob(node, what).map(|glob| AnyOf { globs: vec![glob] });
    }
    let fields = reader.fields(node, what, &["any"])?;
    let Some(list) = fields.get("any") else {
        reader.error(node.at, format!("{what} needs a glob or `any`"));
        return None;
    };
    let globs = reader.each(list, "`any`", |reader, item| reader.glob(item, what));
    if matches!(&list.value, Value::List(items) if items.is_empty()) {
        reader.error(list.at, "`any` is empty, so nothing could match").hint("list at least one glob");
    }
    (!globs.is_empty()).then_some(AnyOf { globs })
}

fn graphql(reader: &mut Reader, fields: &Fields<'_>, rule: &mut Rule) {
    rule.operation_type =
        fields.get("operation_type").and_then(|node| reader.one_of(node, "`operation_type`", OPERATIONS));
    rule.operation_name = fields.get("operation_name").and_then(|node| reader.glob(node, "`operation_name`"));
    if let Some(node) = fields.get("fields") {
        rule.fields = reader.each(node, "`fields`", |reader, item| reader.glob(item, "a field"));
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            reader.error(node.at, "`fields` is empty, so nothing could match").hint("leave it out for any field");
        }
    }
}

fn tool(reader: &mut Reader, fields: &Fields<'_>, rule: &mut Rule) {
    rule.tool = fields.get("tool").and_then(|node| any_of(reader, node, "`tool`"));
    let Some(params) = fields.get("params") else { return };
    for (key, node) in reader.map(params, "`params`") {
        match key.text.split_once('.') {
            None if &*key.text == "name" => name(reader, key, node, rule),
            None if &*key.text == "arguments" => arguments(reader, "", node, &mut rule.arguments),
            Some(("arguments", path)) if !path.is_empty() => arguments(reader, path, node, &mut rule.arguments),
            _ => reader
                .error(key.at, format!("`params.{}` cannot be matched", key.text))
                .hint("accepted: name, arguments.<path>"),
        }
    }
}

fn name(reader: &mut Reader, key: &Key, node: &Node, rule: &mut Rule) {
    if rule.tool.is_some() {
        reader.error(key.at, "`tool` and `params.name` say the same").hint("keep one of them");
    }
    rule.tool = any_of(reader, node, "`params.name`");
}

/// Matchers below a path; a map goes one level down unless it is `{any: [...]}`.
fn arguments(reader: &mut Reader, path: &str, node: &Node, found: &mut BTreeMap<Box<str>, ArgumentMatcher>) {
    match &node.value {
        Value::Map(pairs) if !is_any(pairs) => {
            for (key, node) in pairs {
                let below = if path.is_empty() { key.text.to_string() } else { format!("{path}.{}", key.text) };
                arguments(reader, &below, node, found);
            }
        }
        _ if path.is_empty() => reader
            .error(node.at, "`arguments` must be a map of argument names")
            .hint("write `arguments: {owner: acme}`"),
        Value::Bool(flag) => insert(reader, path, node, ArgumentMatcher::Bool(*flag), found),
        Value::Integer(number) => insert(reader, path, node, ArgumentMatcher::Number((*number).into()), found),
        Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => insert(reader, path, node, ArgumentMatcher::Number(number), found),
            None => drop(reader.error(node.at, "an argument must be a finite number")),
        },
        _ => {
            if let Some(globs) = any_of(reader, node, "an argument") {
                insert(reader, path, node, ArgumentMatcher::Text(globs), found);
            }
        }
    }
}

fn insert(
    reader: &mut Reader,
    path: &str,
    node: &Node,
    matcher: ArgumentMatcher,
    found: &mut BTreeMap<Box<str>, ArgumentMatcher>,
) {
    if found.insert(path.into(), matcher).is_some() {
        reader.error(node.at, format!("the argument `{path}` is matched twice"));
    }
}

fn is_any(pairs: &[(Key, Node)]) -> bool {
    matches!(pairs, [(key, node)] if &*key.text == "any" && matches!(node.value, Value::List(_)))
}
