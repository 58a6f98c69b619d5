//! A document turned into direct lookups.
//!
//! host → slot (hash or label trie) → port → [`Site`] → scopes by request path (trie) → rules by request path (trie).
//! Everything that depends on the document alone is done here, once.

mod callers;
mod graphql;
mod http;
mod methods;
mod rpc;
mod site;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tollgate_model::{Authority, Host, Port};

pub(crate) use callers::CallerSet;
pub(crate) use http::{HttpAsk, HttpRules, Origin};
pub(crate) use methods::MethodSet;
pub(crate) use site::{Scope, Site};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{CredentialBinding, Document, Endpoint, Entry, When};
use crate::glob::PathGlob;
use crate::hosts::HostMap;

/// A compiled policy: everything that [`connect`](Policy::connect) and [`decide`](Policy::decide) need, and the document
/// that it was made of.
#[derive(Debug, Clone)]
pub struct Policy {
    document: Document,
    hosts: HostMap<u32>,
    /// The slot of endpoints without a host.
    any_host: Option<u32>,
    /// By slot; in each the ports in order.
    sites: Vec<Vec<(Port, Site)>>,
    callers: Vec<CallerSet>,
    conditions: Vec<When>,
    /// By [`EndpointId`]: the key of the entry and the index in it.
    endpoints: Vec<(Arc<str>, usize)>,
    /// The document's, where links were followed with what they lead to.
    credentials: Vec<CredentialBinding>,
}

/// One endpoint of one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(u32);

/// Rules counted once for every port of their endpoint: bounds what a small document can grow to.
const MAX_PLACEMENTS: usize = 262_144;

impl Policy {
    /// Compiles a document.
    ///
    /// # Errors
    /// A document that would grow beyond bounds.
    pub fn compile(document: Document) -> Result<Self, Diagnostics> {
        refuse_growth(&document)?;
        let mut compiler = Compiler::default();
        for (key, entry) in &document.network_policies {
            compiler.entry(key, entry);
        }
        let Compiler { hosts, any_host, sites, callers, conditions, endpoints, .. } = compiler;
        let sites = sites.into_iter().map(finish_ports).collect();
        let credentials = document.credentials.clone();
        Ok(Self { document, hosts, any_host, sites, callers, conditions, endpoints, credentials })
    }

    /// The same where a program that is named by a link is also the one that the link leads to: callers are known by the
    /// files that they run. `resolve` gives the path without links of one that is there; its flag says that the program may be
    /// another than at first. The document stays as it is.
    #[must_use]
    pub fn following(mut self, resolve: &dyn Fn(&str, bool) -> Option<String>) -> Self {
        self.callers.iter_mut().for_each(|callers| callers.follow(resolve));
        for globs in self.credentials.iter_mut().filter_map(|binding| binding.binaries.as_mut()) {
            let names: Vec<String> = globs.iter().filter_map(PathGlob::literal).collect();
            globs.extend(callers::targets(&names, |name| resolve(name, false)));
        }
        self
    }

    /// Which secret may go where.
    #[must_use]
    pub fn credentials(&self) -> &[CredentialBinding] {
        &self.credentials
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// An endpoint and the key of its entry.
    ///
    /// # Panics
    /// Where the id is of another policy.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> (&str, &Endpoint) {
        let (key, index) = &self.endpoints[id.0 as usize];
        (key, &self.document.network_policies[&**key].endpoints[*index])
    }

    /// Hands out the sites of a destination: of exact hosts, of wildcards, and of endpoints without a host.
    pub(crate) fn sites<'p, B>(
        &'p self,
        authority: &Authority,
        mut see: impl FnMut(&'p Site) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.hosts.visit(&authority.host, |slot| self.site(slot, authority.port, &mut see))?;
        self.any_host.map_or(ControlFlow::Continue(()), |slot| self.site(slot, authority.port, &mut see))
    }

    fn site<'p, B>(
        &'p self,
        slot: u32,
        port: Port,
        see: &mut impl FnMut(&'p Site) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let ports = &self.sites[slot as usize];
        match ports.binary_search_by_key(&port, |(port, _)| *port) {
            Ok(index) => see(&ports[index].1),
            Err(_) => ControlFlow::Continue(()),
        }
    }

    pub(crate) fn covers_host(&self, host: &Host) -> bool {
        self.hosts.contains(host)
    }

    pub(crate) fn callers(&self, scope: &Scope) -> &CallerSet {
        &self.callers[scope.callers as usize]
    }

    pub(crate) fn condition(&self, scope: &Scope) -> Option<&When> {
        scope.when.map(|index| &self.conditions[index as usize])
    }
}

fn refuse_growth(document: &Document) -> Result<(), Diagnostics> {
    let mut placements = 0_usize;
    for entry in document.network_policies.values() {
        for endpoint in &entry.endpoints {
            let rules = endpoint.rules.len() + endpoint.deny_rules.len() + 1;
            placements = placements.saturating_add(rules.saturating_mul(endpoint.ports.len()));
            if placements > MAX_PLACEMENTS {
                let message =
                    format!("the policy has more than {MAX_PLACEMENTS} rules once each is counted for each port");
                return Err(Diagnostic::error(endpoint.at, message).hint("write fewer ports or rules").into());
            }
        }
    }
    Ok(())
}

/// What grows while entries come in.
#[derive(Default)]
struct Compiler {
    hosts: HostMap<u32>,
    slots: HashMap<String, u32>,
    any_host: Option<u32>,
    sites: Vec<HashMap<Port, Site>>,
    callers: Vec<CallerSet>,
    known_callers: HashMap<Option<(Vec<String>, bool)>, u32>,
    conditions: Vec<When>,
    endpoints: Vec<(Arc<str>, usize)>,
}

impl Compiler {
    fn entry(&mut self, key: &str, entry: &Entry) {
        let key: Arc<str> = key.into();
        let callers = self.caller_set(entry);
        let when = entry.when.as_ref().map(|when| {
            self.conditions.push(when.clone());
            index(self.conditions.len() - 1)
        });
        for (position, endpoint) in entry.endpoints.iter().enumerate() {
            let id = EndpointId(index(self.endpoints.len()));
            self.endpoints.push((key.clone(), position));
            let slot = self.slot(endpoint);
            let placed = site::Placed { key: &key, id, callers, when, endpoint };
            for port in &endpoint.ports {
                self.sites[slot as usize].entry(*port).or_default().add(&placed);
            }
        }
    }

    fn caller_set(&mut self, entry: &Entry) -> u32 {
        let names = entry.binaries.as_ref().map(|binaries| {
            let mut names: Vec<String> = binaries.iter().map(|binary| binary.path.to_string()).collect();
            names.sort();
            (names, entry.upgrades)
        });
        let fresh = index(self.callers.len());
        let known = *self.known_callers.entry(names).or_insert(fresh);
        if known == fresh {
            self.callers.push(CallerSet::new(entry));
        }
        known
    }

    fn slot(&mut self, endpoint: &Endpoint) -> u32 {
        let fresh = index(self.sites.len());
        let slot = match &endpoint.host {
            None => *self.any_host.get_or_insert(fresh),
            Some(pattern) => {
                let spelling = pattern.exact().map_or_else(|| pattern.as_str().to_lowercase(), ToString::to_string);
                let slot = *self.slots.entry(spelling).or_insert(fresh);
                if slot == fresh {
                    self.hosts.insert(pattern, slot);
                }
                slot
            }
        };
        if slot == fresh {
            self.sites.push(HashMap::new());
        }
        slot
    }
}

fn finish_ports(ports: HashMap<Port, Site>) -> Vec<(Port, Site)> {
    let mut ports: Vec<(Port, Site)> = ports.into_iter().map(|(port, site)| (port, site.finish())).collect();
    ports.sort_by_key(|(port, _)| *port);
    ports
}

/// Counts are bounded by the size of a document, far below `u32`.
fn index(count: usize) -> u32 {
    u32::try_from(count).expect("documents are bounded to far fewer items than u32 holds")
}
