//! A trie over segments, walked with the set of nodes that are still possible.
//!
//! A lookup costs one hash a segment for each node that is still possible, whatever the number of patterns: literal
//! segments are hashed, segments with wildcards are found by the text they begin with. Nothing is allocated unless more
//! than [`INLINE`] nodes are possible at once.

use std::ops::ControlFlow;

use foldhash::HashMap;
use smallvec::SmallVec;

use super::{Piece, Segment};

/// Sequences of segment patterns and what each stands for.
#[derive(Debug, Clone)]
pub(crate) struct Trie<T> {
    /// The root first; nothing at all until the first pattern comes.
    nodes: Vec<Node<T>>,
}

#[derive(Debug, Clone)]
struct Node<T> {
    literal: HashMap<Box<str>, u32>,
    any: Option<u32>,
    /// A `**` with more behind it: takes any number of segments.
    deep: Option<u32>,
    /// Boxed, since few nodes have any and all are looked through.
    pieces: Option<Box<Pieces>>,
    /// Values of patterns that end here.
    here: Vec<T>,
    /// Values of patterns that end in `**` below this node: any further segment will do.
    below: Vec<T>,
    repeats: bool,
    /// Some segment may be taken in more than one way.
    branches: bool,
}

/// Segments with wildcards inside, by the literal text that they begin with.
#[derive(Debug, Clone, Default)]
struct Pieces {
    /// For each length of such a text, the texts of that length.
    by_prefix: Vec<(usize, ByPrefix)>,
    known: HashMap<Box<str>, u32>,
}

type ByPrefix = HashMap<Box<str>, Vec<(Piece, u32)>>;

/// Nodes that are possible at once before a lookup has to allocate.
const INLINE: usize = 8;

type Possible = SmallVec<[u32; INLINE]>;

const ROOT: u32 = 0;

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literal: HashMap::default(),
            any: None,
            deep: None,
            pieces: None,
            here: Vec::new(),
            below: Vec::new(),
            repeats: false,
            branches: false,
        }
    }
}

impl<T: Copy> Trie<T> {
    /// Adds a sequence of segment patterns.
    pub(crate) fn insert(&mut self, segments: &[Segment], value: T) {
        let Some((last, path)) = segments.split_last() else { return };
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = ROOT;
        for segment in path {
            at = self.child(at, segment);
        }
        if *last == Segment::Deep {
            self.nodes[at as usize].below.push(value);
        } else {
            let end = self.child(at, last);
            self.nodes[end as usize].here.push(value);
        }
    }

    /// Hands out the value of every sequence that matches, until told to stop; one value may come more than once.
    pub(crate) fn visit<'t, B>(
        &self,
        mut segments: impl Iterator<Item = &'t str>,
        see: &mut impl FnMut(T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(mut node) = self.nodes.first() else { return ControlFlow::Continue(()) };
        let mut id = ROOT;
        // As long as there is one way only, as for most paths of most policies, no set is kept.
        while !node.branches {
            let Some(segment) = segments.next() else { return each(&node.here, see) };
            each(&node.below, see)?;
            let Some(&child) = node.literal.get(segment).or(node.any.as_ref()) else {
                return ControlFlow::Continue(());
            };
            id = child;
            node = &self.nodes[id as usize];
        }
        self.visit_all(id, segments, see)
    }

    /// The same from one node on, which may take what comes in several ways.
    fn visit_all<'t, B>(
        &self,
        from: u32,
        segments: impl Iterator<Item = &'t str>,
        see: &mut impl FnMut(T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (mut possible, mut next) = (Possible::new(), Possible::new());
        self.enter(from, &mut possible);
        for segment in segments {
            for &id in &possible {
                let node = &self.nodes[id as usize];
                each(&node.below, see)?;
                self.step(id, node, segment, &mut next);
            }
            if next.is_empty() {
                return ControlFlow::Continue(());
            }
            std::mem::swap(&mut possible, &mut next);
            next.clear();
        }
        possible.iter().try_for_each(|&id| each(&self.nodes[id as usize].here, see))
    }

    /// Follows every edge that takes this segment.
    fn step(&self, id: u32, node: &Node<T>, segment: &str, next: &mut Possible) {
        if node.repeats && !next.contains(&id) {
            next.push(id);
        }
        if let Some(&child) = node.literal.get(segment) {
            self.enter(child, next);
        }
        if let Some(child) = node.any {
            self.enter(child, next);
        }
        if let Some(pieces) = &node.pieces {
            pieces.visit(segment, |child| self.enter(child, next));
        }
    }

    /// Makes a node possible, with the `**` below it, which may take nothing at all.
    fn enter(&self, id: u32, possible: &mut Possible) {
        possible.push(id);
        if let Some(deep) = self.nodes[id as usize].deep
            && !possible.contains(&deep)
        {
            possible.push(deep);
        }
    }

    fn child(&mut self, parent: u32, segment: &Segment) -> u32 {
        let fresh = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let node = &mut self.nodes[parent as usize];
        let child = match segment {
            Segment::Literal(text) => *node.literal.entry(text.clone()).or_insert(fresh),
            Segment::Any => *node.any.get_or_insert(fresh),
            Segment::Deep => *node.deep.get_or_insert(fresh),
            Segment::Piece(piece, text) => node.pieces.get_or_insert_default().child(piece, text, fresh),
        };
        let has_both = node.any.is_some() && !node.literal.is_empty();
        node.branches |= has_both || node.deep.is_some() || node.pieces.is_some();
        if child == fresh {
            let repeats = *segment == Segment::Deep;
            self.nodes.push(Node { repeats, branches: repeats, ..Node::default() });
        }
        child
    }
}

impl Pieces {
    fn child(&mut self, piece: &Piece, text: &str, fresh: u32) -> u32 {
        if let Some(&known) = self.known.get(text) {
            return known;
        }
        self.known.insert(text.into(), fresh);
        let prefix = piece.prefix();
        let slot = match self.by_prefix.iter().position(|(len, _)| *len == prefix.len()) {
            Some(slot) => slot,
            None => {
                self.by_prefix.push((prefix.len(), HashMap::default()));
                self.by_prefix.len() - 1
            }
        };
        self.by_prefix[slot].1.entry(prefix.into()).or_default().push((piece.clone(), fresh));
        fresh
    }

    fn visit(&self, segment: &str, mut see: impl FnMut(u32)) {
        for (len, pieces) in &self.by_prefix {
            let Some(prefix) = segment.get(..*len) else { continue };
            let Some(pieces) = pieces.get(prefix) else { continue };
            for (piece, child) in pieces {
                if piece.matches(segment) {
                    see(*child);
                }
            }
        }
    }
}

pub(super) fn each<T: Copy, B>(values: &[T], see: &mut impl FnMut(T) -> ControlFlow<B>) -> ControlFlow<B> {
    values.iter().try_for_each(|value| see(*value))
}
