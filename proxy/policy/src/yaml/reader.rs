//! Typed reading of tree nodes; each mistake becomes a finding and reading goes on.

use tollgate_model::Port;

use super::{Key, Node, Value};
use crate::diagnostic::{Diagnostic, Diagnostics, Position, Severity, suggest};
use crate::glob::TextGlob;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was found so far.
    pub found: Diagnostics,
    errors: usize,
    warnings: usize,
}

/// Findings of one severity that are told; a text with more has one cause, or is there to keep us busy.
const MAX_TOLD: usize = 1_000;

/// A map with known fields.
#[derive(Debug)]
pub struct Fields<'n> {
    /// Where it begins.
    pub at: Position,
    pairs: &'n [(Key, Node)],
}

/// A finding that may still get its hint; it is recorded when dropped.
#[derive(Debug)]
pub struct Finding<'r> {
    reader: &'r mut Reader,
    diagnostic: Option<Diagnostic>,
}

impl Finding<'_> {
    /// Adds what to write instead.
    pub fn hint(mut self, hint: impl Into<String>) {
        self.diagnostic = self.diagnostic.take().map(|d| d.hint(hint));
    }
}

impl Drop for Finding<'_> {
    fn drop(&mut self) {
        let Some(diagnostic) = self.diagnostic.take() else { return };
        // Counted apart, so that no number of warnings can hide an error.
        let told = match diagnostic.severity {
            Severity::Error => &mut self.reader.errors,
            Severity::Warning => &mut self.reader.warnings,
        };
        *told += 1;
        if *told <= MAX_TOLD {
            self.reader.found.push(diagnostic);
        }
    }
}

impl Reader {
    /// Records an error.
    pub fn error(&mut self, at: Position, message: impl Into<String>) -> Finding<'_> {
        Finding { reader: self, diagnostic: Some(Diagnostic::error(at, message)) }
    }

    /// Records a warning.
    pub fn warning(&mut self, at: Position, message: impl Into<String>) -> Finding<'_> {
        Finding { reader: self, diagnostic: Some(Diagnostic::warning(at, message)) }
    }

    fn mismatch(&mut self, node: &Node, what: &str, wanted: &str) -> Finding<'_> {
        self.error(node.at, format!("{what} must be {wanted}, not {}", node.value.kind()))
    }

    /// A map of which every key is known.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(pairs) = &node.value else {
            let example = known.first().copied().unwrap_or_default();
            self.mismatch(node, what, "a map").hint(format!("write fields such as `{example}:`"));
            return None;
        };
        for (key, _) in pairs {
            if !known.contains(&&*key.text) && self.errors < MAX_TOLD {
                self.error(key.at, format!("unknown field `{}` in {what}", key.text)).hint(suggest(&key.text, known));
            }
        }
        Some(Fields { at: node.at, pairs })
    }

    /// A map with keys of the author's choice.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        match &node.value {
            Value::Map(pairs) => pairs,
            _ => {
                self.mismatch(node, what, "a map of names");
                &[]
            }
        }
    }

    /// A list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => {
                self.error(node.at, format!("{what} has no value")).hint("write `[]` for an empty list");
                &[]
            }
            _ => {
                self.mismatch(node, what, "a list").hint("begin each item with `- `");
                &[]
            }
        }
    }

    /// Text.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
                self.mismatch(node, what, "text").hint("put it in quotes");
                None
            }
            _ => {
                self.mismatch(node, what, "text");
                None
            }
        }
    }

    /// Text that is not empty.
    pub fn word<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = self.text(node, what)?;
        if text.trim().is_empty() {
            self.error(node.at, format!("{what} is empty")).hint("leave the field out, or say what is meant");
            return None;
        }
        Some(text)
    }

    /// True or false; false where it is neither.
    pub fn flag(&mut self, node: &Node, what: &str) -> bool {
        match &node.value {
            Value::Bool(flag) => *flag,
            _ => {
                self.mismatch(node, what, "true or false");
                false
            }
        }
    }

    /// A whole number in a range.
    pub fn number(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        match &node.value {
            Value::Integer(number) if range.contains(number) => Some(*number),
            Value::Integer(_) => {
                self.error(node.at, format!("{what} must be from {} to {}", range.start(), range.end()));
                None
            }
            _ => {
                self.mismatch(node, what, "a whole number");
                None
            }
        }
    }

    /// A TCP port.
    pub fn port(&mut self, node: &Node, what: &str) -> Option<Port> {
        let number = self.number(node, what, 1..=65_535)?;
        u16::try_from(number).ok().and_then(|number| Port::try_from(number).ok())
    }

    /// One of the words that the schema knows.
    pub fn one_of<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        let known = words.iter().find(|(word, _)| *word == text);
        if known.is_none() {
            let accepted: Vec<&str> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
            self.error(node.at, format!("unknown value `{text}` for {what}")).hint(suggest(text, &accepted));
        }
        known.map(|(_, value)| *value)
    }

    /// Each item of a list, read by `read`.
    pub fn each<'n, T>(
        &mut self,
        node: &'n Node,
        what: &str,
        mut read: impl FnMut(&mut Self, &'n Node) -> Option<T>,
    ) -> Vec<T> {
        self.list(node, what).iter().filter_map(|item| read(self, item)).collect()
    }

    /// A glob over text.
    pub fn glob(&mut self, node: &Node, what: &str) -> Option<TextGlob> {
        let text = self.word(node, what)?;
        TextGlob::parse(text).map_err(|error| drop(self.error(node.at, format!("{what}: {error}")))).ok()
    }
}

impl<'n> Fields<'n> {
    /// The value of a field that must be there.
    pub fn required(&self, reader: &mut Reader, name: &str, example: &str) -> Option<&'n Node> {
        let found = self.get(name);
        if found.is_none() {
            reader.error(self.at, format!("`{name}` is missing")).hint(format!("add `{name}: {example}`"));
        }
        found
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.pairs.iter().find(|(key, _)| &*key.text == name).map(|(_, node)| node)
    }

    /// A part of the document that may be written without any value.
    pub fn section(&self, name: &str) -> Option<&'n Node> {
        self.get(name).filter(|node| node.value != Value::Null)
    }

    /// All fields in the order of the text.
    pub fn pairs(&self) -> &'n [(Key, Node)] {
        self.pairs
    }
}
