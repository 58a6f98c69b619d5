//! Why a request gets no credential.

use std::fmt;

use http::HeaderName;

use crate::SecretName;

/// Where in a request something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header.
    Header(HeaderName),
    /// A query parameter, by its decoded name.
    Query(String),
    /// The path.
    Path,
    /// A cookie.
    Cookie(String),
    /// The body.
    Body,
    /// A WebSocket message.
    Message,
}

/// Why a request gets no credential and must not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The placeholder stands in a credential's place of a destination that it is not bound to.
    #[error("credential {secret} is not bound to {place} of this destination")]
    Unbound {
        /// Whose placeholder.
        secret: SecretName,
        /// Where it stood.
        place: Place,
    },
    /// The placeholder is in its slot, but not alone there.
    #[error("the placeholder of credential {secret} is not the whole credential in {place}")]
    Misplaced {
        /// Whose placeholder.
        secret: SecretName,
        /// Where it stood.
        place: Place,
    },
    /// The request would travel in clear.
    #[error("credential {secret} is never sent over clear text")]
    Cleartext {
        /// Whose placeholder.
        secret: SecretName,
    },
    /// A reference to a credential that there is not.
    #[error("there is no credential {secret}, which {place} refers to")]
    Unknown {
        /// The name in the reference.
        secret: SecretName,
        /// Where it stood.
        place: Place,
    },
    /// Something else stands where only the bound credential may.
    #[error("{place} takes the placeholder of its credential here and nothing else")]
    Foreign {
        /// The slot.
        place: Place,
    },
    /// The value cannot be written in this place.
    #[error("the value of credential {secret} has characters that {place} cannot hold")]
    Unfit {
        /// Whose value.
        secret: SecretName,
        /// The slot.
        place: Place,
    },
    /// Its source fails.
    #[error("credential {secret} is not available: {reason}")]
    Unavailable {
        /// Whose value.
        secret: SecretName,
        /// What its source says.
        reason: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header `{name}`"),
            Self::Query(name) => write!(f, "query parameter `{name}`"),
            Self::Path => f.write_str("the path"),
            Self::Cookie(name) => write!(f, "cookie `{name}`"),
            Self::Body => f.write_str("the body"),
            Self::Message => f.write_str("a WebSocket message"),
        }
    }
}
