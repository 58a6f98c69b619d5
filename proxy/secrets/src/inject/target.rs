//! Credentials in the path and in the query.

use std::borrow::Cow;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;
use tollgate_policy::Slot;

use super::{InjectError, Place, Swap};
use crate::encodings::{is_pchar, is_unreserved, percent};

impl<'a> Swap<'a> {
    /// Exchanges what stands in path and query; the target is rewritten only where something was.
    pub(super) fn target(&mut self, parts: &mut Parts) -> Result<(), InjectError> {
        let path = self.path()?;
        let query = self.ask.query.map(|query| self.query(query)).transpose()?.flatten();
        if path.is_none() && query.is_none() {
            return Ok(());
        }
        let path = path.map_or(Cow::Borrowed(self.ask.path.as_str()), Cow::Owned);
        let target = match query.as_deref().or(self.ask.query) {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        // Path and query were canonical and the values are encoded, so this fails only where the whole has grown too long.
        let target = PathAndQuery::try_from(target).map_err(|_| InjectError::Foreign { place: Place::Path })?;
        parts.uri = Uri::from(target);
        Ok(())
    }

    /// The path with its credential; nothing where it has none.
    fn path(&mut self) -> Result<Option<String>, InjectError> {
        let path = self.ask.path.as_str();
        let slots = self.destination.slots().filter(|slot| slot.bound.iter().any(|bound| bound.applies(self.ask)));
        let place = slots.filter_map(|slot| match &slot.slot {
            Slot::Path(template) => template.place(path),
            _ => None,
        });
        let Some(place) = place.into_iter().next() else { return self.path_without_slot(path) };
        let whole = self.destination.broker().vault().tokens().whole(path[place.clone()].as_bytes());
        let whose = whole.ok_or(InjectError::Foreign { place: Place::Path })?;
        let bound = self.destination.slots().filter(|slot| match &slot.slot {
            Slot::Path(template) => template.place(path).as_ref() == Some(&place),
            _ => false,
        });
        let secret = self.due(&whose, bound.flat_map(|slot| &slot.bound), || Place::Path)?;
        let value = self.take(secret)?;
        // What would end or leave the segment is not sent even in encoded form: servers differ in when they decode.
        if value.contains(['/', '\\', '?', '#']) || value.contains("..") {
            return Err(InjectError::Unfit { secret: secret.name().clone(), place: Place::Path });
        }
        let (before, after) = (&path[..place.start], &path[place.end..]);
        Ok(Some([before, &percent(value, is_pchar, true), after].concat()))
    }

    fn path_without_slot(&mut self, path: &str) -> Result<Option<String>, InjectError> {
        let Some(token) = self.find(path.as_bytes(), 0) else { return Ok(None) };
        if self.is_slot_elsewhere(&token.whose, |slot| matches!(slot, Slot::Path(_))) {
            self.due(&token.whose, std::iter::empty(), || Place::Path)?;
        }
        self.pass(path.as_bytes());
        Ok(None)
    }

    /// The query with its credentials; nothing where it has none.
    fn query(&mut self, query: &str) -> Result<Option<String>, InjectError> {
        let has_slots = self.destination.slots().any(|slot| matches!(slot.slot, Slot::Query(_)));
        if !has_slots && !query.contains('%') && self.find(query.as_bytes(), 0).is_none() {
            return Ok(None);
        }
        let mut out = String::with_capacity(query.len());
        let mut is_changed = false;
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            match self.parameter(pair)? {
                Some(filled) => {
                    is_changed = true;
                    out.push_str(&filled);
                }
                None => out.push_str(pair),
            }
        }
        Ok(is_changed.then_some(out))
    }

    /// One parameter with its credential; nothing where it stays as it is.
    fn parameter(&mut self, pair: &str) -> Result<Option<String>, InjectError> {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(raw_name), decoded(raw_value));
        let is_this = |slot: &Slot| matches!(slot, Slot::Query(slot) if **slot == *name);
        let place = || Place::Query(name.to_string());
        let bound = || self.destination.slots().filter(|slot| is_this(&slot.slot)).flat_map(|slot| &slot.bound);
        let whole = self.destination.broker().vault().tokens().whole(value.as_bytes());
        if bound().any(|bound| bound.applies(self.ask)) {
            let whose = whole.ok_or_else(|| InjectError::Foreign { place: place() })?;
            let secret = self.due(&whose, bound(), place)?;
            let value = self.take(secret)?;
            return Ok(Some(format!("{raw_name}={}", percent(value, is_unreserved, true))));
        }
        if let Some(whose) = whole.filter(|whose| self.is_slot_elsewhere(whose, is_this)) {
            self.due(&whose, std::iter::empty(), place)?;
        }
        self.pass(name.as_bytes());
        self.pass(value.as_bytes());
        Ok(None)
    }
}

/// Form decoding (WHATWG URL, section 5.1) for comparison only: what does not decode holds no token and stays as it is.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let escape = rest.first_chunk::<2>().filter(|_| *first == b'%').and_then(escaped);
        out.push(escape.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        bytes = if escape.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn escaped(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? * 16 + digit(digits[1])?)
}
