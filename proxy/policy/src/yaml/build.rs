//! Parser events to a tree, within the budgets.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::{Key, MAX_DEPTH, MAX_NODES, Node, Value, position, scalar, scan_error};
use crate::diagnostic::{Diagnostic, Diagnostics, Position};

type Events<'a> = Parser<'a, StrInput<'a>>;

/// Builds the tree of the one document in the stream.
pub(super) fn tree(events: Events<'_>) -> Result<(Node, Diagnostics), Diagnostics> {
    let mut builder = Builder::default();
    for event in events {
        let (event, span) = event.map_err(|error| builder.with(scan_error(&error)))?;
        let at = position(&span);
        builder.take(event, at).map_err(|stop| builder.with(stop))?;
    }
    Ok(builder.finish())
}

/// What is built so far.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    documents: usize,
    found: Diagnostics,
}

/// A list or map whose end has not come.
struct Open {
    at: Position,
    anchor: usize,
    first_node: usize,
    height: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { pairs: Vec<(Key, Node)>, seen: HashSet<Box<str>>, key: Option<Key> },
}

/// A finished node that an alias may repeat, with its cost.
struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Diagnostic> {
        match event {
            Event::DocumentStart(..) => self.start_document(at),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), at)?;
                let value = match style {
                    ScalarStyle::Plain => scalar::resolve(&text),
                    _ => Value::Text(text.into()),
                };
                self.count(1, at)?;
                self.anchor(anchor, || Anchored { node: Node { at, value: value.clone() }, nodes: 1, height: 0 });
                self.place(Node { at, value }, 0)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(Inside::List(Vec::new()), anchor, tag.as_deref(), at),
            Event::MappingStart(_, anchor, tag) => {
                let inside = Inside::Map { pairs: Vec::new(), seen: HashSet::new(), key: None };
                self.open(inside, anchor, tag.as_deref(), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.repeat(anchor, at),
            _ => Ok(()),
        }
    }

    fn start_document(&mut self, at: Position) -> Result<(), Diagnostic> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(Diagnostic::error(at, "a second document begins here").hint("keep one document in a file"));
        }
        Ok(())
    }

    fn open(&mut self, inside: Inside, anchor: usize, tag: Option<&Tag>, at: Position) -> Result<(), Diagnostic> {
        refuse_tag(tag, at)?;
        self.count(1, at)?;
        self.open.push(Open { at, anchor, first_node: self.nodes - 1, height: 0, inside });
        if self.open.len() > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map { pairs, .. } => Value::Map(pairs),
        };
        let node = Node { at: open.at, value };
        let (nodes, height) = (self.nodes - open.first_node, open.height + 1);
        self.anchor(open.anchor, || Anchored { node: node.clone(), nodes, height });
        self.place(node, height)
    }

    /// Copies what the anchor stands for, after paying for it.
    fn repeat(&mut self, anchor: usize, at: Position) -> Result<(), Diagnostic> {
        let anchored = self
            .anchors
            .get(&anchor)
            .ok_or_else(|| Diagnostic::error(at, "an alias may not stand inside what it repeats"))?;
        let (nodes, height) = (anchored.nodes, anchored.height);
        if self.open.len() + height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.count(nodes, at)?;
        let value = self.anchors[&anchor].node.value.clone();
        self.place(Node { at, value }, height)
    }

    fn place(&mut self, node: Node, height: usize) -> Result<(), Diagnostic> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.height = open.height.max(height);
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map { pairs, seen, key } => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(key) if is_repeated(&key, pairs, seen) => self.found.push(
                    Diagnostic::error(key.at, format!("the key `{}` stands twice in this map", shorten(&key.text)))
                        .hint("remove one of them"),
                ),
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }

    fn anchor(&mut self, id: usize, anchored: impl FnOnce() -> Anchored) {
        if id != 0 {
            self.anchors.insert(id, anchored());
        }
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Diagnostic::error(at, format!("the document has more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn with(&mut self, stop: Diagnostic) -> Diagnostics {
        let mut found = std::mem::take(&mut self.found);
        found.push(stop);
        found
    }

    fn finish(self) -> (Node, Diagnostics) {
        let nothing = Node { at: Position { line: 1, column: 1 }, value: Value::Null };
        (self.root.unwrap_or(nothing), self.found)
    }
}

/// Few keys are looked through, many are looked up.
fn is_repeated(key: &Key, pairs: &[(Key, Node)], seen: &mut HashSet<Box<str>>) -> bool {
    if pairs.len() < MANY_KEYS {
        return pairs.iter().any(|(other, _)| other.text == key.text);
    }
    if seen.is_empty() {
        seen.extend(pairs.iter().map(|(other, _)| other.text.clone()));
    }
    !seen.insert(key.text.clone())
}

const MANY_KEYS: usize = 16;

/// Tags change types behind the reader's back; only the one that says what a plain reading says anyway would be harmless.
fn refuse_tag(tag: Option<&Tag>, at: Position) -> Result<(), Diagnostic> {
    match tag {
        None => Ok(()),
        Some(_) => Err(Diagnostic::error(at, "tags are not allowed").hint("remove the word that begins with `!`")),
    }
}

fn as_key(node: Node) -> Result<Key, Diagnostic> {
    match node.value {
        Value::Text(text) => Ok(Key { at: node.at, text }),
        other => Err(Diagnostic::error(node.at, format!("a key must be text, this is {}", other.kind()))
            .hint("put the key in quotes")),
    }
}

fn too_deep(at: Position) -> Diagnostic {
    Diagnostic::error(at, format!("lists and maps are nested more than {MAX_DEPTH} deep"))
}

/// Keys are the author's: long ones are cut in messages.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
