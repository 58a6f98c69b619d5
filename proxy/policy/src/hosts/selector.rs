//! Host patterns of middlewares: the same labels, but `**` may stand for any whole label and nothing is too broad, since
//! a stage that sees more hosts allows none of them.

use std::ops::ControlFlow;

use tollgate_model::Host;

use crate::glob::{GlobError, Piece, Segment, Trie};

/// A compiled selector.
#[derive(Debug, Clone)]
pub struct Selector {
    labels: Vec<Segment>,
}

/// Why a text is no selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `a..b`.
    #[error("it has an empty label")]
    EmptyLabel,
    /// Braces or spaces.
    #[error("braces and spaces are not allowed")]
    Character,
    /// A glob that cannot be read.
    #[error(transparent)]
    Glob(#[from] GlobError),
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`SelectorError`] says what cannot be read.
    pub fn parse(source: &str) -> Result<Self, SelectorError> {
        if source.contains(|c: char| c.is_whitespace() || c == '{' || c == '}') {
            return Err(SelectorError::Character);
        }
        let lower = source.to_lowercase();
        let labels = lower.split('.').rev().map(label).collect::<Result<_, _>>()?;
        Ok(Self { labels })
    }

    /// True where the selector covers the host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        let mut trie = Trie::default();
        trie.insert(&self.labels, ());
        let text = host.to_string();
        trie.visit(text.rsplit('.'), &mut |()| ControlFlow::Break(())).is_break()
    }
}

fn label(text: &str) -> Result<Segment, SelectorError> {
    Ok(match text {
        "" => return Err(SelectorError::EmptyLabel),
        "**" => Segment::Deep,
        "*" => Segment::Any,
        other => Segment::Piece(Piece::parse(other)?, other.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        for (selector, host, expected) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("**.com", "a.b.com", true),
            ("**.com", "com", false),
            ("api.**.com", "api.a.b.com", true),
            ("API.example.com", "api.example.com", true),
            ("*", "localhost", true),
            ("*", "a.b", false),
        ] {
            let host = Host::parse(host).expect("a host");
            assert_eq!(Selector::parse(selector).expect(selector).matches(&host), expected, "{selector} {host}");
        }
        assert!(Selector::parse("a..b").is_err());
        assert!(Selector::parse("{a,b}.com").is_err());
        assert!(Selector::parse("[a").is_err());
    }
}
