//! `network_middlewares.<key>`: stages between the decision and the injection.

use crate::document::{Middleware, OnError};
use crate::hosts::Selector;
use crate::yaml::reader::Reader;
use crate::yaml::{Key, Node, Value};

const FIELDS: &[&str] = &["name", "middleware", "order", "config", "on_error", "endpoints"];

/// Patterns of one stage, included and excluded.
const MAX_SELECTORS: usize = 32;

pub(super) fn middleware(reader: &mut Reader, key: &Key, node: &Node) -> Option<Middleware> {
    let fields = reader.fields(node, "a middleware", FIELDS)?;
    let name = fields.get("name").and_then(|node| reader.text(node, "`name`")).filter(|name| !name.is_empty());
    let implementation = match fields.get("middleware") {
        Some(node) => reader.word(node, "`middleware`")?,
        None => {
            reader
                .error(key.at, "`middleware` is missing")
                .hint("name the implementation, for example openshell/regex");
            return None;
        }
    };
    let order = fields.get("order").and_then(|node| reader.number(node, "`order`", i32::MIN.into()..=i32::MAX.into()));
    let on_error = fields.get("on_error").and_then(|node| {
        let words = [("fail_closed", Some(OnError::FailClosed)), ("fail_open", Some(OnError::FailOpen)), ("", None)];
        reader.one_of(node, "`on_error`", &words).flatten()
    });
    let config = fields.section("config").map(|node| config(reader, node)).unwrap_or_default();
    let (include, exclude) = selectors(reader, key, fields.get("endpoints"));
    Some(Middleware {
        at: key.at,
        name: name.unwrap_or(&key.text).into(),
        middleware: implementation.into(),
        order: order.and_then(|order| i32::try_from(order).ok()).unwrap_or_default(),
        config,
        on_error,
        include,
        exclude,
    })
}

fn config(reader: &mut Reader, node: &Node) -> serde_json::Value {
    if !matches!(node.value, Value::Map(_)) {
        reader.error(node.at, "`config` must be a map");
    }
    node.value.to_json()
}

fn selectors(reader: &mut Reader, key: &Key, node: Option<&Node>) -> (Vec<Box<str>>, Vec<Box<str>>) {
    let Some(fields) = node.and_then(|node| reader.fields(node, "`endpoints`", &["include", "exclude"])) else {
        if node.is_none() {
            reader.error(key.at, "`endpoints` is missing").hint("write `endpoints: {include: [api.example.com]}`");
        }
        return Default::default();
    };
    let mut read = |name: &str| match fields.get(name) {
        Some(node) => reader.each(node, &format!("`{name}`"), selector),
        None => Vec::new(),
    };
    let (include, exclude) = (read("include"), read("exclude"));
    if include.is_empty() {
        reader.error(fields.at, "`include` names no host").hint("list at least one host pattern");
    }
    if include.len() + exclude.len() > MAX_SELECTORS {
        reader.error(fields.at, format!("more than {MAX_SELECTORS} host patterns in one middleware"));
    }
    (include, exclude)
}

fn selector(reader: &mut Reader, node: &Node) -> Option<Box<str>> {
    let text = reader.word(node, "a host pattern")?;
    match Selector::parse(text) {
        Ok(_) => Some(text.into()),
        Err(error) => {
            reader.error(node.at, format!("the host pattern `{text}`: {error}"));
            None
        }
    }
}
