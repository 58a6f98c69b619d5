//! Hosts where anybody can receive: public suffixes and services with many tenants.

use tollgate_model::Host;

use crate::compile::MethodSet;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Access, Endpoint, Protocol};
use crate::hosts::HostPattern;

pub(super) fn sinks(endpoint: &Endpoint, found: &mut Diagnostics) {
    let Some(pattern) = &endpoint.host else { return };
    if let Some(suffix) = public_suffix(pattern) {
        found.push(
            Diagnostic::warning(
                endpoint.place("host"),
                format!("`{pattern}` covers everybody who registers below {suffix}"),
            )
            .hint("name the sites that are needed"),
        );
    }
    if let Some(service) = shared_service(pattern).filter(|_| can_write(endpoint)) {
        found.push(
            Diagnostic::warning(
                endpoint.place("host"),
                format!("`{pattern}` is {service}, and the endpoint can write: anybody can receive data there"),
            )
            .hint("allow only the paths of your own account, or only reading"),
        );
    }
}

/// True where something of the agent's choice can be sent in a body, or where nothing is read at all.
pub(super) fn can_write(endpoint: &Endpoint) -> bool {
    let writing = ["POST", "PUT", "PATCH", "DELETE", "WEBSOCKET_TEXT"];
    match (endpoint.inspected(), endpoint.access) {
        (None, _) => true,
        (Some(Protocol::Mcp | Protocol::JsonRpc), _) => true,
        (Some(_), Some(access)) => access != Access::ReadOnly,
        (Some(Protocol::Graphql), None) => true,
        (Some(_), None) => endpoint.rules.iter().any(|rule| {
            let methods = MethodSet::written(rule.method.as_deref());
            writing.iter().any(|method| methods.contains(method))
        }),
    }
}

/// The two-label suffix that a wildcard stands directly upon.
fn public_suffix(pattern: &HostPattern) -> Option<&'static str> {
    let text = pattern.as_str().to_ascii_lowercase();
    let (wild, rest) = text.split_once('.')?;
    let suffix = SUFFIXES.iter().find(|suffix| **suffix == rest)?;
    wild.contains('*').then_some(suffix)
}

fn shared_service(pattern: &HostPattern) -> Option<&'static str> {
    SHARED.iter().find(|(host, _)| touches(pattern, host)).map(|(_, what)| *what)
}

/// True where the pattern covers the service or, for `*.service`, some tenant of it.
fn touches(pattern: &HostPattern, service: &str) -> bool {
    match HostPattern::parse(service) {
        Ok(service) => pattern.overlaps(&service),
        Err(_) => Host::parse(service).is_ok_and(|host| pattern.matches(&host)),
    }
}

/// Suffixes below which strangers register, of those with two labels: the frequent ones of the public suffix list.
const SUFFIXES: &[&str] = &[
    "ac.uk", "co.in", "co.il", "co.jp", "co.kr", "co.nz", "co.uk", "co.za", "com.ar", "com.au", "com.br", "com.cn",
    "com.hk", "com.mx", "com.sg", "com.tr", "com.tw", "com.ua", "edu.au", "gov.uk", "ne.jp", "net.au", "or.jp",
    "org.au", "org.uk",
];

/// Services where anybody has a place of their own.
const SHARED: &[(&str, &str)] = &[
    ("**.amazonaws.com", "a cloud with many tenants"),
    ("**.blob.core.windows.net", "a storage service with many tenants"),
    ("**.azurewebsites.net", "a hosting service with many tenants"),
    ("storage.googleapis.com", "a storage service with many tenants"),
    ("**.storage.googleapis.com", "a storage service with many tenants"),
    ("**.cloudfunctions.net", "a hosting service with many tenants"),
    ("**.run.app", "a hosting service with many tenants"),
    ("**.web.app", "a hosting service with many tenants"),
    ("**.firebaseio.com", "a database service with many tenants"),
    ("**.herokuapp.com", "a hosting service with many tenants"),
    ("**.vercel.app", "a hosting service with many tenants"),
    ("**.netlify.app", "a hosting service with many tenants"),
    ("**.workers.dev", "a hosting service with many tenants"),
    ("**.pages.dev", "a hosting service with many tenants"),
    ("**.github.io", "a hosting service with many tenants"),
    ("**.ngrok.io", "a tunnel service"),
    ("**.ngrok-free.app", "a tunnel service"),
    ("**.trycloudflare.com", "a tunnel service"),
    ("api.github.com", "a code host with many tenants"),
    ("github.com", "a code host with many tenants"),
    ("gitlab.com", "a code host with many tenants"),
    ("huggingface.co", "a model host with many tenants"),
    ("hooks.slack.com", "a webhook service"),
    ("slack.com", "a messenger with many tenants"),
    ("discord.com", "a messenger with many tenants"),
    ("api.telegram.org", "a messenger with many tenants"),
    ("graph.microsoft.com", "an office service with many tenants"),
    ("pastebin.com", "a paste service"),
    ("webhook.site", "a webhook service"),
    ("transfer.sh", "a file drop"),
    ("file.io", "a file drop"),
];
