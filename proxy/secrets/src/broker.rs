//! The broker: one generation of bindings and vault, compiled so that a request looks up its destination once.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::HeaderName;
use tollgate_model::{Ask, Authority, Caller, Port, Program};
use tollgate_policy::hosts::HostMap;
use tollgate_policy::{CredentialBinding, Slot};

use crate::{Needles, Vault};

/// Which secret may go where, and the secrets. Immutable: a change of policy or vault makes a new one.
#[derive(Debug)]
pub struct Broker {
    vault: Arc<Vault>,
    hosts: HostMap<u32>,
    /// Bindings with the same host pattern and port.
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    port: Port,
    slots: Vec<BoundSlot>,
}

/// A slot and everything that is bound to it in one group.
#[derive(Debug)]
pub(crate) struct BoundSlot {
    pub(crate) slot: Slot,
    /// The header, where the slot is one.
    pub(crate) header: Option<HeaderName>,
    pub(crate) bound: Vec<Bound>,
}

/// A binding, and the index of its secret where the vault has it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) secret: Option<usize>,
    pub(crate) binding: CredentialBinding,
}

/// What the broker knows of one destination: found once for a request.
#[derive(Debug, Clone)]
pub struct Destination<'a> {
    broker: &'a Broker,
    first: Option<&'a Group>,
    /// Where wildcards cover the host as well.
    others: Vec<&'a Group>,
}

impl Broker {
    /// Compiles the bindings of a policy with the secrets of its generation.
    #[must_use]
    pub fn new(bindings: &[CredentialBinding], vault: Arc<Vault>) -> Self {
        let mut broker = Self { vault, hosts: HostMap::default(), groups: Vec::new() };
        let mut known: Vec<(&str, Port)> = Vec::new();
        for binding in bindings {
            let key = (binding.host.as_str(), binding.port);
            let index = known.iter().position(|other| *other == key).unwrap_or_else(|| {
                known.push(key);
                broker.groups.push(Group { port: binding.port, slots: Vec::new() });
                let index = broker.groups.len() - 1;
                broker.hosts.insert(&binding.host, u32::try_from(index).expect("bindings are bounded by the document"));
                index
            });
            let secret =
                broker.vault.secrets().iter().position(|secret| *secret.name().as_str() == *binding.credential);
            broker.groups[index].add(Bound { secret, binding: binding.clone() });
        }
        broker
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Looks a destination up.
    #[must_use]
    pub fn destination(&self, authority: &Authority) -> Destination<'_> {
        let (mut first, mut others) = (None, Vec::new());
        let all = self.hosts.visit(&authority.host, |index| {
            let group = &self.groups[index as usize];
            if group.port == authority.port {
                match first {
                    None => first = Some(group),
                    Some(_) => others.push(group),
                }
            }
            ControlFlow::<()>::Continue(())
        });
        debug_assert!(all.is_continue());
        Destination { broker: self, first, others }
    }

    /// True when some binding, of whatever destination, opens such a slot for the secret.
    pub(crate) fn is_slot(&self, secret: usize, is: impl Fn(&Slot) -> bool) -> bool {
        let slots = self.groups.iter().flat_map(|group| &group.slots);
        slots.filter(|slot| is(&slot.slot)).any(|slot| slot.bound.iter().any(|bound| bound.secret == Some(secret)))
    }
}

impl Group {
    fn add(&mut self, bound: Bound) {
        let known = self.slots.iter().position(|slot| slot.slot == bound.binding.slot);
        let index = known.unwrap_or_else(|| {
            let slot = bound.binding.slot.clone();
            let header = match &slot {
                Slot::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
                _ => None,
            };
            self.slots.push(BoundSlot { slot, header, bound: Vec::new() });
            self.slots.len() - 1
        });
        self.slots[index].bound.push(bound);
    }
}

impl<'a> Destination<'a> {
    /// True when some credential is bound to this destination, so that its replies are searched.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.first.is_some()
    }

    /// What replies are searched for; nothing where no credential is bound.
    #[must_use]
    pub fn needles(&self) -> Option<&'a Arc<Needles>> {
        let needles = self.broker.vault.needles();
        (self.is_bound() && !needles.is_empty()).then_some(needles)
    }

    /// Whether a request that was lent a credential could be lent it now.
    ///
    /// # Errors
    /// Why not.
    pub fn still_lends(&self, name: &str, ask: &Ask<'_>) -> Result<(), String> {
        let secrets = self.broker.vault.secrets();
        let index = secrets.iter().position(|secret| secret.name().as_str() == name);
        let Some(index) = index else { return Err(format!("the credential {name} is no longer held")) };
        secrets[index]
            .value()
            .map_err(|reason| format!("the credential {name} cannot be used any longer: {reason}"))?;
        let mut bound = self.slots().flat_map(|slot| &slot.bound);
        match bound.any(|bound| bound.secret == Some(index) && bound.applies(ask)) {
            true => Ok(()),
            false => Err(format!("the credential {name} is no longer bound to this destination")),
        }
    }

    pub(crate) fn broker(&self) -> &'a Broker {
        self.broker
    }

    /// Every slot of the destination, open to this request or not.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &'a BoundSlot> {
        self.first.into_iter().chain(self.others.iter().copied()).flat_map(|group| &group.slots)
    }

    /// What is bound to a header.
    pub(crate) fn header(&self, name: &HeaderName) -> impl Iterator<Item = &'a Bound> {
        self.slots().filter(move |slot| slot.header.as_ref() == Some(name)).flat_map(|slot| &slot.bound)
    }
}

impl Bound {
    /// True when the binding is for this very request: method, path and program. The destination was looked up.
    pub(crate) fn applies(&self, ask: &Ask<'_>) -> bool {
        let binding = &self.binding;
        let method = |allowed: &str| {
            // As in rules: what may be read may be asked about.
            allowed.eq_ignore_ascii_case(ask.method.as_str())
                || (allowed == "GET" && ask.method.as_str().eq_ignore_ascii_case("HEAD"))
        };
        (binding.methods.is_empty() || binding.methods.iter().any(|allowed| method(allowed)))
            && binding.path.as_ref().is_none_or(|path| path.matches(ask.path.as_str()))
            && binding.binaries.as_ref().is_none_or(|globs| globs.iter().any(|glob| is_caller(glob, ask.caller)))
    }
}

/// The program itself or one of its ancestors; an unknown caller is nobody.
fn is_caller(glob: &tollgate_policy::glob::PathGlob, caller: &Caller) -> bool {
    match caller {
        Caller::Known { program, ancestors, .. } => {
            let mut names = std::iter::once(program).chain(ancestors).filter_map(Program::name);
            names.any(|name| glob.matches(name))
        }
        Caller::Unknown(_) => false,
    }
}
