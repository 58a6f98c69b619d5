//! One endpoint: which fields go with which protocol.

use super::{Report, rules};
use crate::diagnostic::Diagnostics;
use crate::document::{Access, CredentialSigning, Endpoint, Protocol, Tls};
use crate::glob::PathGlob;

pub(super) fn endpoint(endpoint: &Endpoint, found: &mut Diagnostics) {
    destination(endpoint, found);
    match endpoint.protocol {
        Some(Protocol::Tcp) => tcp(endpoint, found),
        Some(protocol) => inspected(endpoint, protocol, found),
        None => uninspected(endpoint, found),
    }
    options(endpoint, found);
    signing(endpoint, found);
}

fn destination(endpoint: &Endpoint, found: &mut Diagnostics) {
    let written = endpoint.places.contains_key("port") || endpoint.places.contains_key("ports");
    if endpoint.ports.is_empty() && !(written && found.has_errors()) {
        found.error_with(endpoint.at, "the endpoint names no port", "add `port: 443`");
    }
    let wrong_host = endpoint.places.contains_key("host") && found.has_errors();
    if endpoint.host.is_none() && endpoint.allowed_ips.is_empty() && !wrong_host {
        found.error_with(
            endpoint.at,
            "the endpoint names no host",
            "add `host`, or `allowed_ips` for any host inside them",
        );
    }
}

/// Without a protocol nothing inside the connection is read, so nothing may be said about it.
fn uninspected(endpoint: &Endpoint, found: &mut Diagnostics) {
    let hint = "add `protocol: rest`";
    let harmless = match endpoint.access {
        Some(access) => access == Access::Full,
        None => endpoint.rules.iter().all(rules::allows_everything),
    };
    if endpoint.access.is_some() || !endpoint.rules.is_empty() {
        let field = if endpoint.access.is_some() { "access" } else { "rules" };
        let message = format!("`{field}` without `protocol` has no effect: the whole connection is allowed");
        match harmless {
            true => found.warning(endpoint.place(field), message, "leave it out, or add `protocol: rest`"),
            false => found.error_with(endpoint.place(field), message, hint),
        }
    }
    if !endpoint.deny_rules.is_empty() {
        found.error_with(
            endpoint.place("deny_rules"),
            "`deny_rules` without `protocol` would never refuse anything",
            hint,
        );
    }
    if endpoint.path.as_ref().is_some_and(|path| !path.is_any()) {
        found.error_with(endpoint.place("path"), "`path` without `protocol` has no effect", hint);
    }
    if endpoint.is_audit() {
        found.warning(
            endpoint.place("enforcement"),
            "`enforcement` without `protocol` has no effect: the connection itself is always enforced",
            "leave it out",
        );
    }
}

fn tcp(endpoint: &Endpoint, found: &mut Diagnostics) {
    const ALIEN: &[&str] = &[
        "access",
        "rules",
        "deny_rules",
        "enforcement",
        "path",
        "allow_encoded_slash",
        "websocket_credential_rewrite",
        "request_body_credential_rewrite",
        "persisted_queries",
        "graphql_persisted_queries",
        "graphql_max_body_bytes",
        "json_rpc",
        "mcp",
        "credential_signing",
        "signing_service",
        "signing_region",
        "credential_binding",
    ];
    for field in ALIEN.iter().filter(|field| endpoint.places.contains_key(*field)) {
        found.error_with(
            endpoint.place(field),
            format!("`{field}` has no meaning for `protocol: tcp`"),
            "leave it out",
        );
    }
    let address = endpoint.host.as_ref().and_then(|host| host.exact()).is_some_and(|host| host.address().is_some());
    if endpoint.host.is_none() || address {
        found.error_with(
            endpoint.place("host"),
            "`protocol: tcp` needs a host name",
            "an address can be allowed without `protocol`",
        );
    }
}

fn inspected(endpoint: &Endpoint, protocol: Protocol, found: &mut Diagnostics) {
    if endpoint.tls == Some(Tls::Skip) {
        found.error_with(
            endpoint.place("tls"),
            format!("`tls: skip` leaves nothing to inspect for `protocol: {}`", protocol.as_str()),
            "remove one of them",
        );
    }
    let allow_all = endpoint.mcp.is_some_and(|mcp| mcp.allow_all_known_mcp_methods) && protocol == Protocol::Mcp;
    let rpc = matches!(protocol, Protocol::Mcp | Protocol::JsonRpc);
    if endpoint.access.is_some() && !endpoint.rules.is_empty() {
        found.error_with(endpoint.place("access"), "`access` and `rules` stand together", "keep one of them");
    }
    if rpc && endpoint.access.is_some() {
        let message = format!("`access` has no meaning for `protocol: {}`", protocol.as_str());
        found.error_with(endpoint.place("access"), message, "write `rules`");
    }
    if endpoint.access.is_none() && endpoint.rules.is_empty() && !allow_all {
        let written = endpoint.places.contains_key("rules") || endpoint.places.contains_key("access");
        let message = "the endpoint allows nothing: neither `access` nor `rules` say what is allowed";
        // A broken value was reported where it stands.
        if !(written && found.has_errors()) {
            found.error_with(endpoint.at, message, "add `access: read-only` or `rules`");
        }
    }
    for rule in &endpoint.rules {
        rules::rule(endpoint, protocol, rule, rules::Side::Allow, found);
    }
    for rule in &endpoint.deny_rules {
        rules::rule(endpoint, protocol, rule, rules::Side::Deny, found);
    }
    rules::together(endpoint, protocol, found);
}

/// Options that belong to one protocol only.
fn options(endpoint: &Endpoint, found: &mut Diagnostics) {
    let protocol = endpoint.protocol;
    let mut belongs = |field: &str, to: &[Protocol]| {
        if endpoint.places.contains_key(field) && !protocol.is_some_and(|protocol| to.contains(&protocol)) {
            let names: Vec<&str> = to.iter().map(|protocol| protocol.as_str()).collect();
            let message = format!("`{field}` has an effect only with `protocol: {}`", names.join("` or `"));
            found.error_with(endpoint.place(field), message, "leave it out");
        }
    };
    if protocol == Some(Protocol::Tcp) {
        return;
    }
    if endpoint.mcp.is_some_and(|mcp| mcp != crate::document::McpOptions::default()) {
        belongs("mcp", &[Protocol::Mcp]);
    }
    if endpoint.json_rpc_max_body_bytes.is_some() {
        belongs("json_rpc", &[Protocol::JsonRpc]);
    }
    if endpoint.websocket_credential_rewrite {
        belongs("websocket_credential_rewrite", &[Protocol::Rest, Protocol::Websocket]);
    }
    if endpoint.request_body_credential_rewrite {
        belongs("request_body_credential_rewrite", &[Protocol::Rest]);
    }
    if !endpoint.graphql_persisted_queries.is_empty() || endpoint.persisted_queries.is_some() {
        let graphql = [Protocol::Graphql, Protocol::Websocket];
        belongs("persisted_queries", &graphql);
        belongs("graphql_persisted_queries", &graphql);
    }
}

fn signing(endpoint: &Endpoint, found: &mut Diagnostics) {
    match endpoint.credential_signing {
        Some(_) if endpoint.signing_service.is_none() => {
            found.error_with(
                endpoint.place("credential_signing"),
                "`credential_signing` needs `signing_service`",
                "add the service, for example `signing_service: s3`",
            );
        }
        None if endpoint.signing_service.is_some() || endpoint.signing_region.is_some() => {
            let field = if endpoint.signing_service.is_some() { "signing_service" } else { "signing_region" };
            found.error_with(
                endpoint.place(field),
                format!("`{field}` without `credential_signing` has no effect"),
                "leave it out",
            );
        }
        Some(CredentialSigning::SigV4 | CredentialSigning::SigV4Body | CredentialSigning::SigV4NoBody) | None => {}
    }
    if endpoint.credential_signing.is_some() && endpoint.request_body_credential_rewrite {
        found.error_with(
            endpoint.place("request_body_credential_rewrite"),
            "a signed request cannot have its body rewritten",
            "keep one of them",
        );
    }
}

/// True where a path covers everything, written or not.
pub(super) fn any_path(path: Option<&PathGlob>) -> bool {
    path.is_none_or(PathGlob::is_any)
}
