//! The load-time proof: every request that could get a credential is one that the policy reads and judges.
//!
//! What would break that is refused by naming the request that would get through.

use super::Report;
use crate::diagnostic::Diagnostics;
use crate::document::{CredentialBinding, Document, Endpoint, Slot};

pub(super) fn credentials(document: &Document, found: &mut Diagnostics) {
    for binding in &document.credentials {
        let endpoints = || document.network_policies.values().flat_map(|entry| &entry.endpoints);
        if !endpoints().any(|endpoint| covers(endpoint, binding)) {
            let message = format!(
                "the credential `{}` is bound to {}:{}, which no endpoint covers",
                binding.credential, binding.host, binding.port
            );
            found.error_with(binding.at, message, "add an endpoint for it, or correct the binding");
            continue;
        }
        let touched: Vec<&Endpoint> = endpoints().filter(|endpoint| touches(endpoint, binding)).collect();
        if let Some((gap, endpoint)) = touched.iter().find_map(|endpoint| Gap::of(endpoint).map(|gap| (gap, endpoint)))
        {
            found.error_with(binding.at, gap.message(binding, endpoint), gap.hint());
        } else if let Some(flag) = missing_opt_in(binding, &touched) {
            let message =
                format!("the credential `{}` is bound to {}, which needs `{flag}`", binding.credential, binding.slot);
            found.error_with(binding.at, message, format!("add `{flag}: true` to the endpoint of {}", binding.host));
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

/// True where some request of the binding could be one of the endpoint.
fn touches(endpoint: &Endpoint, binding: &CredentialBinding) -> bool {
    endpoint.host.as_ref().is_none_or(|pattern| pattern.overlaps(&binding.host))
        && endpoint.ports.contains(&binding.port)
}

/// Why an endpoint would let a credential go with a request that no rule allowed.
enum Gap {
    /// Nobody sees the request.
    Blind,
    /// Requests are read, and no rule judges them.
    Unjudged,
    /// What the rules refuse is let through.
    Audit,
}

impl Gap {
    fn of(endpoint: &Endpoint) -> Option<Self> {
        if endpoint.passes_unread() {
            return Some(Self::Blind);
        }
        if endpoint.inspected().is_none() {
            return (!endpoint.allow_uninspected_credentials).then_some(Self::Unjudged);
        }
        endpoint.is_audit().then_some(Self::Audit)
    }

    fn message(&self, binding: &CredentialBinding, endpoint: &Endpoint) -> String {
        let (credential, place) = (&binding.credential, endpoint.describe());
        let request = request(binding);
        match self {
            Self::Blind => {
                format!("the credential `{credential}` is bound to {place}, where the connection is not read")
            }
            Self::Unjudged => {
                format!("{request} would get the credential `{credential}` at {place}, where no rule judges requests")
            }
            Self::Audit => format!(
                "{request} would get the credential `{credential}` at {place} even if a rule refuses it, since `enforcement` is `audit`"
            ),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Blind => "remove `tls: skip` or `protocol: tcp` there",
            Self::Unjudged => "add `protocol: rest` and rules there, or `allow_uninspected_credentials: true`",
            Self::Audit => "write `enforcement: enforce` there",
        }
    }
}

/// One request that the binding is for, in words.
fn request(binding: &CredentialBinding) -> String {
    let method = binding.methods.first().map_or("GET", |method| &**method);
    let path = match &binding.slot {
        Slot::Path(template) => template.as_str(),
        _ => binding.path.as_ref().map_or("/", |path| path.as_str()),
    };
    format!("{method} https://{}:{}{path}", binding.host, binding.port)
}

/// The endpoint's opt-in that the slot needs, where no endpoint of the binding has it.
fn missing_opt_in(binding: &CredentialBinding, endpoints: &[&Endpoint]) -> Option<&'static str> {
    let (flag, is_set): (_, fn(&Endpoint) -> bool) = match binding.slot {
        Slot::Body(_) => ("request_body_credential_rewrite", |endpoint| endpoint.request_body_credential_rewrite),
        Slot::WebSocket(_) => ("websocket_credential_rewrite", |endpoint| endpoint.websocket_credential_rewrite),
        Slot::Header(_) | Slot::Query(_) | Slot::Path(_) | Slot::Cookie(_) => return None,
    };
    (!endpoints.iter().any(|endpoint| is_set(endpoint))).then_some(flag)
}
