//! The vault: every secret of one sandbox, with what finds its placeholder and what scrubs its value.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::tokens::Tokens;
use crate::{Needles, SecretName};

/// A secret and the placeholder that stands for it.
#[derive(Debug, Clone)]
pub struct Secret {
    name: SecretName,
    value: Result<SecretString, Box<str>>,
    /// Values that it had before; replies may still hold them.
    former: Vec<SecretString>,
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

/// Former values that are remembered of one secret, the last ones.
///
/// The reply to a request is searched for what was in force when the request was judged, however long it runs and however
/// often the secret is rotated meanwhile: it holds the needles of its own vault. Former values are for later requests, whose
/// replies repeat what an earlier one brought; a service forgets a value that was taken back, so a few are enough.
pub const MAX_FORMER_VALUES: usize = 4;

impl Secret {
    /// Joins a value with its placeholder.
    ///
    /// # Errors
    /// [`ValueError`]; the value itself is never part of the message.
    pub fn new(name: SecretName, value: SecretString, placeholder: String) -> Result<Self, ValueError> {
        check(value.expose_secret())?;
        Ok(Self { name, value: Ok(value), former: Vec::new(), placeholder: placeholder.into() })
    }

    /// A secret whose source fails: requests that need it are refused with the reason, which must not hold any value.
    #[must_use]
    pub fn unavailable(name: SecretName, placeholder: String, reason: &str) -> Self {
        Self { name, value: Err(reason.into()), former: Vec::new(), placeholder: placeholder.into() }
    }

    /// Remembers a value that the secret had before a rotation: it is scrubbed from replies and never sent.
    ///
    /// # Errors
    /// [`ValueError`], as for the value itself.
    pub fn formerly(mut self, value: SecretString) -> Result<Self, ValueError> {
        check(value.expose_secret())?;
        if self.former.len() == MAX_FORMER_VALUES {
            self.former.remove(0);
        }
        self.former.push(value);
        Ok(self)
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

    /// The value, for the slot of a bound destination only; or why there is none.
    pub(crate) fn value(&self) -> Result<&str, &str> {
        self.value.as_ref().map(ExposeSecret::expose_secret).map_err(|reason| &**reason)
    }

    /// Every value that replies are searched for, with what is put in its place.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.value.iter().chain(&self.former).map(|value| (value.expose_secret(), &*self.placeholder))
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
    tokens: Tokens,
    needles: Arc<Needles>,
}

impl Vault {
    /// Takes the secrets of a sandbox.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        let tokens = Tokens::new(&secrets);
        let needles = Arc::new(Needles::new(secrets.iter().flat_map(Secret::pairs)));
        Self { secrets, tokens, needles }
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

    /// What finds placeholders in requests.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

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
