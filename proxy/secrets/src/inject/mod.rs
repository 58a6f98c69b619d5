//! Injection: the one place where a placeholder becomes a secret.

mod error;
mod headers;
mod target;

use std::sync::Arc;

use http::header;
use http::request::Parts;
use tollgate_model::{Ask, Scheme};
use tollgate_policy::{Permit, Rewrites, Slot};

pub use error::{InjectError, Place};
pub(crate) use target::decoded;

use crate::broker::{Bound, BoundSlot, Destination};
use crate::rewrite::{Encoding, Fields};
use crate::tokens::{Token, Whose};
use crate::{Needles, Secret};

/// A request that may leave: judged, and holding whatever secrets it is due.
///
/// Only [`inject`] makes one, and only from a [`Permit`]; the upstream side takes nothing else.
pub struct Outbound {
    parts: Parts,
    exchanged: Vec<String>,
    inert: Vec<String>,
    scrub: Option<Arc<Needles>>,
    body: Option<(Arc<Fields>, Encoding)>,
    messages: Option<Arc<Fields>>,
}

impl Outbound {
    /// The request head to send. Its injected header values are marked sensitive; its target may hold a value as well.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    /// Names of the credentials that were put into the head.
    #[must_use]
    pub fn exchanged(&self) -> &[String] {
        &self.exchanged
    }

    /// Names of the credentials whose placeholder stands in the head where nothing is exchanged.
    #[must_use]
    pub fn inert(&self) -> &[String] {
        &self.inert
    }

    /// What to scrub the reply with: set for every destination that some credential is bound to, whether this request
    /// carries one or not, since a reply may repeat what an earlier request brought.
    #[must_use]
    pub fn scrub(&self) -> Option<&Arc<Needles>> {
        self.scrub.as_ref()
    }

    /// What to exchange in the body, with [`Rewriter::new`](crate::Rewriter::new): set where the request has a body of a
    /// kind that is read, without content coding, and a binding opens fields of it. `Content-Length` has been removed
    /// from the head where the exchange could change it.
    #[must_use]
    pub fn body(&self) -> Option<(&Arc<Fields>, Encoding)> {
        self.body.as_ref().map(|(fields, encoding)| (fields, *encoding))
    }

    /// What to exchange in each text message of the client, as JSON, once the connection has become a WebSocket.
    #[must_use]
    pub fn messages(&self) -> Option<&Arc<Fields>> {
        self.messages.as_ref()
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (exchanged, inert) = (&self.exchanged, &self.inert);
        f.debug_struct("Outbound").field("exchanged", exchanged).field("inert", inert).finish_non_exhaustive()
    }
}

/// Swaps the placeholders of a permitted request for their secrets, in the slots that the bindings of its `destination`
/// open for it.
///
/// `destination` is that of `ask`, looked up in the broker of the generation that gave the permit. A header or cookie that
/// is such a slot and holds something of the agent's own is removed; a path or query parameter of that kind is refused,
/// since removing it would change what was judged. Placeholders outside slots stay as they are and are reported.
///
/// # Errors
/// [`InjectError`] when a placeholder stands where a credential would be used, but must not be.
pub fn inject(
    permit: &Permit,
    ask: &Ask<'_>,
    destination: &Destination<'_>,
    mut parts: Parts,
) -> Result<Outbound, InjectError> {
    let mut swap = Swap { ask, destination, rewrites: permit.rewrites(), exchanged: Vec::new(), inert: Vec::new() };
    swap.target(&mut parts)?;
    swap.headers(&mut parts.headers)?;
    let body = swap.body(&mut parts);
    let messages = swap.messages();
    let Swap { exchanged, inert, .. } = swap;
    Ok(Outbound { parts, exchanged, inert, scrub: destination.needles().cloned(), body, messages })
}

/// What to exchange in a text message of a WebSocket that a request has opened: asked anew with each, since the bindings and
/// secrets of now count. `permit` is that of the request under the rules of now, `destination` as for [`inject`].
#[must_use]
pub fn message_fields(permit: &Permit, ask: &Ask<'_>, destination: &Destination<'_>) -> Option<Arc<Fields>> {
    Swap { ask, destination, rewrites: permit.rewrites(), exchanged: Vec::new(), inert: Vec::new() }.messages()
}

/// One request on its way through.
struct Swap<'a> {
    ask: &'a Ask<'a>,
    destination: &'a Destination<'a>,
    rewrites: Rewrites,
    exchanged: Vec<String>,
    inert: Vec<String>,
}

impl<'a> Swap<'a> {
    /// The token's secret, where one of the bindings lets this request have it.
    ///
    /// # Errors
    /// Where there is no such secret, no such binding, or it must not travel here.
    fn due(
        &self,
        token: &Whose,
        bound: impl Iterator<Item = &'a Bound>,
        place: impl Fn() -> Place,
    ) -> Result<&'a Secret, InjectError> {
        let index = match token {
            Whose::Secret(index) => *index,
            Whose::Unknown(name) => return Err(InjectError::Unknown { secret: name.clone(), place: place() }),
        };
        let secret = &self.destination.broker().vault().secrets()[index];
        let mut open = bound.filter(|bound| bound.secret == Some(index) && bound.applies(self.ask)).peekable();
        if open.peek().is_none() {
            return Err(InjectError::Unbound { secret: secret.name().clone(), place: place() });
        }
        if self.ask.scheme != Scheme::Https && !open.any(|bound| bound.binding.allow_cleartext) {
            return Err(InjectError::Cleartext { secret: secret.name().clone() });
        }
        Ok(secret)
    }

    /// The value to put in; noted as exchanged.
    fn take(&mut self, secret: &'a Secret) -> Result<&'a str, InjectError> {
        let unavailable =
            |reason: &str| InjectError::Unavailable { secret: secret.name().clone(), reason: reason.to_owned() };
        let value = secret.value().map_err(unavailable)?;
        note(&mut self.exchanged, secret);
        Ok(value)
    }

    /// Notes every token of a text in which nothing is exchanged.
    fn pass(&mut self, text: &[u8]) {
        let mut from = 0;
        while let Some(token) = self.find(text, from) {
            if let Whose::Secret(index) = token.whose {
                note(&mut self.inert, &self.destination.broker().vault().secrets()[index]);
            }
            from = token.end;
        }
    }

    fn find(&self, text: &[u8], from: usize) -> Option<Token> {
        self.destination.broker().vault().tokens().find(text, from)
    }

    /// The name of the secret, where some binding opens such a slot for it somewhere: a token there is a try to use it.
    fn is_slot_elsewhere(&self, token: &Whose, is: impl Fn(&Slot) -> bool) -> bool {
        match token {
            Whose::Secret(index) => self.destination.broker().is_slot(*index, is),
            Whose::Unknown(_) => false,
        }
    }

    fn body(&self, parts: &mut Parts) -> Option<(Arc<Fields>, Encoding)> {
        let fields = self.fields(self.rewrites.body, |slot| match slot {
            Slot::Body(name) => Some(name),
            _ => None,
        })?;
        let plain = parts.headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity");
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| Encoding::of(kind.as_bytes()));
        let encoding = kind.filter(|_| plain)?;
        parts.headers.remove(header::CONTENT_LENGTH);
        Some((fields, encoding))
    }

    fn messages(&self) -> Option<Arc<Fields>> {
        self.fields(self.rewrites.messages, |slot| match slot {
            Slot::WebSocket(name) => Some(name),
            _ => None,
        })
    }

    /// The fields that are open to this request: those that a binding names; `all` of them, where its endpoint says so, for
    /// a credential of which no binding names one.
    fn fields(&self, all: bool, of: impl Fn(&Slot) -> Option<&Option<Box<str>>>) -> Option<Arc<Fields>> {
        let lent = |slot: &'a BoundSlot| slot.bound.iter().filter_map(|bound| self.lent(bound));
        let named = |slot: &&BoundSlot| of(&slot.slot).is_some();
        let mut open = Vec::new();
        for slot in self.destination.slots() {
            match of(&slot.slot) {
                Some(name) => open.extend(lent(slot).map(|secret| (name.clone(), secret))),
                None if all => {
                    let has_none = |secret: &usize| {
                        let mut others = self.destination.slots().filter(named).flat_map(|slot| &slot.bound);
                        others.all(|bound| bound.secret != Some(*secret))
                    };
                    open.extend(lent(slot).filter(has_none).map(|secret| (None, secret)));
                }
                None => {}
            }
        }
        let vault = self.destination.broker().vault();
        (!open.is_empty()).then(|| Arc::new(Fields::new(Arc::clone(vault), open)))
    }

    /// The secret of a binding that is for this request, where it may travel.
    fn lent(&self, bound: &Bound) -> Option<usize> {
        let is_safe = self.ask.scheme == Scheme::Https || bound.binding.allow_cleartext;
        bound.secret.filter(|_| is_safe && bound.applies(self.ask))
    }
}

fn note(names: &mut Vec<String>, secret: &Secret) {
    let name = secret.name().as_str();
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
