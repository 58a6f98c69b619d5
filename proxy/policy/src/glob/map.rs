//! Many path globs at once.

use std::ops::ControlFlow;

use foldhash::HashMap;

use super::trie::{Trie, each};
use super::{PathGlob, Segment};

/// Patterns and what each stands for.
#[derive(Debug, Clone)]
pub(crate) struct GlobMap<T> {
    /// Patterns without anything special, by their whole text.
    exact: HashMap<Box<str>, Vec<T>>,
    /// `/**`, the most frequent pattern of all.
    everything: Vec<T>,
    /// Patterns that begin with a slash, without it.
    rooted: Trie<T>,
    /// Patterns that begin with `**` or another wildcard.
    floating: Trie<T>,
}

impl<T> Default for GlobMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), everything: Vec::new(), rooted: Trie::default(), floating: Trie::default() }
    }
}

impl<T: Copy> GlobMap<T> {
    /// Adds a pattern; one that is there already gets one more value.
    pub(crate) fn insert(&mut self, glob: &PathGlob, value: T) {
        if let Some(text) = glob.literal() {
            self.exact.entry(text.into()).or_default().push(value);
            return;
        }
        for segments in glob.alternatives() {
            match &**segments {
                [Segment::Literal(root), Segment::Deep] if root.is_empty() => self.everything.push(value),
                [Segment::Literal(root), below @ ..] if root.is_empty() => self.rooted.insert(below, value),
                segments => self.floating.insert(segments, value),
            }
        }
    }

    /// Adds a value for every path that begins with a slash.
    pub(crate) fn insert_any(&mut self, value: T) {
        self.everything.push(value);
    }

    /// True where any pattern matches.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.visit(path, |_| ControlFlow::Break(())).is_break()
    }

    /// Hands out the value of every pattern that matches, until told to stop; one value may come more than once.
    pub(crate) fn visit<B>(&self, path: &str, mut see: impl FnMut(T) -> ControlFlow<B>) -> ControlFlow<B> {
        if let Some(values) = self.exact.get(path) {
            each(values, &mut see)?;
        }
        if let Some(below) = path.strip_prefix('/') {
            each(&self.everything, &mut see)?;
            self.rooted.visit(Segments(Some(below)), &mut see)?;
        }
        self.floating.visit(Segments(Some(path)), &mut see)
    }
}

/// `split('/')` for texts so short that setting up a search costs more than looking at each byte.
struct Segments<'t>(Option<&'t str>);

impl<'t> Iterator for Segments<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = self.0?;
        match rest.bytes().position(|byte| byte == b'/') {
            Some(end) => {
                self.0 = Some(&rest[end + 1..]);
                Some(&rest[..end])
            }
            None => self.0.take(),
        }
    }
}
