//! Small changes of a document: an endpoint more or less, a rule more. As written on a command line, then applied.
//!
//! An update never grants more than it says: a program that joins an entry must be meant for all of it, and an endpoint that
//! joins an entry must be meant for all programs of it. Whether the changed document is a valid policy is for
//! [`check`](crate::document::check) or [`Policy::compile`](crate::Policy::compile) to say.
//!
//! ```
//! use tollgate_policy::document::read;
//! use tollgate_policy::update::{Operation, apply};
//!
//! let mut document = read("version: 1\n").unwrap();
//! let add = Operation::add_endpoint("api.example.com:443:read-only:rest", None, &["/usr/bin/curl".to_owned()]).unwrap();
//! apply(&mut document, &[add]).unwrap();
//! assert!(document.network_policies.contains_key("allow_api_example_com_443"));
//! ```

mod fold;
mod notation;
mod rules;
#[cfg(test)]
mod tests;

use tollgate_model::Port;

pub use notation::NotationError;

use crate::document::{Document, Endpoint, Rule};
use crate::glob::PathGlob;
use crate::hosts::HostPattern;

/// One change.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Let programs reach a destination.
    AddEndpoint(Addition),
    /// Close one port of a host, in every entry.
    RemoveEndpoint(Destination),
    /// Remove an entry, by its key.
    RemoveEntry(Box<str>),
    /// Allow one kind of request at an endpoint that is there.
    AddAllow(Destination, Rule),
    /// Refuse one kind of request at an endpoint that is there.
    AddDeny(Destination, Rule),
}

/// A destination for programs.
#[derive(Debug, Clone)]
pub struct Addition {
    /// The key of the entry that it belongs to, where one is named.
    entry: Option<Box<str>>,
    endpoint: Endpoint,
    binaries: Vec<PathGlob>,
}

/// A host and one port.
#[derive(Debug, Clone)]
pub struct Destination {
    host: HostPattern,
    port: Port,
}

/// Why a change cannot be made to this document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// There is no such endpoint.
    #[error("endpoint {0} was not found in the current policy")]
    NotFound(String),
    /// There are several, and it is not said which.
    #[error("{0} stands in several places of the policy; change it as a whole with `policy set`")]
    Ambiguous(String),
    /// Requests are not read there.
    #[error(
        "endpoint {0} has no protocol of requests (rest or websocket), so there is nothing that a rule could be about"
    )]
    Unread(String),
    /// A denial takes something that is allowed.
    #[error("endpoint {0} allows nothing that a deny rule could take away; allow something first")]
    NothingAllowed(String),
    /// The entry that is named would grant more than the update says.
    #[error("{reason}; leave the name out, or name an entry of its own")]
    Grants {
        /// Who would get what.
        reason: String,
    },
}

/// Makes all of the changes, in this order of kinds: endpoints that are added, endpoints that are removed, entries that are removed,
/// allow rules, deny rules. Gives what is worth telling of how they were made.
///
/// # Errors
/// The first change that cannot be made; the document is then worth nothing.
pub fn apply(document: &mut Document, operations: &[Operation]) -> Result<Vec<String>, UpdateError> {
    let mut told = Vec::new();
    let mut ordered: Vec<_> = operations.iter().collect();
    ordered.sort_by_key(|operation| operation.rank());
    for operation in ordered {
        match operation {
            Operation::AddEndpoint(addition) => fold::add(document, addition, &mut told)?,
            Operation::RemoveEndpoint(destination) => remove_endpoint(document, destination),
            Operation::RemoveEntry(key) => drop(document.network_policies.remove(key)),
            Operation::AddAllow(destination, rule) => rules::allow(document, destination, rule, &mut told)?,
            Operation::AddDeny(destination, rule) => rules::deny(document, destination, rule)?,
        }
    }
    Ok(told)
}

impl Operation {
    fn rank(&self) -> u8 {
        match self {
            Self::AddEndpoint(_) => 0,
            Self::RemoveEndpoint(_) => 1,
            Self::RemoveEntry(_) => 2,
            Self::AddAllow(..) => 3,
            Self::AddDeny(..) => 4,
        }
    }
}

impl Destination {
    fn is_in(&self, endpoint: &Endpoint) -> bool {
        endpoint.host.as_ref() == Some(&self.host) && endpoint.ports.contains(&self.port)
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Endpoints without a port, and entries without an endpoint, mean nothing and go as well.
fn remove_endpoint(document: &mut Document, destination: &Destination) {
    document.network_policies.retain(|_, entry| {
        let had_any = !entry.endpoints.is_empty();
        for endpoint in entry.endpoints.iter_mut().filter(|endpoint| destination.is_in(endpoint)) {
            endpoint.ports.retain(|port| *port != destination.port);
        }
        entry.endpoints.retain(|endpoint| !endpoint.ports.is_empty());
        !(had_any && entry.endpoints.is_empty())
    });
}
