//! One host pattern.

use std::fmt;

use tollgate_model::{Host, HostError};

use super::HostMap;
use crate::glob::{GlobError, PathGlob, Segment};

/// An exact host or a wildcard over labels.
#[derive(Debug, Clone)]
pub struct HostPattern {
    source: Box<str>,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Exact(Host),
    /// Labels from the last to the first, one list for each way to read the braces.
    Wildcard(Vec<Vec<Segment>>),
}

/// Why a text is no host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// A scheme or a path around the host.
    #[error("a host stands alone, without scheme or path")]
    Url,
    /// `host:443`.
    #[error("the port does not belong to the host")]
    Port,
    /// An exact host that is none.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A wildcard label that cannot be read.
    #[error("the wildcard cannot be read: {0}")]
    Glob(#[from] GlobError),
    /// `*`, `*.com`, `*.*.com`: whole registries.
    #[error("a wildcard needs at least two plain labels at its end")]
    TooBroad,
    /// A wildcard anywhere but in the first label or as a whole label.
    #[error("a wildcard stands in the first label or is a whole label")]
    Misplaced,
    /// `**` anywhere but as the whole first label.
    #[error("`**` stands alone as the first label")]
    MisplacedDeep,
    /// `*.0.0.5`.
    #[error("a wildcard never matches an address")]
    Address,
}

/// The labels at the end of a wildcard that must be plain: a wildcard over a registry is no statement about a site.
pub(super) const PLAIN_TAIL: usize = 2;

impl HostPattern {
    /// Reads a pattern as it stands in a policy.
    ///
    /// # Errors
    /// [`HostPatternError`] says which rule the text breaks.
    pub fn parse(source: &str) -> Result<Self, HostPatternError> {
        if source.contains("://") || (source.contains('/') && !source.contains('[')) {
            return Err(HostPatternError::Url);
        }
        let shape = if source.contains('*') { wildcard(source)? } else { Shape::Exact(exact(source)?) };
        Ok(Self { source: source.into(), shape })
    }

    /// True where the pattern covers the host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        let mut map = HostMap::default();
        map.insert(self, ());
        map.contains(host)
    }

    /// The host, where the pattern is exact.
    #[must_use]
    pub fn exact(&self) -> Option<&Host> {
        match &self.shape {
            Shape::Exact(host) => Some(host),
            Shape::Wildcard(_) => None,
        }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl PartialEq for HostPattern {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape
    }
}

impl Eq for HostPattern {}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn exact(source: &str) -> Result<Host, HostPatternError> {
    Host::parse(source).map_err(|error| match source.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && Host::parse(host).is_ok() => HostPatternError::Port,
        _ => error.into(),
    })
}

fn wildcard(source: &str) -> Result<Shape, HostPatternError> {
    if source.contains(':') {
        return Err(HostPatternError::Port);
    }
    let source = source.strip_suffix('.').unwrap_or(source);
    let labels: Vec<&str> = source.split('.').collect();
    let plain = labels.iter().rev().take_while(|label| !is_wild(label)).count();
    if plain < PLAIN_TAIL {
        return Err(HostPatternError::TooBroad);
    }
    let (wild, tail) = labels.split_at(labels.len() - plain);
    let tail = plain_tail(tail)?;
    let mut reversed: Vec<Vec<Segment>> = vec![tail.rsplit('.').map(|label| Segment::Literal(label.into())).collect()];
    for (index, label) in wild.iter().enumerate().rev() {
        reversed = extend(&reversed, &label_segments(label, index == 0)?);
    }
    Ok(Shape::Wildcard(reversed))
}

fn is_wild(label: &str) -> bool {
    label.contains(['*', '?', '[', ']', '{', '}', '\\', ',', '!', '^'])
}

/// The plain labels at the end as A-labels.
fn plain_tail(labels: &[&str]) -> Result<String, HostPatternError> {
    match Host::parse(&labels.join(".")) {
        Ok(Host::Name(name)) => Ok(name.into()),
        // `*.0.0.5` has a tail that only looks like a number.
        Ok(Host::Address(_)) | Err(HostError::OddNumber) => Err(HostPatternError::Address),
        Err(error) => Err(error.into()),
    }
}

/// What one label with wildcards may be.
fn label_segments(label: &str, is_first: bool) -> Result<Vec<Segment>, HostPatternError> {
    if label == "**" {
        return if is_first { Ok(vec![Segment::Deep]) } else { Err(HostPatternError::MisplacedDeep) };
    }
    if label.contains("**") {
        return Err(HostPatternError::MisplacedDeep);
    }
    if label == "*" {
        return Ok(vec![Segment::Any]);
    }
    if !is_wild(label) {
        return Ok(vec![Segment::Literal(plain_tail(&[label])?.into())]);
    }
    if !is_first {
        return Err(HostPatternError::Misplaced);
    }
    // Braces and classes are those of the path dialect; a label holds no slash, so its alternatives are single segments.
    let glob = PathGlob::parse(&label.to_ascii_lowercase())?;
    glob.alternatives().iter().map(|segments| first_label(segments)).collect()
}

fn first_label(segments: &[Segment]) -> Result<Segment, HostPatternError> {
    match segments {
        [Segment::Deep] => Err(HostPatternError::MisplacedDeep),
        [only] => Ok(only.clone()),
        _ => Err(HostPatternError::Misplaced),
    }
}

fn extend(tails: &[Vec<Segment>], heads: &[Segment]) -> Vec<Vec<Segment>> {
    let one = |tail: &Vec<Segment>, head: &Segment| tail.iter().chain([head]).cloned().collect();
    tails.iter().flat_map(|tail| heads.iter().map(move |head| one(tail, head))).collect()
}
