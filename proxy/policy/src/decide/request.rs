//! A request inside a connection.

use std::ops::ControlFlow;
use std::sync::Arc;

use tollgate_inspect::query;
use tollgate_model::Ask;

use super::connect::{refusal, smallest_key};
use super::payload::Payload;
use super::reason::Reason;
use super::verdict::{Decision, Denial, Mode, Permit};
use super::{Asker, Circumstances, Conditions, Scopes, usable};
use crate::compile::{HttpAsk, Origin, Policy, Scope};
use crate::document::Protocol;

impl Policy {
    /// May this caller send this request? Entries with `when:` do not count; see [`decide_when`](Self::decide_when).
    #[must_use]
    pub fn decide(&self, ask: &Ask<'_>) -> Decision {
        self.decide_when(ask, &Circumstances::default())
    }

    /// May this caller send this request, under these circumstances?
    #[must_use]
    pub fn decide_when(&self, ask: &Ask<'_>, conditions: &dyn Conditions) -> Decision {
        self.judge(ask, conditions, |judged, first| judged.request(first, None))
    }

    /// The second step where [`decide`](Self::decide) needs a body. Never answers that it needs one.
    #[must_use]
    pub fn decide_with_body(&self, ask: &Ask<'_>, payload: Payload<'_>) -> Decision {
        self.decide_with_body_when(ask, payload, &Circumstances::default())
    }

    /// The same under these circumstances.
    #[must_use]
    pub fn decide_with_body_when(&self, ask: &Ask<'_>, payload: Payload<'_>, conditions: &dyn Conditions) -> Decision {
        self.judge(ask, conditions, |judged, first| judged.request(first, Some(payload)))
    }

    /// Finds the scopes that speak for the request, refuses what no protocol accepts, and hands over to `judge`.
    pub(super) fn judge(
        &self,
        ask: &Ask<'_>,
        conditions: &dyn Conditions,
        judge: impl FnOnce(&Judged<'_, '_>, &Scope) -> Decision,
    ) -> Decision {
        let mut asker = Asker::new(self, ask.caller, conditions);
        let scopes = matching(self, ask, &mut asker);
        let Some(best) = scopes.iter().filter(|scope| scope.is_inspected()).map(|scope| scope.specificity).max() else {
            return without_rules(self, ask, &scopes, &mut asker);
        };
        let judged = Judged { ask, scopes: &scopes, best };
        match judged.reader() {
            Ok(first) => judge(&judged, first),
            Err(reason) => judged.deny(reason),
        }
    }
}

/// Scopes that the caller may use and whose path covers the request.
fn matching<'p>(policy: &'p Policy, ask: &Ask<'_>, asker: &mut Asker<'_>) -> Scopes<'p> {
    let mut scopes = Scopes::new();
    let _ = policy.sites(ask.authority, |site| {
        site.by_path.visit(ask.path.as_str(), |index| {
            let scope = &site.scopes[index as usize];
            if asker.may_use(scope) {
                scopes.push(scope);
            }
            ControlFlow::<()>::Continue(())
        })
    });
    scopes
}

/// No endpoint that reads requests speaks for this path: either none reads any, or all speak for others.
fn without_rules(policy: &Policy, ask: &Ask<'_>, covering: &Scopes<'_>, asker: &mut Asker<'_>) -> Decision {
    let all = usable(policy, ask.authority, asker);
    let mut readers = all.iter().filter(|scope| scope.is_inspected());
    let policy_key = smallest_key(&all);
    match (readers.next(), readers.next(), covering.first()) {
        (None, _, Some(scope)) => {
            let policy = policy_key.unwrap_or_else(|| scope.policy.clone());
            Decision::Allow(permit(policy, scope, &scope.connection, Mode::Enforce))
        }
        (None, _, None) => Decision::Deny(refusal(policy, ask.authority, asker)),
        // The only one that reads requests: what it does not speak for is a refusal of its own, audited like any other.
        (Some(only), None, _) => {
            let reason = Reason::NotPermitted { operation: format!("{} {}", ask.method, ask.path) };
            refuse(only, Denial { reason, policy: policy_key })
        }
        (Some(_), Some(_), _) => Decision::Deny(Denial { reason: Reason::NoEndpointPath, policy: policy_key }),
    }
}

/// Lets a refusal pass where the endpoint that speaks for the request is in audit mode.
fn refuse(scope: &Scope, denial: Denial) -> Decision {
    if !scope.reading.audit {
        return Decision::Deny(denial);
    }
    let policy = denial.policy.clone().unwrap_or_else(|| scope.policy.clone());
    let mode = Mode::Audit { would: Box::new(denial) };
    Decision::Allow(permit(policy, scope, &scope.connection, mode))
}

fn permit(policy: Arc<str>, scope: &Scope, by: &Origin, mode: Mode) -> Permit {
    Permit {
        policy,
        entry: by.entry.clone(),
        rule: by.text.clone(),
        endpoint: by.endpoint,
        protocol: scope.reading.protocol,
        rewrites: scope.reading.rewrites,
        mode,
    }
}

/// A request and the scopes that match it, of which those with the narrowest path are authoritative.
pub(super) struct Judged<'a, 'p> {
    pub(super) ask: &'a Ask<'a>,
    scopes: &'a Scopes<'p>,
    best: usize,
}

impl<'p> Judged<'_, 'p> {
    /// The scope that says how to read the request, once nothing forbids reading it at all.
    fn reader(&self) -> Result<&'p Scope, Reason> {
        let first = self.authoritative().next().ok_or(Reason::NoEndpointPath)?;
        if self.authoritative().any(|scope| scope.reading != first.reading) {
            return Err(Reason::Ambiguous);
        }
        query::check(self.ask.query.unwrap_or_default())?;
        let path = self.ask.path.as_str();
        // Nearly no path holds an escape, and looking for one byte is much cheaper than for three.
        let slash = path.as_bytes().contains(&b'%') && path.contains("%2F");
        if slash && !self.readers().all(Scope::accepts_encoded_slash) {
            return Err(Reason::EncodedSlash);
        }
        Ok(first)
    }

    /// Judges by the protocol of the endpoint; deny rules about HTTP count whatever the protocol is.
    pub(super) fn request(&self, first: &Scope, payload: Option<Payload<'_>>) -> Decision {
        let ask = self.http_ask();
        if let Some(rule) = self.readers().find_map(|scope| scope.deny.refusing(ask)) {
            let reason = Reason::DenyRule { operation: self.in_words(), rule: rule.text.clone() };
            return self.refuse(first, reason);
        }
        match first.reading.protocol {
            Some(Protocol::Rest) => self.http(first),
            Some(Protocol::Websocket) if self.ask.method.as_str() != "GET" => self.deny(Reason::UpgradeOnly),
            Some(Protocol::Websocket) => self.http(first),
            Some(Protocol::Graphql) => self.graphql(first, payload),
            Some(protocol @ (Protocol::JsonRpc | Protocol::Mcp)) => self.rpc(first, protocol, payload),
            Some(Protocol::Tcp) | None => self.deny(Reason::NoEndpointPath),
        }
    }

    fn http(&self, first: &Scope) -> Decision {
        let ask = self.http_ask();
        match self.authoritative().find_map(|scope| scope.allow.allowing(ask)) {
            Some(rule) => self.allow(first, rule),
            None => self.refuse(first, Reason::NotPermitted { operation: self.in_words() }),
        }
    }

    pub(super) fn http_ask(&self) -> HttpAsk<'_> {
        HttpAsk {
            method: self.ask.method.as_str(),
            path: self.ask.path.as_str(),
            query: self.ask.query.unwrap_or_default(),
        }
    }

    pub(super) fn readers(&self) -> impl Iterator<Item = &'p Scope> {
        self.scopes.iter().copied().filter(|scope| scope.is_inspected())
    }

    pub(super) fn authoritative(&self) -> impl Iterator<Item = &'p Scope> {
        self.readers().filter(|scope| scope.specificity == self.best)
    }

    pub(super) fn allow(&self, first: &Scope, by: &Origin) -> Decision {
        let policy = smallest_key(self.scopes).unwrap_or_else(|| by.entry.clone());
        Decision::Allow(permit(policy, first, by, Mode::Enforce))
    }

    /// A refusal that audit mode lifts.
    pub(super) fn refuse(&self, first: &Scope, reason: Reason) -> Decision {
        refuse(first, Denial { reason, policy: smallest_key(self.scopes) })
    }

    /// A refusal that audit mode does not lift: the request itself cannot be judged.
    pub(super) fn deny(&self, reason: Reason) -> Decision {
        Decision::Deny(Denial { reason, policy: smallest_key(self.scopes) })
    }

    pub(super) fn in_words(&self) -> String {
        self.in_words_as(self.ask.method.as_str())
    }

    pub(super) fn in_words_as(&self, method: &str) -> String {
        format!("{method} {}", self.ask.path)
    }
}
