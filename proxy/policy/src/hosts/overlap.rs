//! Can two patterns cover one host? Used where overlapping endpoints must agree.

use super::HostPattern;
use super::pattern::Shape;
use crate::glob::Segment;

impl HostPattern {
    /// True where some host may be covered by both. Errs on the side of true for two globs inside one label.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.shape(), other.shape()) {
            (Shape::Exact(a), Shape::Exact(b)) => a == b,
            (Shape::Exact(host), Shape::Wildcard(_)) => other.matches(host),
            (Shape::Wildcard(_), Shape::Exact(host)) => self.matches(host),
            (Shape::Wildcard(a), Shape::Wildcard(b)) => a.iter().any(|a| b.iter().any(|b| labels_overlap(a, b))),
        }
    }
}

/// Both from the last label to the first; `**` stands only at the end and takes one label or more.
fn labels_overlap(a: &[Segment], b: &[Segment]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([Segment::Deep], [_, ..]) | ([_, ..], [Segment::Deep]) => true,
        ([first, a @ ..], [second, b @ ..]) => first.overlaps(second) && labels_overlap(a, b),
        ([], _) | (_, []) => false,
    }
}
