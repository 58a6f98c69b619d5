//! A request inside a connection.

use std::ops::ControlFlow;
use std::sync::Arc;

use tollgate_inspect::query;
use tollgate_model::Ask;

use super::connect::{refusal, smallest_key};
use super::verdict::{Decision, Denial, Mode, Permit, Reason};
use super::{Asker, Circumstances, Conditions, Scopes, usable};
use crate::compile::{HttpAsk, Policy, Scope};
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
        let mut asker = Asker::new(self, ask.caller, conditions);
        let scopes = matching(self, ask, &mut asker);
        let Some(best) = scopes.iter().filter(|scope| scope.is_inspected()).map(|scope| scope.specificity).max() else {
            return without_rules(self, ask, &scopes, &mut asker);
        };
        Judged { ask, scopes: &scopes, best }.verdict()
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
    match (readers.next(), readers.next(), covering.first()) {
        (None, _, Some(scope)) => Decision::Allow(by_connection(scope, smallest_key(&all))),
        (None, _, None) => Decision::Deny(refusal(policy, ask.authority, asker)),
        // The only one that reads requests: what it does not speak for is a refusal of its own, audited like any other.
        (Some(only), None, _) => {
            let reason = Reason::NotPermitted { operation: in_words(ask) };
            refuse(only, Denial { reason, policy: smallest_key(&all) })
        }
        (Some(_), Some(_), _) => Decision::Deny(Denial { reason: Reason::NoEndpointPath, policy: smallest_key(&all) }),
    }
}

fn by_connection(scope: &Scope, policy: Option<Arc<str>>) -> Permit {
    Permit {
        policy: policy.unwrap_or_else(|| scope.policy.clone()),
        entry: scope.policy.clone(),
        rule: scope.connection.clone(),
        endpoint: scope.endpoint,
        protocol: None,
        mode: Mode::Enforce,
    }
}

/// Lets a refusal pass where the endpoint that speaks for the request is in audit mode.
fn refuse(scope: &Scope, denial: Denial) -> Decision {
    if !scope.reading.audit {
        return Decision::Deny(denial);
    }
    Decision::Allow(Permit {
        policy: denial.policy.clone().unwrap_or_else(|| scope.policy.clone()),
        entry: scope.policy.clone(),
        rule: scope.connection.clone(),
        endpoint: scope.endpoint,
        protocol: scope.reading.protocol,
        mode: Mode::Audit { would: Box::new(denial) },
    })
}

/// A request and the scopes that match it, of which those with the narrowest path are authoritative.
struct Judged<'a, 'p> {
    ask: &'a Ask<'a>,
    scopes: &'a Scopes<'p>,
    best: usize,
}

impl<'p> Judged<'_, 'p> {
    fn verdict(&self) -> Decision {
        let Some(first) = self.authoritative().next() else { return self.deny(Reason::NoEndpointPath) };
        if self.authoritative().any(|scope| scope.reading != first.reading) {
            return self.deny(Reason::Ambiguous);
        }
        if let Err(error) = query::check(self.ask.query.unwrap_or_default()) {
            return self.deny(error.into());
        }
        let slash = self.ask.path.as_str().contains("%2F");
        if slash && !self.readers().all(Scope::accepts_encoded_slash) {
            return self.deny(Reason::EncodedSlash);
        }
        match first.reading.protocol {
            Some(Protocol::Rest | Protocol::Websocket) => self.http(first),
            Some(Protocol::Graphql | Protocol::JsonRpc | Protocol::Mcp | Protocol::Tcp) | None => {
                self.deny(Reason::NotPermitted { operation: in_words(self.ask) })
            }
        }
    }

    fn http(&self, first: &Scope) -> Decision {
        let ask = HttpAsk {
            method: self.ask.method.as_str(),
            path: self.ask.path.as_str(),
            query: self.ask.query.unwrap_or_default(),
        };
        if let Some(rule) = self.readers().find_map(|scope| scope.deny.refusing(ask)) {
            let reason = Reason::DenyRule { operation: in_words(self.ask), rule: rule.text.clone() };
            return refuse(first, Denial { reason, policy: self.policy() });
        }
        let Some(rule) = self.authoritative().find_map(|scope| scope.allow.allowing(ask)) else {
            let reason = Reason::NotPermitted { operation: in_words(self.ask) };
            return refuse(first, Denial { reason, policy: self.policy() });
        };
        Decision::Allow(Permit {
            policy: self.policy().unwrap_or_else(|| rule.entry.clone()),
            entry: rule.entry.clone(),
            rule: rule.text.clone(),
            endpoint: rule.endpoint,
            protocol: first.reading.protocol,
            mode: Mode::Enforce,
        })
    }

    fn readers(&self) -> impl Iterator<Item = &'p Scope> {
        self.scopes.iter().copied().filter(|scope| scope.is_inspected())
    }

    fn authoritative(&self) -> impl Iterator<Item = &'p Scope> {
        self.readers().filter(|scope| scope.specificity == self.best)
    }

    fn policy(&self) -> Option<Arc<str>> {
        smallest_key(self.scopes)
    }

    /// A refusal that audit mode does not lift: the request itself cannot be judged.
    fn deny(&self, reason: Reason) -> Decision {
        Decision::Deny(Denial { reason, policy: self.policy() })
    }
}

fn in_words(ask: &Ask<'_>) -> String {
    format!("{} {}", ask.method, ask.path)
}
