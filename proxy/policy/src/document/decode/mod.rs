//! Tree to document: every field by name, every mistake reported, nothing guessed.

mod binding;
mod endpoint;
mod entry;
mod extension;
mod middleware;
mod request_path;
mod rule;
mod statics;

pub use request_path::other_spelling;

use crate::yaml::reader::{Fields, Reader};

use super::{Document, VERSION};
use crate::diagnostic::{Diagnostics, Position};
use crate::yaml::{Node, Value};

const TOP: &[&str] =
    &["version", "filesystem_policy", "landlock", "process", "network_policies", "network_middlewares", "x-tollgate"];

/// Decodes what can be decoded and says what cannot.
pub(super) fn document(tree: &Node) -> (Document, Diagnostics) {
    let mut reader = Reader::default();
    let mut document = Document::default();
    if tree.value == Value::Null {
        reader.error(Position { line: 1, column: 1 }, "the document is empty").hint("begin with `version: 1`");
    } else if let Some(fields) = reader.fields(tree, "a policy", TOP) {
        top(&mut reader, &fields, &mut document);
    }
    (document, reader.found)
}

fn top(reader: &mut Reader, fields: &Fields<'_>, document: &mut Document) {
    version(reader, fields);
    document.filesystem_policy = fields.section("filesystem_policy").and_then(|node| statics::filesystem(reader, node));
    document.landlock = fields.section("landlock").and_then(|node| statics::landlock(reader, node));
    document.process = fields.section("process").and_then(|node| statics::process(reader, node));
    if let Some(node) = fields.section("network_policies") {
        for (key, node) in reader.map(node, "`network_policies`") {
            if let Some(entry) = entry::entry(reader, key, node) {
                document.network_policies.insert(key.text.clone(), entry);
            }
        }
    }
    if let Some(node) = fields.section("network_middlewares") {
        for (key, node) in reader.map(node, "`network_middlewares`") {
            if let Some(stage) = middleware::middleware(reader, key, node) {
                document.network_middlewares.insert(key.text.clone(), stage);
            }
        }
    }
    if let Some(node) = fields.get("x-tollgate") {
        document.credentials = binding::credentials(reader, node);
    }
}

fn version(reader: &mut Reader, fields: &Fields<'_>) {
    let Some(node) = fields.get("version") else {
        reader.error(fields.at, "`version` is missing").hint("add `version: 1`");
        return;
    };
    if node.value != Value::Integer(VERSION.into()) {
        reader.error(node.at, "`version` must be 1").hint("write `version: 1`");
    }
}
