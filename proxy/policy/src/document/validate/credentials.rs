//! A credential may go only where the policy reads what is sent.

use super::Report;
use crate::diagnostic::Diagnostics;
use crate::document::{CredentialBinding, Document, Endpoint, Protocol, Tls};

pub(super) fn credentials(document: &Document, found: &mut Diagnostics) {
    for binding in &document.credentials {
        let endpoints = || document.network_policies.values().flat_map(|entry| &entry.endpoints);
        let covering = || endpoints().filter(|endpoint| covers(endpoint, binding));
        if covering().next().is_none() {
            let message = format!(
                "the credential `{}` is bound to {}:{}, which no endpoint covers",
                binding.credential, binding.host, binding.port
            );
            found.error_with(binding.at, message, "add an endpoint for it, or correct the binding");
        } else if let Some(blind) = covering().find(|endpoint| is_blind(endpoint)) {
            let message = format!(
                "the credential `{}` is bound to {}, where the connection is not read",
                binding.credential,
                blind.describe()
            );
            found.error_with(binding.at, message, "remove `tls: skip` or `protocol: tcp` there");
        }
    }
}

/// True where the endpoint covers every host of the binding at its port.
fn covers(endpoint: &Endpoint, binding: &CredentialBinding) -> bool {
    let host = match (&endpoint.host, binding.host.exact()) {
        (Some(pattern), Some(host)) => pattern.matches(host),
        (Some(pattern), None) => *pattern == binding.host,
        (None, _) => false,
    };
    host && endpoint.ports.contains(&binding.port)
}

fn is_blind(endpoint: &Endpoint) -> bool {
    endpoint.tls == Some(Tls::Skip) || endpoint.protocol == Some(Protocol::Tcp)
}
