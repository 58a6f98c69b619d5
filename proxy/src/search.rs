//! What replies are searched for: the secrets of the generation that judged the request, and those that have come into
//! force since. A stream may outlive many rotations; what it was opened with stays on its list, whatever else is forgotten.

use std::sync::Arc;

use tollgate_secrets::{Needles, Scrubber};

use crate::{Generation, Rules};

/// The secrets that one reply is searched for.
#[derive(Debug)]
pub(crate) struct Search {
    rules: Arc<Rules>,
    /// The vault that was seen last.
    vault: u64,
    own: Arc<Needles>,
    latest: Option<Arc<Needles>>,
}

/// One body or message that is searched while it passes.
#[derive(Debug)]
pub(crate) struct Sieve {
    vault: u64,
    own: Scrubber,
    latest: Option<Scrubber>,
}

impl Search {
    pub(crate) fn new(rules: &Arc<Rules>, judged_by: &Generation, needles: &Arc<Needles>) -> Self {
        Self { rules: Arc::clone(rules), vault: judged_by.vault_number, own: Arc::clone(needles), latest: None }
    }

    /// True when every replacement that is known now is as long as what it replaces.
    pub(crate) fn keeps_length(&mut self) -> bool {
        self.learn();
        self.own.keeps_length() && self.latest.as_ref().is_none_or(|latest| latest.keeps_length())
    }

    /// Whether any of these texts holds a secret.
    pub(crate) fn any<'t>(&mut self, mut texts: impl Iterator<Item = &'t [u8]>) -> bool {
        self.learn();
        texts.any(|text| {
            let suspicious =
                self.own.may_be_in(text) || self.latest.as_ref().is_some_and(|latest| latest.may_be_in(text));
            suspicious && self.whole(text).is_some()
        })
    }

    /// A short text at once; nothing when it holds no secret.
    pub(crate) fn whole(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        self.learn();
        let first = self.own.scrub_whole(text);
        let second = self.latest.as_ref().and_then(|latest| latest.scrub_whole(first.as_deref().unwrap_or(text)));
        second.or(first)
    }

    pub(crate) fn sieve(&self) -> Sieve {
        let scrubber = |needles: &Arc<Needles>| Scrubber::new(Arc::clone(needles));
        Sieve { vault: self.vault, own: scrubber(&self.own), latest: self.latest.as_ref().map(scrubber) }
    }

    /// A secret is in force before any request carries it, and so before any reply can repeat it.
    fn learn(&mut self) {
        if self.rules.vault_number() != self.vault {
            let current = self.rules.current();
            self.vault = current.vault_number;
            self.latest = Some(Arc::clone(current.broker.vault().needles()));
        }
    }
}

impl Sieve {
    /// Takes the next piece and gives what can be passed on; nothing when `piece` can be passed on as it is.
    pub(crate) fn push(&mut self, search: &mut Search, piece: &[u8]) -> Option<Vec<u8>> {
        search.learn();
        let first = self.own.push(piece);
        let renewed = (self.vault != search.vault).then(|| self.renew(search));
        let Some(latest) = &mut self.latest else { return first };
        let second = latest.push(first.as_deref().unwrap_or(piece));
        match (renewed, second.or(first)) {
            (Some(held), Some(rest)) => Some([held, rest].concat()),
            (Some(held), None) if held.is_empty() => None,
            (Some(held), None) => Some([&held[..], piece].concat()),
            (None, clean) => clean,
        }
    }

    /// Takes the last piece, as [`Sieve::push`] does, and ends the body with it.
    pub(crate) fn push_last(&mut self, search: &mut Search, piece: &[u8]) -> Option<Vec<u8>> {
        search.learn();
        if self.vault == search.vault && self.latest.is_none() {
            return self.own.push_last(piece);
        }
        let mut clean = self.push(search, piece).unwrap_or_else(|| piece.to_vec());
        clean.extend(self.finish());
        Some(clean)
    }

    /// Ends the body and gives what was held back.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let rest = self.own.finish();
        let Some(latest) = &mut self.latest else { return rest };
        let mut clean = latest.push(&rest).unwrap_or(rest);
        clean.extend(latest.finish());
        clean
    }

    /// Secrets replaced so far, since the vault changed last for those that the reply was not opened with.
    pub(crate) fn found(&self) -> u64 {
        self.own.found() + self.latest.as_ref().map_or(0, Scrubber::found)
    }

    /// Goes on with the newest secrets; gives what was held back for the ones before.
    fn renew(&mut self, search: &Search) -> Vec<u8> {
        self.vault = search.vault;
        let newest = search.latest.as_ref().map(|needles| Scrubber::new(Arc::clone(needles)));
        let mut former = std::mem::replace(&mut self.latest, newest);
        former.as_mut().map(Scrubber::finish).unwrap_or_default()
    }
}
