//! Providers attached to a policy: their credentials bound where the policy lets them be used.
//!
//! A provider never widens what may be reached. Where an endpoint names it (`credential_binding.provider`), its credentials
//! are bound to the endpoints that do; otherwise to every endpoint that leads to a destination of its profile. What the policy
//! itself says of a credential under `x-tollgate` counts alone.

use super::{CredentialBinding, Document, Endpoint, Report, Slot};
use crate::diagnostic::{Diagnostics, Position};
use crate::hosts::HostPattern;
use crate::profile::Profile;

/// A provider: a profile and the credentials that are held for it.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its name.
    pub provider: Box<str>,
    /// What its service is like.
    pub profile: Profile,
    /// Names of its credentials: variables of the profile, or others of the operator's choice.
    pub credentials: Vec<Box<str>>,
}

impl Document {
    /// Adds the bindings of providers.
    ///
    /// # Errors
    /// An endpoint that names a provider that is not attached, and everything that would let a credential go without passing
    /// the rules meant for it.
    pub fn attach(&mut self, attachments: &[Attachment]) -> Result<(), Diagnostics> {
        let mut found = Diagnostics::default();
        for (endpoint, name) in self.named_providers() {
            if attachments.iter().all(|attachment| *attachment.provider != **name) {
                let message = format!("{} is for the provider `{name}`, which is not attached", endpoint.describe());
                let hint = format!("attach it, as with --provider {name}, or remove `credential_binding`");
                found.error_with(endpoint.place("credential_binding"), message, hint);
            }
        }
        if found.has_errors() {
            return Err(found.sorted());
        }
        let mut bindings: Vec<CredentialBinding> = Vec::new();
        for attachment in attachments {
            for credential in attachment.credentials.iter().filter(|credential| !self.binds(credential)) {
                bindings.extend(self.places(attachment, credential));
            }
        }
        self.credentials.extend(bindings);
        super::check(self)
    }

    /// True where some binding is for the credential.
    #[must_use]
    pub fn binds(&self, credential: &str) -> bool {
        self.credentials.iter().any(|binding| *binding.credential == *credential)
    }

    fn named_providers(&self) -> impl Iterator<Item = (&Endpoint, &Box<str>)> {
        let endpoints = self.network_policies.values().flat_map(|entry| &entry.endpoints);
        endpoints.filter_map(|endpoint| Some((endpoint, endpoint.credential_binding.as_ref()?)))
    }

    /// Where one credential of a provider may be used.
    fn places(&self, attachment: &Attachment, credential: &str) -> Vec<CredentialBinding> {
        let names = |endpoint: &&Endpoint| endpoint.credential_binding.as_ref() == Some(&attachment.provider);
        let endpoints = || self.network_policies.values().flat_map(|entry| &entry.endpoints);
        let is_named = endpoints().any(|endpoint| names(&endpoint));
        let mut places: Vec<CredentialBinding> = Vec::new();
        for endpoint in endpoints().filter(|endpoint| !is_named || names(endpoint)) {
            let mut own = of_profile(attachment, credential, endpoint);
            if own.is_empty() && is_named {
                own = of_endpoint(attachment, credential, endpoint);
            }
            let is_new = |one: &CredentialBinding| places.iter().all(|known| !is_same(known, one));
            let own: Vec<_> = own.into_iter().filter(is_new).collect();
            places.extend(own);
        }
        places
    }
}

/// What the profile says of the endpoint's destination, narrowed to it.
fn of_profile(attachment: &Attachment, credential: &str, endpoint: &Endpoint) -> Vec<CredentialBinding> {
    let bindings = attachment.profile.document.credentials.iter();
    let bindings = bindings.filter(|binding| *binding.credential == *credential && takes(endpoint, &binding.slot));
    let narrowed = |binding: &CredentialBinding| {
        let host = shared_host(endpoint, binding)?;
        Some(CredentialBinding { at: place(endpoint), host, ..binding.clone() })
    };
    bindings.filter_map(narrowed).collect()
}

/// An endpoint of which the profile knows nothing, and that names the provider all the same: the usual place of the credential.
fn of_endpoint(attachment: &Attachment, credential: &str, endpoint: &Endpoint) -> Vec<CredentialBinding> {
    let Some(host) = &endpoint.host else { return Vec::new() };
    let known = attachment.profile.credential(credential);
    let slot = known.map_or_else(|| Slot::Header("authorization".into()), |known| known.slot.clone());
    let binding = |port| CredentialBinding {
        at: place(endpoint),
        credential: credential.into(),
        host: host.clone(),
        port,
        slot: slot.clone(),
        path: endpoint.path.clone(),
        methods: Vec::new(),
        binaries: None,
        allow_cleartext: false,
    };
    endpoint.ports.iter().map(|port| binding(*port)).collect()
}

/// The hosts of both, where one of them covers the other.
fn shared_host(endpoint: &Endpoint, binding: &CredentialBinding) -> Option<HostPattern> {
    let pattern = endpoint.host.as_ref().filter(|_| endpoint.ports.contains(&binding.port))?;
    let is_covered = match binding.host.exact() {
        Some(host) => pattern.matches(host),
        None => *pattern == binding.host,
    };
    if is_covered {
        return Some(binding.host.clone());
    }
    pattern.exact().is_some_and(|host| binding.host.matches(host)).then(|| pattern.clone())
}

/// True where the endpoint opts in to what the slot needs.
fn takes(endpoint: &Endpoint, slot: &Slot) -> bool {
    match slot {
        Slot::Body(_) => endpoint.request_body_credential_rewrite,
        Slot::WebSocket(_) => endpoint.websocket_credential_rewrite,
        Slot::Header(_) | Slot::Query(_) | Slot::Path(_) | Slot::Cookie(_) => true,
    }
}

fn place(endpoint: &Endpoint) -> Position {
    endpoint.place("credential_binding")
}

fn is_same(a: &CredentialBinding, b: &CredentialBinding) -> bool {
    a.credential == b.credential
        && (a.host.as_str(), a.port, &a.slot) == (b.host.as_str(), b.port, &b.slot)
        && a.methods == b.methods
        && a.path.as_ref().map(|path| path.as_str()) == b.path.as_ref().map(|path| path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    const GITHUB: &str = include_str!("../../../../presets/providers/github.yaml");
    const JIRA: &str = include_str!("../../../../presets/providers/jira.yaml");
    const SLACK: &str = include_str!("../../../../presets/providers/slack.yaml");
    const OWN: &str =
        "{id: own, credentials: [{name: k, env_vars: [OWN_KEY], auth_style: header, header_name: X-Own-Key}]}";

    fn attachment(profile: &str, credentials: &[&str]) -> Attachment {
        let profile = Profile::read(profile).expect("a profile");
        let credentials = credentials.iter().map(|name| (*name).into()).collect();
        Attachment { provider: "work".into(), profile, credentials }
    }

    /// The bindings that come of one provider and a policy with these endpoints.
    fn bound(endpoints: &str, attachment: Attachment) -> Result<Vec<String>, String> {
        let text = format!("version: 1\nnetwork_policies: {{a: {{endpoints: [{endpoints}]}}}}\n");
        let mut document = document::read(&text).expect("a policy");
        document.attach(&[attachment]).map_err(|found| found.to_string())?;
        let shown = |b: &CredentialBinding| {
            let path = b.path.as_ref().map_or(String::new(), |path| format!(" {path}"));
            format!("{} {}:{}{path} {}", b.credential, b.host, b.port, b.slot)
        };
        Ok(document.credentials.iter().map(shown).collect())
    }

    #[track_caller]
    fn check(endpoints: &str, attachment: Attachment, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(bound(endpoints, attachment), Ok(expected), "{endpoints}");
    }

    #[test]
    fn bound_where_the_policy_leads_and_nowhere_else() {
        let github = || attachment(GITHUB, &["GITHUB_TOKEN"]);
        let api = "{host: api.github.com, port: 443, protocol: rest, access: read-only}";
        check(api, github(), &["GITHUB_TOKEN api.github.com:443 header `authorization`"]);
        check(
            "{host: '*.github.com', port: 443, protocol: rest, access: full}",
            github(),
            &["GITHUB_TOKEN api.github.com:443 header `authorization`"],
        );
        check("{host: example.com, port: 443, protocol: rest, access: full}", github(), &[]);
        check("{host: api.github.com, port: 8443, protocol: rest, access: full}", github(), &[]);
        let own = "{host: mine.atlassian.net, port: 443, protocol: rest, access: full}";
        check(
            own,
            attachment(JIRA, &["JIRA_API_TOKEN"]),
            &["JIRA_API_TOKEN mine.atlassian.net:443 header `authorization`"],
        );
    }

    #[test]
    fn bodies_only_where_the_endpoint_opts_in() {
        let slack = || attachment(SLACK, &["SLACK_BOT_TOKEN"]);
        let header = "SLACK_BOT_TOKEN slack.com:443 /api/** header `authorization`";
        check("{host: slack.com, port: 443, protocol: rest, access: full}", slack(), &[header]);
        let opted = "{host: slack.com, port: 443, protocol: rest, access: full, request_body_credential_rewrite: true}";
        check(opted, slack(), &[header, "SLACK_BOT_TOKEN slack.com:443 /api/** field `token` of the body"]);
    }

    #[test]
    fn endpoints_that_name_the_provider_count_alone() {
        let endpoints = "{host: api.github.com, port: 443, protocol: rest, access: full}, \
                         {host: ghe.example.com, port: 443, path: /api/**, protocol: rest, access: full, credential_binding: {provider: work}}";
        check(
            endpoints,
            attachment(GITHUB, &["GITHUB_TOKEN"]),
            &["GITHUB_TOKEN ghe.example.com:443 /api/** header `authorization`"],
        );
        let named = "{host: api.example.com, ports: [443, 8443], protocol: rest, access: full, credential_binding: {provider: work}}";
        check(
            named,
            attachment(OWN, &["OWN_KEY", "OTHER"]),
            &[
                "OWN_KEY api.example.com:443 header `x-own-key`",
                "OWN_KEY api.example.com:8443 header `x-own-key`",
                "OTHER api.example.com:443 header `authorization`",
                "OTHER api.example.com:8443 header `authorization`",
            ],
        );
    }

    #[track_caller]
    fn check_refused(endpoints: &str, expected: &str) {
        let error = bound(endpoints, attachment(GITHUB, &["GITHUB_TOKEN"])).expect_err(endpoints);
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn k15_what_would_let_a_credential_go_unjudged_is_refused() {
        check_refused("{host: api.github.com, port: 443}", "GET https://api.github.com:443/ would get the credential");
        check_refused(
            "{host: api.github.com, port: 443, protocol: rest, access: full, enforcement: audit}",
            "even if a rule refuses it",
        );
        check_refused(
            "{host: api.github.com, port: 443, protocol: rest, access: full, credential_binding: {provider: other}}",
            "the provider `other`, which is not attached",
        );
    }

    #[test]
    fn what_the_policy_says_of_a_credential_counts_alone() {
        let text = "version: 1\nnetwork_policies: {a: {endpoints: [{host: api.github.com, port: 443, protocol: rest, access: full}]}}\n\
                    x-tollgate: {credentials: {GITHUB_TOKEN: {bindings: [{host: api.github.com, port: 443, header: x-token}]}}}\n";
        let mut document = document::read(text).expect("a policy");
        document.attach(&[attachment(GITHUB, &["GITHUB_TOKEN"])]).expect("attached");
        assert_eq!(document.credentials.len(), 1);
    }
}
