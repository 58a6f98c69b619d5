//! Everything that a policy says about one host pattern at one port.

use std::collections::HashMap;
use std::sync::Arc;

use super::graphql::GraphqlRules;
use super::http::Origin;
use super::rpc::RpcRules;
use super::{EndpointId, HttpRules, index};
use crate::document::{Cidr, Endpoint, Protocol, Rewrites};
use crate::glob::GlobMap;

/// The scopes of a host pattern and port, found by request path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) by_path: GlobMap<u32>,
    /// Only while compiling: which scope speaks for what.
    known: HashMap<ScopeKey, u32>,
}

/// Endpoints of one site that have callers, circumstances, path and way of reading in common, with their rules.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(super) callers: u32,
    pub(super) when: Option<u32>,
    /// The smallest key among the entries that it comes from.
    pub(crate) policy: Arc<str>,
    /// How narrow its path is; the narrowest scope decides alone.
    pub(crate) specificity: usize,
    pub(crate) reading: Reading,
    /// Where the host may resolve to; shared by all endpoints that overlap.
    pub(crate) allowed_ips: Arc<[Cidr]>,
    /// An exact name or address that the author wrote down.
    pub(crate) exact_host: bool,
    /// False where every rule covers every path, so that no spelling of a path dodges one.
    pub(crate) judges_paths: bool,
    pub(crate) allow: HttpRules,
    pub(crate) deny: HttpRules,
    /// About operations inside bodies and messages.
    pub(crate) graphql: GraphqlRules,
    pub(crate) rpc: RpcRules,
    /// What stands for a rule where only the connection was judged.
    pub(crate) connection: Origin,
}

/// How traffic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    /// Nothing where only the connection is judged.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) audit: bool,
    pub(crate) allow_encoded_slash: bool,
    /// Bytes pass unread.
    pub(crate) opaque: bool,
    pub(crate) body_limit: u32,
    pub(crate) rewrites: Rewrites,
}

type ScopeKey = (u32, Option<u32>, Box<str>, Reading, Option<EndpointId>);

/// An endpoint on its way into a site.
pub(super) struct Placed<'d> {
    pub(super) key: &'d Arc<str>,
    pub(super) id: EndpointId,
    pub(super) callers: u32,
    pub(super) when: Option<u32>,
    pub(super) endpoint: &'d Endpoint,
}

impl Site {
    pub(super) fn add(&mut self, placed: &Placed<'_>) {
        let endpoint = placed.endpoint;
        let path = endpoint.path.as_ref().filter(|path| !path.is_any());
        let reading = Reading::of(endpoint);
        // Only plain HTTP rules can be poured together.
        let alone = !matches!(reading.protocol, None | Some(Protocol::Rest));
        let key: ScopeKey = (
            placed.callers,
            placed.when,
            path.map_or("", |path| path.as_str()).into(),
            reading,
            alone.then_some(placed.id),
        );
        let fresh = index(self.scopes.len());
        let known = *self.known.entry(key).or_insert(fresh);
        if known == fresh {
            self.scopes.push(Scope::new(placed, reading));
            match path {
                Some(path) => self.by_path.insert(path, fresh),
                None => self.by_path.insert_any(fresh),
            }
        }
        self.scopes[known as usize].add_rules(placed);
    }

    pub(super) fn finish(mut self) -> Self {
        self.known = HashMap::new();
        self
    }
}

impl Scope {
    fn new(placed: &Placed<'_>, reading: Reading) -> Self {
        let endpoint = placed.endpoint;
        Self {
            callers: placed.callers,
            when: placed.when,
            policy: placed.key.clone(),
            specificity: endpoint.path.as_ref().map_or(0, |path| path.specificity()),
            reading,
            allowed_ips: endpoint.allowed_ips.as_slice().into(),
            exact_host: endpoint.host.as_ref().is_some_and(|host| host.exact().is_some()),
            judges_paths: endpoint.path.as_ref().is_some_and(|path| !path.is_any()),
            allow: HttpRules::default(),
            deny: HttpRules::default(),
            graphql: GraphqlRules::default(),
            rpc: RpcRules::default(),
            connection: Origin { text: "connection".into(), entry: placed.key.clone(), endpoint: placed.id },
        }
    }

    fn add_rules(&mut self, placed: &Placed<'_>) {
        let endpoint = placed.endpoint;
        match self.reading.protocol {
            Some(Protocol::Rest) => self.add_http(placed),
            Some(Protocol::Websocket) => {
                self.add_http(placed);
                let operations = Endpoint { access: None, ..endpoint.clone() };
                self.graphql = GraphqlRules::new(&operations, placed.key, placed.id);
            }
            Some(Protocol::Graphql) => self.graphql = GraphqlRules::new(endpoint, placed.key, placed.id),
            Some(Protocol::JsonRpc | Protocol::Mcp) => self.rpc = RpcRules::new(endpoint, placed.key, placed.id),
            Some(Protocol::Tcp) | None => {}
        }
    }

    fn add_http(&mut self, placed: &Placed<'_>) {
        let endpoint = placed.endpoint;
        if let Some(access) = endpoint.access {
            self.allow.push_access(access, self.reading.protocol, placed.key, placed.id);
        }
        for rule in endpoint.rules.iter().filter(|rule| rule.is_http()) {
            self.allow.push(rule, placed.key, placed.id);
        }
        for rule in endpoint.deny_rules.iter().filter(|rule| rule.is_http()) {
            self.deny.push(rule, placed.key, placed.id);
        }
        let mut rules = endpoint.rules.iter().chain(&endpoint.deny_rules);
        self.judges_paths |= rules.any(|rule| rule.path.as_ref().is_some_and(|path| !path.is_any()));
    }

    /// What stands for a rule where the protocol itself allows something.
    pub(crate) fn own_origin(&self, text: &str) -> Origin {
        Origin { text: text.into(), ..self.connection.clone() }
    }

    /// True where requests inside the connection are judged.
    pub(crate) fn is_inspected(&self) -> bool {
        self.reading.protocol.is_some()
    }
}

impl Reading {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            protocol: endpoint.inspected(),
            audit: endpoint.is_audit(),
            allow_encoded_slash: endpoint.allow_encoded_slash,
            opaque: endpoint.passes_unread(),
            body_limit: endpoint.body_limit(),
            rewrites: endpoint.rewrites(),
        }
    }
}
