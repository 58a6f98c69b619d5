//! `network_policies.<key>`: endpoints and programs.

use super::{endpoint, extension};
use crate::document::{Binary, Entry};
use crate::glob::PathGlob;
use crate::yaml::reader::Reader;
use crate::yaml::{Key, Node, Value};

/// Keys that are derived from providers; authors may not use them.
const DERIVED_PREFIX: &str = "_provider_";

pub(super) fn entry(reader: &mut Reader, key: &Key, node: &Node) -> Option<Entry> {
    check_key(reader, key);
    let fields = reader.fields(node, "an entry", &["name", "endpoints", "binaries", "x-tollgate"])?;
    let name = fields.get("name").and_then(|node| reader.text(node, "`name`")).filter(|name| !name.is_empty());
    let endpoints = match fields.get("endpoints") {
        Some(node) => reader.each(node, "`endpoints`", endpoint::endpoint),
        None => Vec::new(),
    };
    let binaries = fields.get("binaries").map(|node| reader.each(node, "`binaries`", binary));
    let (when, upgrades) = fields.get("x-tollgate").map(|node| extension::entry(reader, node)).unwrap_or_default();
    let none = fields.get("endpoints").is_none_or(|node| node.value == Value::List(Vec::new()));
    if none {
        reader.warning(key.at, "the entry has no endpoints").hint("it allows nothing");
    }
    Some(Entry { at: key.at, name: name.unwrap_or(&key.text).into(), endpoints, binaries, when, upgrades })
}

fn check_key(reader: &mut Reader, key: &Key) {
    if key.text.trim().is_empty() {
        reader.error(key.at, "an entry needs a key").hint("name it after what it is for");
    } else if key.text.starts_with(DERIVED_PREFIX) {
        reader
            .error(key.at, format!("keys that begin with `{DERIVED_PREFIX}` are reserved for derived entries"))
            .hint("export with `policy get --base` to leave them out");
    }
}

fn binary(reader: &mut Reader, node: &Node) -> Option<Binary> {
    if let Value::Text(text) = &node.value {
        reader.error(node.at, "a program is a map with `path`").hint(format!("write `- path: {text}`"));
        return None;
    }
    let fields = reader.fields(node, "a program", &["path", "harness"])?;
    if let Some(node) = fields.get("harness") {
        reader.flag(node, "`harness`");
    }
    let Some(node) = fields.get("path") else {
        reader.error(fields.at, "a program needs `path`");
        return None;
    };
    let text = reader.word(node, "`path`")?;
    binary_path(reader, node, text).map(|path| Binary { at: node.at, path })
}

/// A program is an absolute path; wildcards count only together with `*`, so that a file name is never half a pattern.
pub(super) fn binary_path(reader: &mut Reader, node: &Node, text: &str) -> Option<PathGlob> {
    if !text.starts_with('/') && !text.starts_with("**/") && text != "**" {
        reader.error(node.at, format!("the program `{text}` is not an absolute path"));
        return None;
    }
    if text.contains(['?', '[', '{']) && !text.contains('*') {
        reader
            .error(node.at, format!("`{text}` looks like a pattern but holds no `*`"))
            .hint("list each program, or use `*`");
        return None;
    }
    PathGlob::parse(text).map_err(|error| drop(reader.error(node.at, format!("the program `{text}`: {error}")))).ok()
}
