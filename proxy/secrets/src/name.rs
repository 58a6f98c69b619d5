//! Names of secrets.

use std::fmt;

/// The name of a secret, also the environment variable that holds its placeholder: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(Box<str>);

/// Why a text is not the name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is a letter or `_`, then letters, digits or `_`, at most {MAX_NAME_BYTES} in all")]
pub struct NameError;

const MAX_NAME_BYTES: usize = 128;

impl SecretName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NameError`] for anything that could not be an environment variable.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let starts_well = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !word || !starts_well || text.len() > MAX_NAME_BYTES {
            return Err(NameError);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
