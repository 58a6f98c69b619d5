//! Exchange in bodies and messages while they stream past.
//!
//! Only whole values of declared fields are exchanged: the string of a JSON member, the value of a form parameter. A
//! placeholder in any other text, as in a chat that talks about it, passes as it is. Deliberately no parser that refuses: what
//! is no well-formed JSON passes unchanged, since it is the upstream's to judge.

mod form;
mod json;

use std::sync::Arc;

use crate::inject::{InjectError, Place};
use crate::tokens::Whose;
use crate::{Secret, Vault};

/// How a body writes its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON (RFC 8259), also one document after another.
    Json,
    /// `application/x-www-form-urlencoded` (WHATWG URL, section 5).
    Form,
}

/// The fields of one request that may hold credentials, and which.
#[derive(Debug)]
pub struct Fields {
    vault: Arc<Vault>,
    /// A field's name, nothing for any, and the index of the secret.
    open: Vec<(Option<Box<str>>, usize)>,
}

/// Exchanges placeholders in one body or message that comes in pieces, wherever the pieces were cut.
///
/// Holds back at most one field value, and no more than [`MAX_HELD_BYTES`] of it: what is longer is no placeholder. The
/// length of what comes out may differ from that of what went in, so a body goes up without `Content-Length`.
#[derive(Debug)]
pub struct Rewriter {
    fields: Arc<Fields>,
    state: State,
    exchanged: Vec<String>,
}

#[derive(Debug)]
enum State {
    Json(json::Json),
    Form(form::Form),
}

/// More than the longest placeholder with every character escaped as `\uXXXX`.
pub const MAX_HELD_BYTES: usize = 2048;

impl Encoding {
    /// The encoding of a media type that is read; nothing for all others.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let essence = content_type.split(|b| *b == b';').next()?.trim_ascii().to_ascii_lowercase();
        match &essence[..] {
            b"application/json" | b"text/json" => Some(Self::Json),
            b"application/x-www-form-urlencoded" => Some(Self::Form),
            other if other.ends_with(b"+json") => Some(Self::Json),
            _ => None,
        }
    }
}

impl Fields {
    pub(crate) fn new(vault: Arc<Vault>, open: Vec<(Option<Box<str>>, usize)>) -> Self {
        Self { vault, open }
    }

    /// Names of the credentials that may be put in.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|(_, index)| self.vault.secrets()[*index].name().as_str())
    }

    /// True when some credential may stand in the field.
    fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|(open, _)| open.as_deref().is_none_or(|open| open == name))
    }

    /// The secret whose token `text` is, where the field is for it; nothing where `text` is to stay.
    fn secret(&self, name: &str, text: &[u8]) -> Result<Option<&Secret>, InjectError> {
        let index = match self.vault.tokens().whole(text) {
            None => return Ok(None),
            Some(Whose::Unknown(secret)) => return Err(InjectError::Unknown { secret, place: Place::Body }),
            Some(Whose::Secret(index)) => index,
        };
        let secret = &self.vault.secrets()[index];
        let is_bound = |(open, bound): &(Option<Box<str>>, usize)| {
            *bound == index && open.as_deref().is_none_or(|open| open == name)
        };
        if !self.open.iter().any(is_bound) {
            return Err(InjectError::Unbound { secret: secret.name().clone(), place: Place::Body });
        }
        Ok(Some(secret))
    }
}

impl Rewriter {
    /// A rewriter for one body or one message.
    #[must_use]
    pub fn new(fields: Arc<Fields>, encoding: Encoding) -> Self {
        let state = match encoding {
            Encoding::Json => State::Json(json::Json::default()),
            Encoding::Form => State::Form(form::Form::default()),
        };
        Self { fields, state, exchanged: Vec::new() }
    }

    /// Takes the next piece and gives what can be passed on.
    ///
    /// # Errors
    /// A token in an open field that is not due there; the body must not go on.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, InjectError> {
        let mut exchange = Exchange { fields: &self.fields, exchanged: &mut self.exchanged };
        let mut out = Vec::with_capacity(piece.len());
        match &mut self.state {
            State::Json(json) => json.push(piece, &mut exchange, &mut out)?,
            State::Form(form) => form.push(piece, &mut exchange, &mut out)?,
        }
        Ok(out)
    }

    /// Ends the body and gives what was held back.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self) -> Result<Vec<u8>, InjectError> {
        let mut exchange = Exchange { fields: &self.fields, exchanged: &mut self.exchanged };
        match &mut self.state {
            State::Json(json) => Ok(json.finish()),
            State::Form(form) => form.finish(&mut exchange),
        }
    }

    /// Names of the credentials that were put in so far.
    #[must_use]
    pub fn exchanged(&self) -> &[String] {
        &self.exchanged
    }
}

/// What a state asks when a field has ended.
struct Exchange<'a> {
    fields: &'a Fields,
    exchanged: &'a mut Vec<String>,
}

impl Exchange<'_> {
    fn is_open(&self, name: &str) -> bool {
        self.fields.is_open(name)
    }

    /// The value that takes the place of `text` in the field.
    fn value(&mut self, name: &str, text: &[u8]) -> Result<Option<&str>, InjectError> {
        let Some(secret) = self.fields.secret(name, text)? else { return Ok(None) };
        let value = secret
            .value()
            .map_err(|reason| InjectError::Unavailable { secret: secret.name().clone(), reason: reason.to_owned() })?;
        let name = secret.name().as_str();
        if !self.exchanged.iter().any(|known| known == name) {
            self.exchanged.push(name.to_owned());
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests;
