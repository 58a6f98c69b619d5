//! The configuration of the agent in a running sandbox: one key of it read or set from outside.
//!
//! What a user sets may hold tokens. They do not go inside: each is kept in the store, attached to the sandbox, and bound in its
//! policy to the service beside which it stood; the agent finds a reference in its place.

mod bearer;
mod file;
mod kept;
mod key;
pub mod redact;

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value};
use tollgate_model::Authority;
use tollgate_policy::document::check as check_document;
use tollgate_policy::hosts::HostPattern;
use tollgate_policy::{CredentialBinding, Document, Position, Slot};
use tollgate_wire::credentials::Attach;
use tollgate_wire::policy::Shown;

use bearer::Token;
pub use kept::{forget, leave_out_reset, restore};
use key::GATEWAY;
pub use key::{Key, KeyError};

use crate::commands::Running;
use crate::credentials::Store;
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home, SandboxFolder};
use crate::operator::{ATTACH_CREDENTIAL, POLICY};

/// A policy is in force and a credential attached within milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What setting a key came to.
pub struct Set {
    /// Credentials that tokens became, each with the service that it is bound to.
    pub moved: Vec<(String, Authority)>,
}

/// The whole configuration, or what stands at a key; nothing where nothing does. What looks like a secret is not shown.
pub fn get(sandbox: &Running, key: Option<&Key>) -> Result<Option<Value>, Failure> {
    Ok(shown(file::read(&sandbox.folder)?, key))
}

/// The same of a sandbox that does not run: what its agent gets at the next start.
pub fn get_kept(sandbox: &SandboxFolder, key: Option<&Key>) -> Result<Option<Value>, Failure> {
    kept::document(sandbox).map(|document| shown(document, key))
}

fn shown(mut document: Map<String, Value>, key: Option<&Key>) -> Option<Value> {
    document.remove(GATEWAY);
    let document = Value::Object(document);
    let found = match key {
        Some(key) => key.get(&document).cloned(),
        None => Some(document),
    };
    found.map(redact::value)
}

/// Sets a key of what the agent of a sandbox gets at its next start. A token is bound in the policy of one that runs alone.
pub fn set_kept(stopped: &Claim, key: &Key, mut value: Value) -> Result<(), Failure> {
    let sandbox = &stopped.folder;
    let usage = |e: &dyn std::fmt::Display| Failure::new(Kind::Usage, e.to_string());
    let tokens = bearer::take(&mut value, key.parts(), &sandbox.name).map_err(|e| usage(&e))?;
    if let Some(token) = tokens.first() {
        let (name, service) = (&sandbox.name, &token.service);
        let message = format!(
            "the token for {service} has to be bound in the policy of {name}, which does not run, so nothing changed; first run: \
             tollgate sandbox start {name}"
        );
        return Err(Failure::new(Kind::Other, message));
    }
    let mut document = kept::document(sandbox)?;
    key.set(&mut document, value).map_err(|e| usage(&e))?;
    kept::keep(sandbox, &document, std::iter::empty())
}

/// Sets a key. Whatever can be refused is refused before anything has changed.
pub fn set(home: &Home, sandbox: &Running, key: &Key, mut value: Value) -> Result<Set, Failure> {
    let usage = |e: &dyn std::fmt::Display| Failure::new(Kind::Usage, e.to_string());
    let tokens = bearer::take(&mut value, key.parts(), &sandbox.name).map_err(|e| usage(&e))?;
    let _alone = kept::lock(&sandbox.folder)?;
    let mut document = file::read(&sandbox.folder)?;
    key.set(&mut document, value).map_err(|e| usage(&e))?;
    if !tokens.is_empty() {
        move_out(home, sandbox, &tokens)?;
    }
    kept::keep(&sandbox.folder, &document, tokens.iter().map(|token| token.name.clone()))?;
    file::write(&sandbox.folder, &document)?;
    Ok(Set { moved: tokens.into_iter().map(|token| (token.name, token.service)).collect() })
}

/// First what can be refused: a policy in which the tokens are bound. Until a credential of that name is attached, the binding
/// lends nothing.
fn move_out(home: &Home, sandbox: &Running, tokens: &[Token]) -> Result<(), Failure> {
    check(sandbox, tokens)?;
    sandbox.edit(PATIENCE, |document| Ok(bound(document, tokens)))?;
    Store::of(home).change(|entries| {
        for token in tokens {
            let entry = entries.0.entry(token.name.clone()).or_default();
            if entry.value.as_ref().is_none_or(|value| **value != *token.value) || entry.revoked {
                entry.rotate(token.value.clone());
            }
        }
        Ok(())
    })?;
    for token in tokens {
        let body = Attach { name: token.name.clone() };
        sandbox.change::<()>((Method::POST, ATTACH_CREDENTIAL), &body, PATIENCE, "")?;
    }
    Ok(())
}

/// Finds out whether the policy, with what providers bring, would take the bindings; says what is missing where it does not.
fn check(sandbox: &Running, tokens: &[Token]) -> Result<(), Failure> {
    let Shown { text, .. } = sandbox.fetch(&format!("{POLICY}?text=effective"))?;
    let document = tollgate_policy::document::read(&text.unwrap_or_default())
        .map_err(|e| Failure::new(Kind::Policy, format!("the policy in force cannot be read: {e}")))?;
    check_document(&bound(document, tokens)).map_err(|mistakes| {
        let services: Vec<_> = tokens.iter().map(|token| token.service.to_string()).collect();
        let message = format!(
            "the policy of {} does not let requests with a token go to {}, so nothing changed; allow it first, as with \
             `openshell policy update {} --add-endpoint {}:full:rest:enforce --binary PATH`: {mistakes}",
            sandbox.name,
            services.join(", "),
            sandbox.name,
            services[0]
        );
        Failure::new(Kind::Policy, message)
    })
}

/// The policy with each token's name bound to the header of requests to its service, and to nothing else.
fn bound(mut document: Document, tokens: &[Token]) -> Document {
    document.credentials.retain(|binding| tokens.iter().all(|token| *token.name != *binding.credential));
    document.credentials.extend(tokens.iter().filter_map(binding));
    document
}

/// Nothing for a host that no policy can name, which `check` then finds to be unbound.
fn binding(token: &Token) -> Option<CredentialBinding> {
    Some(CredentialBinding {
        at: Position::default(),
        credential: token.name.as_str().into(),
        host: HostPattern::parse(&token.service.host.to_string()).ok()?,
        port: token.service.port,
        slot: Slot::Header("authorization".into()),
        path: None,
        methods: Vec::new(),
        binaries: None,
        allow_cleartext: false,
    })
}
