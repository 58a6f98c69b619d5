//! The one YAML entry: text to a tree in which every node knows its place.
//!
//! YAML 1.2 core schema, one document, JSON included. Plain scalars are read strictly: `no` and `0443` are text, `~` and
//! nothing are null. Duplicate keys, keys that are not text, tags and over-large input are errors; anchors work within a
//! budget that counts every copy. Deliberately not a deserialiser: what the tree means is decided by the reader above,
//! which can then report all mistakes at once.
//!
//! ```
//! use tollgate_policy::yaml::{self, Value};
//!
//! let tree = yaml::read("port: 443\n").unwrap();
//! let Value::Map(pairs) = &tree.value else { panic!() };
//! assert_eq!((pairs[0].1.at.line, pairs[0].1.at.column), (1, 7));
//! ```

mod build;
pub mod reader;
mod scalar;

use granit_parser::{Parser, ScanError, Span};

use crate::diagnostic::{Diagnostic, Diagnostics, Position};

/// The longest document that is read.
pub const MAX_BYTES: usize = 1 << 20;

/// Nesting of lists and maps, aliases followed. The schema itself needs ten levels.
pub const MAX_DEPTH: usize = 64;

/// Scalars, lists and maps in one document, each alias counted with all that it stands for.
pub const MAX_NODES: usize = 150_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins; for what came through an alias, where the alias stands.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A key of a map and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Position,
    /// Its text.
    pub text: Box<str>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number in decimal, `0x` or `0o` notation.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text, quoted or plain.
    Text(Box<str>),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of its text; no key stands twice.
    Map(Vec<(Key, Node)>),
}

/// Reads one document.
///
/// # Errors
/// Every duplicate key, or the first place where the text is no YAML or exceeds a limit.
pub fn read(text: &str) -> Result<Node, Diagnostics> {
    match read_on(text)? {
        (tree, found) if found.is_empty() => Ok(tree),
        (_, found) => Err(found),
    }
}

/// Reads one document past its duplicate keys, of which the first counts, so that all other mistakes can be told with them.
///
/// # Errors
/// The first place where the text is no YAML or exceeds a limit, and the duplicate keys before it.
pub fn read_on(text: &str) -> Result<(Node, Diagnostics), Diagnostics> {
    if text.len() > MAX_BYTES {
        let message = format!("the document has {} bytes, more than {MAX_BYTES}", text.len());
        return Err(Diagnostic::error(Position { line: 1, column: 1 }, message).into());
    }
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        disallow_directives: true,
    };
    options.set_emit_comments(false);
    build::tree(Parser::new_from_str_with_options(text, options))
}

/// Writes plain data as YAML.
#[must_use]
pub fn write(value: &serde_json::Value) -> String {
    serde_yaml::to_string(value).expect("plain data can always be written")
}

impl Value {
    /// The kind in words, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The same value as JSON, for readers that need no places; a number that JSON cannot hold becomes null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.to_string().into(),
            Self::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Map(pairs) => pairs.iter().map(|(key, node)| (key.text.to_string(), node.value.to_json())).collect(),
        }
    }
}

fn position(span: &Span) -> Position {
    let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
    let column = u32::try_from(span.start.col()).unwrap_or(u32::MAX).saturating_add(1);
    Position { line, column }
}

fn scan_error(error: &ScanError) -> Diagnostic {
    let at = position(&Span::empty(*error.marker()));
    Diagnostic::error(at, format!("not readable as YAML: {}", error.info()))
}

#[cfg(test)]
mod tests;
