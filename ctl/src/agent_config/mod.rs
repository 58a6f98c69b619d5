//! The configuration of the agent in a running sandbox: one key of it read or set from outside.
//!
//! What a user sets may hold tokens. They do not go inside: each is kept in the store, attached to the sandbox, and bound in its
//! policy to the service beside which it stood; the agent finds a reference in its place.

mod bearer;
mod file;
mod kept;
mod key;
pub mod redact;

use std::path::PathBuf;
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
use crate::credentials::{Store, attach};
use crate::definition::Definition;
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home, SandboxFolder};
use crate::operator::{ATTACH_CREDENTIAL, POLICY};
use crate::policies::{PolicyFile, change_next};

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

/// Sets a key of what the agent of a sandbox gets at its next start.
pub fn set_kept(home: &Home, stopped: &Claim, key: &Key, mut value: Value) -> Result<Set, Failure> {
    let sandbox = &stopped.folder;
    let usage = |e: &dyn std::fmt::Display| Failure::new(Kind::Usage, e.to_string());
    let tokens = bearer::take(&mut value, key.parts(), &sandbox.name).map_err(|e| usage(&e))?;
    let mut document = kept::document(sandbox)?;
    key.set(&mut document, value).map_err(|e| usage(&e))?;
    if !tokens.is_empty() {
        bind_next(home, sandbox, &tokens)?;
        store(home, &tokens)?;
    }
    kept::keep(sandbox, &document, tokens.iter().map(|token| token.name.clone()))?;
    Ok(Set::of(tokens))
}

/// Binds tokens in the policy that a sandbox starts with next; refuses what the start would.
fn bind_next(home: &Home, sandbox: &SandboxFolder, tokens: &[Token]) -> Result<(), Failure> {
    // It stays, or nothing would be set for its next start.
    let Some(definition) = Definition::load(sandbox)? else { return Ok(()) };
    let attachments = attach(home, &definition.options.providers, &mut Vec::new())?;
    let within = |path: &PathBuf| definition.workdir.join(path);
    let image = definition.options.rootfs.as_ref().map(within);
    let file = PolicyFile::or_gone(&within(&definition.options.policy)).of_image(image).attaching(attachments.clone());
    change_next(sandbox, &file, |document| {
        let mut effective = document.clone();
        effective.attach(&attachments).map_err(|mistakes| Failure::new(Kind::Policy, mistakes.to_string()))?;
        check(&sandbox.name, effective, tokens)?;
        Ok(bound(document, tokens))
    })
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
    Ok(Set::of(tokens))
}

impl Set {
    fn of(tokens: Vec<Token>) -> Self {
        Self { moved: tokens.into_iter().map(|token| (token.name, token.service)).collect() }
    }
}

/// First what can be refused: a policy in which the tokens are bound. Until a credential of that name is attached, the binding
/// lends nothing.
fn move_out(home: &Home, sandbox: &Running, tokens: &[Token]) -> Result<(), Failure> {
    let Shown { text, .. } = sandbox.fetch(&format!("{POLICY}?text=effective"))?;
    let effective = tollgate_policy::document::read(&text.unwrap_or_default())
        .map_err(|e| Failure::new(Kind::Policy, format!("the policy in force cannot be read: {e}")))?;
    check(&sandbox.name, effective, tokens)?;
    sandbox.edit(PATIENCE, |document| Ok(bound(document, tokens)))?;
    store(home, tokens)?;
    for token in tokens {
        let body = Attach { name: token.name.clone() };
        sandbox.change::<()>((Method::POST, ATTACH_CREDENTIAL), &body, PATIENCE, "")?;
    }
    Ok(())
}

fn store(home: &Home, tokens: &[Token]) -> Result<(), Failure> {
    Store::of(home).change(|entries| {
        for token in tokens {
            let entry = entries.0.entry(token.name.clone()).or_default();
            if entry.value.as_ref().is_none_or(|value| **value != *token.value) || entry.revoked {
                entry.rotate(token.value.clone());
            }
        }
        Ok(())
    })
}

/// Finds out whether the policy, with what providers bring, would take the bindings; says what is missing where it does not.
fn check(sandbox: &str, effective: Document, tokens: &[Token]) -> Result<(), Failure> {
    check_document(&bound(effective, tokens)).map_err(|mistakes| {
        let services: Vec<_> = tokens.iter().map(|token| token.service.to_string()).collect();
        let message = format!(
            "the policy of {sandbox} does not let requests with a token go to {}, so nothing changed; allow it first, as with \
             `openshell policy update {sandbox} --add-endpoint {}:full:rest:enforce --binary PATH`: {mistakes}",
            services.join(", "),
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
