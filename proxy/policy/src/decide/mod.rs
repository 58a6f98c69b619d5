//! The one decision function: may this caller connect there, may it send this request?
//!
//! A connection needs one entry that names host, port and program together. A request inside it is judged by the
//! endpoints that match it: the narrowest `path` decides what is allowed, any deny rule of any of them wins. Nothing here
//! allocates on the way to an allow.

mod circumstances;
mod connect;
mod message;
mod operations;
mod payload;
mod reason;
mod request;
mod verdict;

use smallvec::SmallVec;
use tollgate_model::{Authority, Caller};

pub use circumstances::{Circumstances, Conditions};
pub use payload::Payload;
pub use reason::{Reason, Unreadable};
pub use verdict::{BodyNeed, ConnectPermit, Decision, Denial, Inspection, Layer, Mode, Permit, Reach};

use crate::compile::{Policy, Scope};

/// Scopes that match one ask; more than these rarely meet.
type Scopes<'p> = SmallVec<[&'p Scope; 8]>;

/// Who asks under which circumstances; remembers the last answer, since neighbouring scopes share their callers.
struct Asker<'a> {
    policy: &'a Policy,
    caller: &'a Caller,
    conditions: &'a dyn Conditions,
    last: Option<(*const crate::compile::CallerSet, bool)>,
}

impl<'a> Asker<'a> {
    fn new(policy: &'a Policy, caller: &'a Caller, conditions: &'a dyn Conditions) -> Self {
        Self { policy, caller, conditions, last: None }
    }

    /// True where the scope is for this caller, now.
    fn may_use(&mut self, scope: &Scope) -> bool {
        self.is_named(scope) && self.holds(scope)
    }

    fn is_named(&mut self, scope: &Scope) -> bool {
        let set = self.policy.callers(scope);
        match self.last {
            Some((last, answer)) if std::ptr::eq(last, set) => answer,
            _ => {
                let answer = set.matches(self.caller);
                self.last = Some((set, answer));
                answer
            }
        }
    }

    fn holds(&self, scope: &Scope) -> bool {
        self.policy.condition(scope).is_none_or(|when| self.conditions.hold(when))
    }
}

/// Every scope of a destination, whatever its path, that the asker may use.
fn usable<'p>(policy: &'p Policy, authority: &Authority, asker: &mut Asker<'_>) -> Scopes<'p> {
    let mut scopes = Scopes::new();
    let _ = policy.sites(authority, |site| {
        scopes.extend(site.scopes.iter().filter(|scope| asker.may_use(scope)));
        std::ops::ControlFlow::<()>::Continue(())
    });
    scopes
}
