//! The vault: every secret of one sandbox, with what finds its placeholder and what scrubs its value.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use secrecy::{ExposeSecret, SecretString};

use crate::{Needles, SecretName};

/// A secret and the placeholder that stands for it.
#[derive(Debug, Clone)]
pub struct Secret {
    name: SecretName,
    value: SecretString,
    placeholder: Box<str>,
}

/// Why a value cannot be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Nothing there: a source that fails must not become an empty credential.
    #[error("the value is empty")]
    Empty,
    /// Too short to be told from ordinary text in a reply.
    #[error("the value is shorter than {MIN_VALUE_BYTES} bytes, too short to be found again in replies")]
    TooShort,
    /// More than any header slot takes.
    #[error("the value is longer than {MAX_VALUE_BYTES} bytes")]
    TooLong,
    /// CR, LF, NUL or another control character would end or split a header.
    #[error("the value holds a line break or another control character")]
    Control,
}

/// Below this, replies that merely resemble the value would be altered.
pub(crate) const MIN_VALUE_BYTES: usize = 8;

/// The largest value that any header slot takes.
pub(crate) const MAX_VALUE_BYTES: usize = 16 * 1024;

impl Secret {
    /// Joins a value with its placeholder.
    ///
    /// # Errors
    /// [`ValueError`]; the value itself is never part of the message.
    pub fn new(name: SecretName, value: SecretString, placeholder: String) -> Result<Self, ValueError> {
        check(value.expose_secret())?;
        Ok(Self { name, value, placeholder: placeholder.into() })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &SecretName {
        &self.name
    }

    /// What the agent holds.
    #[must_use]
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// The value, for the slot of a bound destination only.
    pub(crate) fn value(&self) -> &str {
        self.value.expose_secret()
    }
}

fn check(value: &str) -> Result<(), ValueError> {
    match value.len() {
        0 => Err(ValueError::Empty),
        1..MIN_VALUE_BYTES => Err(ValueError::TooShort),
        MIN_VALUE_BYTES..=MAX_VALUE_BYTES if value.chars().any(char::is_control) => Err(ValueError::Control),
        MIN_VALUE_BYTES..=MAX_VALUE_BYTES => Ok(()),
        _ => Err(ValueError::TooLong),
    }
}

/// All secrets of one generation. Immutable: rotation makes a new vault.
#[derive(Debug)]
pub struct Vault {
    secrets: Vec<Secret>,
    finder: AhoCorasick,
    needles: Arc<Needles>,
}

impl Vault {
    /// Takes the secrets of a sandbox.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        let tokens = secrets.iter().flat_map(|s| [s.placeholder.to_string(), reference(&s.name)]);
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens)
            .expect("placeholders are far below the automaton's limits");
        let needles = Arc::new(Needles::new(secrets.iter().map(|s| (s.value(), s.placeholder()))));
        Self { secrets, finder, needles }
    }

    /// The secrets, for their names and placeholders.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// What replies of bound destinations are scrubbed with.
    #[must_use]
    pub fn needles(&self) -> &Arc<Needles> {
        &self.needles
    }

    /// Every token in `text`, in order.
    pub(crate) fn find<'v>(&'v self, text: &'v [u8]) -> impl Iterator<Item = Found<'v>> {
        self.finder.find_iter(text).map(|hit| Found {
            secret: &self.secrets[hit.pattern().as_usize() / TOKENS_EACH],
            start: hit.start(),
            end: hit.end(),
        })
    }
}

/// A placeholder that stands somewhere.
#[derive(Clone, Copy)]
pub(crate) struct Found<'v> {
    pub(crate) secret: &'v Secret,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The form that policies and scripts of this field know, next to the shaped placeholder.
fn reference(name: &SecretName) -> String {
    format!("openshell:resolve:env:{name}")
}

/// The shaped placeholder and the reference.
const TOKENS_EACH: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_value(value: &str, expected: Result<(), ValueError>) {
        let name = SecretName::parse("A").expect("a name");
        assert_eq!(Secret::new(name, value.into(), "placeholder".into()).map(|_| ()), expected);
    }

    #[test]
    fn k27_c17_values_are_checked() {
        check_value("", Err(ValueError::Empty));
        check_value("short", Err(ValueError::TooShort));
        check_value("abcdef\r\nX-Evil: 1", Err(ValueError::Control));
        check_value("abcdefgh\n", Err(ValueError::Control));
        check_value("abcd\0efgh", Err(ValueError::Control));
        check_value(&"x".repeat(MAX_VALUE_BYTES + 1), Err(ValueError::TooLong));
        check_value("correct horse", Ok(()));
    }

    #[test]
    fn k10_nothing_prints_a_value() {
        let name = SecretName::parse("A").expect("a name");
        let secret = Secret::new(name, "the-real-value".into(), "placeholder".into()).expect("valid");
        let shown = format!("{secret:?} {:?}", Vault::new(vec![secret.clone()]));
        assert!(!shown.contains("the-real-value"), "{shown}");
    }
}
