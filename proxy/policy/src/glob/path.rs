//! Globs over `/`-separated paths: request paths and programs.

use std::fmt;

use super::{GlobError, GlobMap, MAX_GLOB_BYTES, Piece, braces};

/// A compiled path glob.
#[derive(Debug, Clone)]
pub struct PathGlob {
    source: Box<str>,
    alternatives: Box<[Box<[Segment]>]>,
}

/// What one `/`-separated part of a pattern asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text.
    Literal(Box<str>),
    /// Any text: `*`.
    Any,
    /// What the piece matches.
    Piece(Piece, Box<str>),
    /// `**`: any number of segments.
    Deep,
}

impl PathGlob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`GlobError`] says which part cannot be read.
    pub fn parse(source: &str) -> Result<Self, GlobError> {
        let alternatives = match is_simple(source) {
            true => [joined(source.split('/').map(segment))?].into(),
            false => braces::expand(source)?.iter().map(|one| segments(one)).collect::<Result<_, _>>()?,
        };
        Ok(Self { source: source.into(), alternatives })
    }

    /// The pattern that matches this one path, whatever characters it has.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        let segments = path.split('/').map(|segment| Segment::Literal(segment.into())).collect();
        Self { source: path.into(), alternatives: [segments].into() }
    }

    /// True where the whole path matches. For one pattern and one path; many patterns go into a map.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut map = GlobMap::default();
        map.insert(self, ());
        map.contains(path)
    }

    /// The one path that matches, where the pattern holds nothing special.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        let [segments] = &*self.alternatives else { return None };
        // Without memory for the many that are none.
        if segments.iter().any(|segment| segment.literal().is_none()) {
            return None;
        }
        let texts: Option<Vec<&str>> = segments.iter().map(Segment::literal).collect();
        texts.map(|texts| texts.join("/"))
    }

    /// True for `**` and `/**`, which cover every absolute path.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.alternatives.iter().any(|segments| match &**segments {
            [Segment::Deep] => true,
            [Segment::Literal(root), Segment::Deep] => root.is_empty(),
            _ => false,
        })
    }

    /// False only where no path can match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.alternatives.iter().any(|a| other.alternatives.iter().any(|b| overlap(a, b)))
    }

    /// How narrow the pattern is: its characters other than `*`, and nothing where it covers everything.
    #[must_use]
    pub fn specificity(&self) -> usize {
        if self.is_any() {
            return 0;
        }
        self.source.chars().filter(|c| *c != '*').count()
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The patterns without braces.
    pub(crate) fn alternatives(&self) -> &[Box<[Segment]>] {
        &self.alternatives
    }
}

impl PartialEq for PathGlob {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for PathGlob {}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Segment {
    /// False only where no text can match both; `**` counts as any text.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(a), Self::Literal(b)) => a == b,
            (Self::Literal(text), Self::Piece(piece, _)) | (Self::Piece(piece, _), Self::Literal(text)) => {
                piece.matches(text)
            }
            (Self::Piece(a, _), Self::Piece(b, _)) => a.may_overlap(b),
            (Self::Any | Self::Deep, _) | (_, Self::Any | Self::Deep) => true,
        }
    }

    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Any | Self::Piece(..) | Self::Deep => None,
        }
    }
}

/// Whether what is left of both patterns may meet, from their ends to their beginnings: quadratic, whatever they hold.
fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    let mut below = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            row[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                // At the end `**` takes at least one segment.
                (Some(Segment::Deep), other) if i + 1 == a.len() => other.is_some(),
                (other, Some(Segment::Deep)) if j + 1 == b.len() => other.is_some(),
                (Some(Segment::Deep), other) => below[j] || (other.is_some() && row[j + 1]),
                (other, Some(Segment::Deep)) => row[j + 1] || (other.is_some() && below[j]),
                (Some(x), Some(y)) => x.overlaps(y) && below[j + 1],
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
        below = row;
    }
    below[0]
}

/// Nothing to write out, to skip or to refuse: most patterns of most policies, and so read without looking twice.
fn is_simple(pattern: &str) -> bool {
    (1..=MAX_GLOB_BYTES).contains(&pattern.len()) && !pattern.bytes().any(|b| matches!(b, b'{' | b'}' | b'[' | b'\\'))
}

fn segments(pattern: &str) -> Result<Box<[Segment]>, GlobError> {
    joined(split(pattern)?.into_iter().map(segment))
}

fn joined(all: impl Iterator<Item = Result<Segment, GlobError>>) -> Result<Box<[Segment]>, GlobError> {
    let mut segments = Vec::with_capacity(all.size_hint().0.max(USUAL_SEGMENTS));
    for segment in all {
        let segment = segment?;
        // `**/**` says nothing more than `**`.
        if segment != Segment::Deep || segments.last() != Some(&Segment::Deep) {
            segments.push(segment);
        }
    }
    Ok(segments.into())
}

fn segment(part: &str) -> Result<Segment, GlobError> {
    match part {
        "**" => return Ok(Segment::Deep),
        "*" => return Ok(Segment::Any),
        _ if !part.bytes().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\')) => {
            return Ok(Segment::Literal(part.into()));
        }
        _ => {}
    }
    let piece = Piece::parse(part)?;
    Ok(match piece.literal() {
        Some(text) => Segment::Literal(text.into()),
        None if piece.is_any() => Segment::Any,
        None => Segment::Piece(piece, part.into()),
    })
}

/// As many as most patterns have: room that need not be made twice.
const USUAL_SEGMENTS: usize = 8;

/// Splits at each `/`; one inside a class is an error, one after a backslash separates like any other.
fn split(pattern: &str) -> Result<Vec<&str>, GlobError> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(first) = pattern[at..].chars().next() {
        match first {
            '[' => {
                let len = braces::class_len(&pattern[at..])?;
                if pattern[at..at + len].contains('/') {
                    return Err(GlobError::SlashInClass);
                }
                at += len;
                continue;
            }
            '\\' if !pattern[at + 1..].starts_with('/') => {
                at += 1 + pattern[at + 1..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            '\\' => {
                parts.push(&pattern[start..at]);
                at += 1;
                start = at + 1;
            }
            '/' => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += pattern[at..].chars().next().map_or(0, char::len_utf8);
    }
    parts.push(&pattern[start..]);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_simple_pattern_is_read_as_any_other(pattern in "[a/*?,.]{1,12}") {
            let slowly: Vec<_> = braces::expand(&pattern).expect("no braces").iter().map(|one| segments(one)).collect();
            let read = PathGlob::parse(&pattern).expect("readable");
            proptest::prop_assert!(is_simple(&pattern));
            proptest::prop_assert_eq!(slowly, read.alternatives.into_iter().map(Ok).collect::<Vec<_>>());
        }
    }
}
