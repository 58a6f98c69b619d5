//! Request methods.

use std::fmt;

/// An HTTP method: a token (RFC 9110, section 9.1) of at most 32 bytes.
///
/// Kept as the client wrote it, since methods are case-sensitive on the wire; policies compare without regard to case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Method(Box<str>);

/// Why a text is not a method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the method is not a token of 1 to {MAX_METHOD_BYTES} bytes")]
pub struct MethodError;

/// Longer than every registered method (the longest has 17 bytes), short enough to log.
const MAX_METHOD_BYTES: usize = 32;

impl Method {
    /// Reads a method.
    ///
    /// # Errors
    /// [`MethodError`] for anything but a short token.
    pub fn parse(text: &str) -> Result<Self, MethodError> {
        let is_token = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if text.is_empty() || text.len() > MAX_METHOD_BYTES || !is_token {
            return Err(MethodError);
        }
        Ok(Self(text.into()))
    }

    /// As written by the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_only() {
        for good in ["GET", "get", "PURGE", "M-SEARCH"] {
            assert_eq!(Method::parse(good).map(|m| m.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "GE T", "GET\r", "GÉT", "(", &"A".repeat(33)] {
            assert_eq!(Method::parse(bad), Err(MethodError), "{bad:?}");
        }
    }
}
