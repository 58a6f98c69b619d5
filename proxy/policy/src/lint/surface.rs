//! How much could leave through an entry, as one number.
//!
//! For each endpoint and port: how many hosts it covers (an exact host 1, an address range or one-label wildcard 8, more
//! 16) times what can be sent (reading only 1, since a URL carries data too; rules that write 4; everything 8; unread
//! bytes 10) times who may (up to 4 programs count themselves, any program 8). The sum over the endpoints of an entry.

use serde::Serialize;

use super::{hosts, is_for_anybody};
use crate::document::{Access, Endpoint, Entry};

/// The number of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Surface {
    /// The key of the entry.
    pub policy: String,
    /// The number.
    pub score: u64,
}

pub(super) fn surface(key: &str, entry: &Entry) -> Surface {
    let who = match &entry.binaries {
        _ if is_for_anybody(entry) => 8,
        Some(binaries) => binaries.len().min(4) as u64,
        None => 8,
    };
    let one = |endpoint: &Endpoint| hosts_of(endpoint) * what(endpoint) * who * endpoint.ports.len() as u64;
    Surface { policy: key.to_owned(), score: entry.endpoints.iter().map(one).sum() }
}

fn hosts_of(endpoint: &Endpoint) -> u64 {
    match &endpoint.host {
        Some(host) if host.exact().is_some() => 1,
        Some(host) if host.as_str().matches('*').count() == 1 => 8,
        None if endpoint.allowed_ips.len() == 1 => 8,
        Some(_) | None => 16,
    }
}

fn what(endpoint: &Endpoint) -> u64 {
    match (endpoint.inspected(), endpoint.access) {
        (None, _) => 10,
        (Some(_), Some(Access::Full)) => 8,
        _ if hosts::can_write(endpoint) => 4,
        _ => 1,
    }
}
