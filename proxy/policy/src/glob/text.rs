//! Globs over text in which no character is special: query values, tool, operation and field names.

use std::fmt;

use super::{GlobError, Piece, braces};

/// A compiled text glob; `*` crosses dots and slashes.
#[derive(Debug, Clone)]
pub struct TextGlob {
    source: Box<str>,
    alternatives: Box<[Piece]>,
}

impl TextGlob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`GlobError`] says which part cannot be read.
    pub fn parse(source: &str) -> Result<Self, GlobError> {
        let alternatives =
            braces::expand(source)?.iter().map(|pattern| Piece::parse(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { source: source.into(), alternatives })
    }

    /// True where the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.alternatives.iter().any(|piece| piece.matches(text))
    }

    /// True for `*`, which matches everything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.alternatives.iter().any(Piece::is_any)
    }

    /// The one text that matches, where the pattern holds nothing special.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &*self.alternatives {
            [only] => only.literal(),
            _ => None,
        }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for TextGlob {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for TextGlob {}

impl fmt::Display for TextGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}
