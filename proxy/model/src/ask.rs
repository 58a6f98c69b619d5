//! What is asked of the policy: canonical parts only.

use crate::{Authority, Caller, CanonicalPath, Method};

/// May this caller open a connection there?
#[derive(Debug, Clone, Copy)]
pub struct ConnectAsk<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Where.
    pub authority: &'a Authority,
}

/// May this caller send this request?
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Where.
    pub authority: &'a Authority,
    /// Over TLS or in clear.
    pub scheme: Scheme,
    /// What.
    pub method: &'a Method,
    /// The path that will be sent, byte for byte.
    pub path: &'a CanonicalPath<'a>,
    /// The query after `?` that will be sent, byte for byte; nothing where there is no `?`.
    pub query: Option<&'a str>,
}

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// Inside TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL without one means (RFC 9110, sections 4.2.1 and 4.2.2).
    #[must_use]
    pub const fn default_port(self) -> crate::Port {
        match self {
            Self::Http => crate::Port::HTTP,
            Self::Https => crate::Port::HTTPS,
        }
    }
}
