//! The connection: host, port and program in one entry.

use std::ops::ControlFlow;
use std::sync::Arc;

use tollgate_model::{Authority, Caller, ConnectAsk, EncodedSlash, Program};

use super::reason::Reason;
use super::verdict::{ConnectPermit, Denial, Inspection, Reach};
use super::{Asker, Circumstances, Conditions, Scopes, usable};
use crate::compile::{Policy, Scope};

impl Policy {
    /// May this caller connect there? Entries with `when:` do not count; see [`connect_when`](Self::connect_when).
    ///
    /// # Errors
    /// The refusal.
    pub fn connect(&self, ask: &ConnectAsk<'_>) -> Result<ConnectPermit, Denial> {
        self.connect_when(ask, &Circumstances::default())
    }

    /// May this caller connect there, under these circumstances?
    ///
    /// # Errors
    /// The refusal.
    pub fn connect_when(&self, ask: &ConnectAsk<'_>, conditions: &dyn Conditions) -> Result<ConnectPermit, Denial> {
        let mut asker = Asker::new(self, ask.caller, conditions);
        let scopes = usable(self, ask.authority, &mut asker);
        let Some(policy) = smallest_key(&scopes) else {
            return Err(refusal(self, ask.authority, &mut asker));
        };
        Ok(ConnectPermit {
            policy,
            inspection: inspection(&scopes),
            encoded_slash: encoded_slash(&scopes),
            reach: reach(&scopes, ask.authority),
        })
    }
}

impl Scope {
    /// Where no rule depends on the path, no spelling dodges one.
    pub(super) fn accepts_encoded_slash(&self) -> bool {
        self.reading.allow_encoded_slash || !self.judges_paths
    }
}

pub(super) fn smallest_key(scopes: &Scopes<'_>) -> Option<Arc<str>> {
    scopes.iter().map(|scope| &scope.policy).min().cloned()
}

fn inspection(scopes: &Scopes<'_>) -> Inspection {
    let read = scopes.iter().any(|scope| scope.is_inspected());
    match !read && scopes.iter().any(|scope| scope.reading.opaque) {
        true => Inspection::Opaque,
        false => Inspection::Http,
    }
}

fn encoded_slash(scopes: &Scopes<'_>) -> EncodedSlash {
    match scopes.iter().any(|scope| scope.accepts_encoded_slash()) {
        true => EncodedSlash::Keep,
        false => EncodedSlash::Refuse,
    }
}

/// The first of these that applies: listed addresses, a literal address, a host named exactly, public addresses.
fn reach(scopes: &Scopes<'_>, authority: &Authority) -> Reach {
    if let Some(scope) = scopes.iter().find(|scope| !scope.allowed_ips.is_empty()) {
        return Reach::AllowedIps(scope.allowed_ips.clone());
    }
    if let Some(address) = authority.host.address() {
        return Reach::Literal(address);
    }
    match scopes.iter().any(|scope| scope.exact_host) {
        true => Reach::Declared,
        false => Reach::PublicOnly,
    }
}

/// The program, and where that is so why its path does not count.
fn in_words(program: &Program) -> String {
    let changed = if program.changed { " (another file than at first; see `upgrades`)" } else { "" };
    format!("{}{changed}", program.path)
}

/// Why nobody lets this caller through.
pub(super) fn refusal(policy: &Policy, authority: &Authority, asker: &mut Asker<'_>) -> Denial {
    if policy.document().network_policies.is_empty() {
        return Denial { reason: Reason::NoPolicies, policy: None };
    }
    let mut named: Vec<Arc<str>> = Vec::new();
    let mut unmet: Option<Arc<str>> = None;
    let _ = policy.sites(authority, |site| {
        for scope in &site.scopes {
            if asker.is_named(scope) {
                unmet.get_or_insert_with(|| scope.policy.clone());
            }
            named.push(scope.policy.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    named.sort();
    named.dedup();
    let reason = match (unmet, asker.caller) {
        (Some(policy), _) => Reason::Circumstances { policy },
        (None, _) if named.is_empty() => Reason::EndpointNotAllowed { destination: authority.to_string() },
        (None, Caller::Unknown(why)) => Reason::CallerUnknown { why: *why, destination: authority.to_string() },
        (None, Caller::Known { program, ancestors, .. }) => Reason::BinaryNotAllowed {
            program: in_words(program),
            policies: named,
            ancestors: ancestors.iter().map(in_words).collect(),
        },
    };
    Denial { reason, policy: None }
}
