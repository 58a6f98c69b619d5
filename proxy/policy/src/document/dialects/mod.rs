//! Other ways to write a policy, translated tree to tree into the schema before it is decoded.
//!
//! What a dialect cannot say in the schema is an error or a warning at its own place, never dropped in silence.
//!
//! ```
//! use tollgate_policy::document::{Dialect, import};
//!
//! let imported = import("network: {default: deny, allow: [{domain: api.example.com, ports: [443]}]}").unwrap();
//! assert_eq!(imported.dialect, Dialect::Allow);
//! assert!(imported.document.network_policies.contains_key("allow_api_example_com_443"));
//! ```

mod blueprint;
mod entries;
mod preset;
mod profile;
mod sections;
mod sketch;
mod tree;

use super::{Document, Report, complete, header};
use crate::diagnostic::{Diagnostic, Diagnostics, Position};
use crate::yaml::{self, Node, Value};

/// How a policy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Schema version 1.
    Schema,
    /// A preset: `preset` with a name, and `network_policies`.
    Preset,
    /// `network.allow[].domain`.
    Allow,
    /// `network.egress[].host`.
    Egress,
    /// A preset of the same family: `name` and `egress[]`.
    EgressPreset,
    /// A blueprint, of which `components.policy.additions` are read.
    Blueprint,
    /// A provider profile: `id`, `endpoints`, `binaries`.
    ProviderProfile,
}

/// A document and what else its file says.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The policy.
    pub document: Document,
    /// How it was written.
    pub dialect: Dialect,
    /// The name of a preset, blueprint or profile.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// True where its entries wait for an approval.
    pub requires_approval: bool,
}

/// A tree in the schema, and what does not belong into it.
struct Translated {
    tree: Node,
    name: Option<String>,
    description: Option<String>,
    requires_approval: bool,
}

/// Reads a policy in any dialect.
///
/// # Errors
/// Every mistake at once, in the order of the text.
pub fn import(text: &str) -> Result<Imported, Diagnostics> {
    let (tree, mut found) = yaml::read_on(&header::without(text))?;
    let dialect = detect(&tree)?;
    let translated = match dialect {
        Dialect::Schema => Translated::plain(tree),
        Dialect::Preset => preset::translate(&tree, &mut found),
        Dialect::Allow | Dialect::Egress => sketch::translate(&tree, &mut found),
        Dialect::EgressPreset => preset::translate_egress(&tree, &mut found),
        Dialect::Blueprint => blueprint::translate(&tree, &mut found),
        Dialect::ProviderProfile => profile::translate(&tree, &mut found),
    };
    let Translated { tree, name, description, requires_approval } = translated;
    let document = complete(&tree, found)?;
    Ok(Imported { document, dialect, name, description, requires_approval })
}

/// Tells dialects apart by the fields that only they have.
fn detect(tree: &Node) -> Result<Dialect, Diagnostic> {
    let Value::Map(pairs) = &tree.value else { return Ok(Dialect::Schema) };
    let has = |name: &str| pairs.iter().any(|(key, _)| &*key.text == name);
    let below = |name: &str, field: &str| {
        pairs.iter().any(|(key, node)| &*key.text == name && tree::field(node, field).is_some())
    };
    let egress = below("network", "egress") || below("filesystem", "writable") || below("filesystem", "readonly");
    let schema = ["network_policies", "filesystem_policy", "landlock", "network_middlewares", "x-tollgate"];
    Ok(if has("preset") {
        Dialect::Preset
    } else if schema.iter().any(|field| has(field)) {
        Dialect::Schema
    } else if has("components") {
        Dialect::Blueprint
    } else if egress || below("process", "allow_escalation") {
        Dialect::Egress
    } else if has("network") || has("filesystem") {
        Dialect::Allow
    } else if has("egress") {
        Dialect::EgressPreset
    } else if (has("id") || has("display_name")) && (has("endpoints") || has("credentials")) {
        Dialect::ProviderProfile
    } else if has("version") || has("process") || pairs.is_empty() {
        Dialect::Schema
    } else {
        return Err(Diagnostic::error(tree.at, "this is not a policy: none of its fields belongs to one")
            .hint("begin with `version: 1` and `network_policies`"));
    })
}

impl Translated {
    fn plain(tree: Node) -> Self {
        Self { tree, name: None, description: None, requires_approval: false }
    }
}

/// Says that a field has no meaning in its dialect.
fn unknown_fields(node: &Node, what: &str, known: &[&str], found: &mut Diagnostics) {
    for (key, _) in tree::pairs(node) {
        if !known.contains(&&*key.text) {
            let hint = crate::diagnostic::suggest(&key.text, known);
            found.error_with(key.at, format!("unknown field `{}` in {what}", key.text), hint);
        }
    }
}

/// The text of a field, where it is text.
fn text_of(node: &Node, field: &str) -> Option<String> {
    match &tree::field(node, field)?.value {
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Where there is nothing to point at.
const START: Position = Position { line: 1, column: 1 };

#[cfg(test)]
mod tests;
