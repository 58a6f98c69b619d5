//! Many host patterns at once: exact hosts by hash, wildcards by a trie over labels from the last to the first.
//!
//! ```
//! use std::ops::ControlFlow;
//! use tollgate_model::Host;
//! use tollgate_policy::hosts::{HostMap, HostPattern};
//!
//! let mut map = HostMap::default();
//! map.insert(&HostPattern::parse("*.example.com").unwrap(), 7);
//! let found = map.visit(&Host::parse("api.example.com").unwrap(), ControlFlow::Break);
//! assert_eq!(found, ControlFlow::Break(7));
//! ```

use std::ops::ControlFlow;

use foldhash::HashMap;
use tollgate_model::Host;

use super::HostPattern;
use super::pattern::Shape;
use crate::glob::Trie;

/// Patterns and what each stands for.
#[derive(Debug, Clone)]
pub struct HostMap<T> {
    exact: HashMap<Host, Vec<T>>,
    wildcards: Trie<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), wildcards: Trie::default() }
    }
}

impl<T: Copy> HostMap<T> {
    /// Adds a pattern.
    pub fn insert(&mut self, pattern: &HostPattern, value: T) {
        match pattern.shape() {
            Shape::Exact(host) => self.exact.entry(host.clone()).or_default().push(value),
            Shape::Wildcard(alternatives) => {
                alternatives.iter().for_each(|labels| self.wildcards.insert(labels, value));
            }
        }
    }

    /// True where any pattern covers the host.
    pub fn contains(&self, host: &Host) -> bool {
        self.visit(host, |_| ControlFlow::Break(())).is_break()
    }

    /// Hands out the value of every pattern that covers the host, exact ones first, until told to stop.
    pub fn visit<B>(&self, host: &Host, mut see: impl FnMut(T) -> ControlFlow<B>) -> ControlFlow<B> {
        if let Some(values) = self.exact.get(host) {
            values.iter().try_for_each(|value| see(*value))?;
        }
        match host {
            Host::Name(name) => self.wildcards.visit(labels(name), &mut see),
            Host::Address(_) => ControlFlow::Continue(()),
        }
    }
}

/// The labels of a name, the last one first: what `rsplit` gives, without the search that it makes ready for long texts.
fn labels(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let name = rest?;
        let dot = name.bytes().rposition(|byte| byte == b'.');
        rest = dot.map(|dot| &name[..dot]);
        Some(dot.map_or(name, |dot| &name[dot + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::labels;

    proptest! {
        #[test]
        fn labels_are_those_between_dots(name in "[a-z.]{0,12}") {
            prop_assert_eq!(labels(&name).collect::<Vec<_>>(), name.rsplit('.').collect::<Vec<_>>());
        }
    }
}
