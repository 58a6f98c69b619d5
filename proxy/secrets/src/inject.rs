//! Injection: the one place where a placeholder becomes a secret.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tollgate_model::{Ask, Scheme};
use tollgate_policy::{CredentialBinding, Permit};

use crate::binding::{applies, reaches};
use crate::slot::{Shape, is_credential_header};
use crate::vault::Found;
use crate::{Needles, SecretName, Vault};

/// A request that may leave: judged, and holding whatever secrets it is due.
///
/// Only [`inject`] makes one, and only from a [`Permit`]; the upstream side takes nothing else.
#[derive(Debug)]
pub struct Outbound {
    parts: Parts,
    exchanged: Vec<String>,
    inert: Vec<String>,
    scrub: Option<Arc<Needles>>,
}

/// Why a request gets no credential and must not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The placeholder stands in a credential's place of a destination that it is not bound to.
    #[error("credential {secret} is not bound to header `{header}` of this destination")]
    Unbound {
        /// Whose placeholder.
        secret: SecretName,
        /// Where it stood.
        header: HeaderName,
    },
    /// The placeholder is in its slot, but not alone there.
    #[error("the placeholder of credential {secret} is not the whole credential in header `{header}`")]
    Misplaced {
        /// Whose placeholder.
        secret: SecretName,
        /// Where it stood.
        header: HeaderName,
    },
    /// The request would travel in clear.
    #[error("credential {secret} is never sent over clear text")]
    Cleartext {
        /// Whose placeholder.
        secret: SecretName,
    },
}

impl Outbound {
    /// The request head to send. Its injected values are marked sensitive.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    /// Names of the credentials that were put in.
    #[must_use]
    pub fn exchanged(&self) -> &[String] {
        &self.exchanged
    }

    /// Names of the credentials whose placeholder stands where nothing is exchanged.
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
}

/// Swaps the placeholders of a permitted request for their secrets, in the slots that `bindings` open for it.
///
/// `bindings` are those of the policy that gave the permit, of the same generation as `vault`. A header that is such a
/// slot and holds something of the agent's own is removed. Placeholders outside slots stay as they are and are reported.
///
/// # Errors
/// [`InjectError`] when a placeholder stands where a credential would be used, but must not be.
pub fn inject(
    _permit: &Permit,
    ask: &Ask<'_>,
    vault: &Vault,
    bindings: &[CredentialBinding],
    mut parts: Parts,
) -> Result<Outbound, InjectError> {
    let bound: Vec<_> = bindings.iter().filter(|b| reaches(b, ask.authority)).collect();
    let open: Vec<_> = bound.iter().copied().filter(|b| applies(b, ask)).collect();
    let mut swap = Swap { ask, vault, bindings, open: &open, exchanged: Vec::new(), inert: Vec::new() };
    swap.target(&parts);
    let mut headers = http::HeaderMap::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        if let Some(value) = swap.header(name, value)? {
            headers.append(name, value);
        }
    }
    parts.headers = headers;
    let scrub = (!bound.is_empty() && !vault.needles().is_empty()).then(|| Arc::clone(vault.needles()));
    Ok(Outbound { parts, exchanged: swap.exchanged, inert: swap.inert, scrub })
}

struct Swap<'a> {
    ask: &'a Ask<'a>,
    vault: &'a Vault,
    bindings: &'a [CredentialBinding],
    open: &'a [&'a CredentialBinding],
    exchanged: Vec<String>,
    inert: Vec<String>,
}

impl Swap<'_> {
    /// The target has no slots yet: what stands there stays.
    fn target(&mut self, parts: &Parts) {
        let target = parts.uri.path_and_query().map_or("", |t| t.as_str());
        let names: Vec<_> = self.vault.find(target.as_bytes()).map(|f| f.secret.name().to_string()).collect();
        names.into_iter().for_each(|name| note(&mut self.inert, name));
    }

    /// The header as it leaves, or nothing when it must not.
    fn header(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<Option<HeaderValue>, InjectError> {
        let is_open_slot = self.open.iter().any(|b| *b.header == *name.as_str());
        let shape = Shape::of(name, value);
        let found = self.vault.find(shape.text()).collect::<Vec<_>>();
        let Some(first) = found.first().copied() else {
            return Ok((!is_open_slot).then(|| value.clone()));
        };
        if !self.is_slot_of(name, first) {
            if is_open_slot || is_credential_header(name) || self.is_slot_elsewhere(name, first) {
                return Err(InjectError::Unbound { secret: first.secret.name().clone(), header: name.clone() });
            }
            found.iter().for_each(|f| note(&mut self.inert, f.secret.name().to_string()));
            return Ok(Some(value.clone()));
        }
        if self.ask.scheme != Scheme::Https {
            return Err(InjectError::Cleartext { secret: first.secret.name().clone() });
        }
        let filled = shape.fill(first, name)?;
        note(&mut self.exchanged, first.secret.name().to_string());
        Ok(Some(filled))
    }

    fn is_slot_of(&self, name: &HeaderName, found: Found<'_>) -> bool {
        self.open.iter().any(|b| *b.credential == *found.secret.name().as_str() && *b.header == *name.as_str())
    }

    fn is_slot_elsewhere(&self, name: &HeaderName, found: Found<'_>) -> bool {
        self.bindings.iter().any(|b| *b.credential == *found.secret.name().as_str() && *b.header == *name.as_str())
    }
}

fn note(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// True when some credential is bound to this destination, so that its replies will be searched.
#[must_use]
pub fn is_bound(bindings: &[CredentialBinding], authority: &tollgate_model::Authority) -> bool {
    bindings.iter().any(|binding| reaches(binding, authority))
}
