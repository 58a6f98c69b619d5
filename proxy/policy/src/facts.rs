//! What others need to know of a policy besides verdicts.

use serde::Serialize;
use tollgate_model::{Host, Port};

use crate::compile::Policy;
use crate::diagnostic::Diagnostics;
use crate::document::{Compatibility, Filesystem, Process};

/// An endpoint whose refusals are only recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEndpoint {
    /// The key of its entry.
    pub policy: String,
    /// Its destination: `api.example.com:443/v1/**`.
    pub destination: String,
}

impl Policy {
    /// Whether some entry's host pattern covers this name, at whatever port: the question of policy DNS. Endpoints without
    /// a host are no answer, or any name could be looked up.
    #[must_use]
    pub fn admits_host(&self, host: &Host) -> bool {
        self.covers_host(host)
    }

    /// Every port that the policy names, in order.
    #[must_use]
    pub fn ports(&self) -> Vec<Port> {
        let entries = self.document().network_policies.values();
        let mut ports: Vec<Port> =
            entries.flat_map(|entry| &entry.endpoints).flat_map(|endpoint| endpoint.ports.iter().copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// `host:port` of the first endpoint with a plain name whose TLS is terminated.
    #[must_use]
    pub fn terminated_endpoint(&self) -> Option<String> {
        let entries = self.document().network_policies.values();
        entries.flat_map(|entry| &entry.endpoints).find_map(|endpoint| {
            let host = endpoint.host.as_ref()?.exact().filter(|_| !endpoint.passes_unread())?;
            Some(format!("{host}:{}", endpoint.ports.iter().find(|port| port.get() != 80)?.get()))
        })
    }

    /// True when some entry holds only at certain times: what is allowed may end without a change of the policy.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        let mut whens = self.document().network_policies.values().filter_map(|entry| entry.when.as_ref());
        whens.any(|when| when.time.is_some() || when.expires.is_some() || when.not_before.is_some())
    }

    /// `filesystem_policy`, where it is written.
    #[must_use]
    pub fn filesystem(&self) -> Option<&Filesystem> {
        self.document().filesystem_policy.as_ref()
    }

    /// `landlock`, or its default.
    #[must_use]
    pub fn landlock(&self) -> Compatibility {
        self.document().landlock.unwrap_or_default()
    }

    /// `process`, where it is written.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.document().process.as_ref()
    }

    /// What loaded but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.document().warnings
    }

    /// The canonical text, the same for every spelling of the same document: what hashes and revisions are made of.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.document().canonical()
    }

    /// Endpoints in audit mode, for every status.
    #[must_use]
    pub fn audit_endpoints(&self) -> Vec<AuditEndpoint> {
        let entries = self.document().network_policies.iter();
        entries
            .flat_map(|(key, entry)| entry.endpoints.iter().map(move |endpoint| (key, endpoint)))
            .filter(|(_, endpoint)| endpoint.inspected().is_some() && endpoint.is_audit())
            .map(|(key, endpoint)| AuditEndpoint { policy: key.to_string(), destination: endpoint.describe() })
            .collect()
    }
}
