//! Slots: the places of a request where a credential may stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use crate::Secret;
use crate::inject::{InjectError, Place};
use crate::tokens::Token;

/// Headers whose whole purpose is to carry a credential. A placeholder in one of them is a try to authenticate, so at a
/// destination that it is not bound to the request is refused rather than passed on.
pub(crate) fn is_credential_header(name: &HeaderName) -> bool {
    name == header::AUTHORIZATION || CREDENTIAL_HEADERS.contains(&name.as_str())
}

const CREDENTIAL_HEADERS: &[&str] = &[
    "api-key",
    "apikey",
    "circle-token",
    "dd-api-key",
    "private-token",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-key",
    "x-auth-token",
    "x-figma-token",
    "x-goog-api-key",
    "x-shopify-access-token",
    "x-vault-token",
];

/// A header value taken apart.
pub(crate) enum Shape<'a> {
    /// The value as it is.
    Plain(&'a [u8]),
    /// `Basic` credentials (RFC 7617), decoded: `user:password`.
    Basic(Zeroizing<Vec<u8>>),
}

impl<'a> Shape<'a> {
    /// Reads a value; anything that is not well-formed `Basic` is plain.
    pub(crate) fn of(name: &HeaderName, value: &'a HeaderValue) -> Self {
        let bytes = value.as_bytes();
        let basic = (name == header::AUTHORIZATION)
            .then(|| bytes.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Basic ")))
            .flatten()
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim_ascii()).ok());
        match basic {
            Some(decoded) => Self::Basic(Zeroizing::new(decoded)),
            None => Self::Plain(bytes),
        }
    }

    /// The text in which placeholders are looked for.
    pub(crate) fn text(&self) -> &[u8] {
        match self {
            Self::Plain(text) => text,
            Self::Basic(text) => text,
        }
    }

    /// Puts the value where the placeholder stands, encoded for the slot.
    ///
    /// # Errors
    /// When the placeholder is not alone in its place.
    pub(crate) fn fill(
        &self,
        token: &Token,
        secret: &Secret,
        value: &str,
        header: &HeaderName,
    ) -> Result<HeaderValue, InjectError> {
        let misplaced =
            || InjectError::Misplaced { secret: secret.name().clone(), place: Place::Header(header.clone()) };
        let (before, after) = (&self.text()[..token.start], &self.text()[token.end..]);
        let alone = match self {
            Self::Plain(_) => after.is_empty() && is_scheme(before),
            // A user name ends at the first colon, so a value with a colon fits only the password.
            Self::Basic(_) => is_user_or_password(before, after) && (before.contains(&b':') || !value.contains(':')),
        };
        if !alone {
            return Err(misplaced());
        }
        let filled = [before, value.as_bytes(), after].concat();
        let header_value = match self {
            Self::Plain(_) => HeaderValue::try_from(filled),
            Self::Basic(_) => HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&*Zeroizing::new(filled)))),
        };
        let mut header_value = header_value.map_err(|_| misplaced())?;
        header_value.set_sensitive(true);
        Ok(header_value)
    }
}

/// Nothing, or one token and one space: `Bearer `.
fn is_scheme(before: &[u8]) -> bool {
    match before.split_last() {
        None => true,
        Some((b' ', scheme)) => {
            !scheme.is_empty() && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
        }
        Some(_) => false,
    }
}

/// The placeholder is all of the user name or all of the password.
fn is_user_or_password(before: &[u8], after: &[u8]) -> bool {
    let whole_user = before.is_empty() && (after.is_empty() || after.starts_with(b":"));
    let whole_password = after.is_empty() && before.iter().position(|&b| b == b':') == before.len().checked_sub(1);
    whole_user || whole_password
}
