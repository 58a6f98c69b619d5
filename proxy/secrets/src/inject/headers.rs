//! Credentials in headers and cookies.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use tollgate_policy::Slot;
use zeroize::Zeroizing;

use super::{InjectError, Place, Swap};
use crate::slot::{Shape, is_credential_header};
use crate::tokens::Token;

impl<'a> Swap<'a> {
    /// Exchanges what stands in slots, removes what the agent put there of its own, and notes all else.
    pub(super) fn headers(&mut self, headers: &mut HeaderMap) -> Result<(), InjectError> {
        let open = self.open_headers();
        let tokens = self.destination.broker().vault().tokens();
        let mut emptied: Vec<HeaderName> = Vec::new();
        let mut has_cookie_token = false;
        for (name, value) in headers.iter_mut() {
            let is_open = open.contains(&name);
            // Most headers: no slot, and nothing in them.
            if !is_open && !tokens.may_find(value.as_bytes()) && name != AUTHORIZATION {
                continue;
            }
            let shape = Shape::of(name, value);
            match self.find(shape.text(), 0) {
                Some(token) if is_open => {
                    let secret =
                        self.due(&token.whose, self.destination.header(name), || Place::Header(name.clone()))?;
                    let filled = shape.fill(&token, secret, self.take(secret)?, name)?;
                    *value = filled;
                }
                Some(_) if name == COOKIE => has_cookie_token = true,
                Some(token) => self.judge(name, &token, shape.text())?,
                None if is_open => {
                    *value = REMOVED;
                    emptied.push(name.clone());
                }
                None => {}
            }
        }
        emptied.iter().for_each(|name| remove_emptied(headers, name));
        if has_cookie_token || self.destination.slots().any(|slot| matches!(slot.slot, Slot::Cookie(_))) {
            self.fill_cookies(headers)?;
        }
        Ok(())
    }

    /// The headers that are slots for this request.
    fn open_headers(&self) -> SmallVec<[&'a HeaderName; 4]> {
        let slots = self.destination.slots().filter(|slot| slot.bound.iter().any(|bound| bound.applies(self.ask)));
        slots.filter_map(|slot| slot.header.as_ref()).collect()
    }

    /// A token in a header that is no slot here: a try to use it, or only talked about.
    fn judge(&mut self, name: &HeaderName, token: &Token, text: &[u8]) -> Result<(), InjectError> {
        let is_this = |slot: &Slot| matches!(slot, Slot::Header(slot) if **slot == *name.as_str());
        if is_credential_header(name) || self.is_slot_elsewhere(&token.whose, is_this) {
            self.due(&token.whose, std::iter::empty(), || Place::Header(name.clone()))?;
        }
        self.pass(text);
        Ok(())
    }

    /// RFC 6265, section 4.2: `name=value; name=value`. Cookies that are no slot stay as they are.
    fn fill_cookies(&mut self, headers: &mut HeaderMap) -> Result<(), InjectError> {
        let mut lines = Vec::new();
        for line in headers.get_all(COOKIE) {
            let mut kept = Vec::new();
            for pair in line.as_bytes().split(|b| *b == b';').map(<[u8]>::trim_ascii) {
                kept.extend(self.cookie(pair)?);
            }
            lines.push(Zeroizing::new(kept.join(&b"; "[..])));
        }
        headers.remove(COOKIE);
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let value = HeaderValue::from_bytes(line);
            let mut value = value.map_err(|_| InjectError::Foreign { place: Place::Header(COOKIE) })?;
            value.set_sensitive(true);
            headers.append(COOKIE, value);
        }
        Ok(())
    }

    /// One cookie as it leaves; nothing where it is a slot that the agent filled itself.
    fn cookie(&mut self, pair: &[u8]) -> Result<Option<Vec<u8>>, InjectError> {
        let (name, value) = split(pair);
        let is_this = |slot: &Slot| matches!(slot, Slot::Cookie(slot) if slot.as_bytes() == name);
        let bound = || self.destination.slots().filter(|slot| is_this(&slot.slot)).flat_map(|slot| &slot.bound);
        let place = || Place::Cookie(String::from_utf8_lossy(name).into_owned());
        let whole = self.destination.broker().vault().tokens().whole(value);
        if bound().any(|bound| bound.applies(self.ask)) {
            let Some(whose) = whole else { return Ok(None) };
            let secret = self.due(&whose, bound(), place)?;
            let value = self.take(secret)?;
            if !value.bytes().all(is_cookie_octet) {
                return Err(InjectError::Unfit { secret: secret.name().clone(), place: place() });
            }
            return Ok(Some([name, b"=", value.as_bytes()].concat()));
        }
        if let Some(whose) = whole.filter(|whose| self.is_slot_elsewhere(whose, is_this)) {
            self.due(&whose, std::iter::empty(), place)?;
        }
        self.pass(pair);
        Ok(Some(pair.to_vec()))
    }
}

/// Stands for a value that is to go, until its header is put together again; no value that was filled in is empty.
const REMOVED: HeaderValue = HeaderValue::from_static("");

fn remove_emptied(headers: &mut HeaderMap, name: &HeaderName) {
    let kept: Vec<HeaderValue> = headers.get_all(name).iter().filter(|value| !value.is_empty()).cloned().collect();
    headers.remove(name);
    for value in kept {
        headers.append(name.clone(), value);
    }
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|b| *b == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// RFC 6265, section 4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}
