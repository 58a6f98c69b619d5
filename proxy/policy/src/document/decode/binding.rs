//! `x-tollgate.credentials`: which secret may go where.

use super::endpoint::host;
use super::entry::binary_path;
use super::request_path::request_path;
use crate::document::{CredentialBinding, PathTemplate, Slot};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{Node, Value};
use tollgate_model::{Method, Port};

pub(super) fn credentials(reader: &mut Reader, node: &Node) -> Vec<CredentialBinding> {
    let Some(fields) = reader.fields(node, "`x-tollgate`", &["credentials"]) else { return Vec::new() };
    let Some(node) = fields.get("credentials") else { return Vec::new() };
    let mut bindings = Vec::new();
    for (key, node) in reader.map(node, "`credentials`") {
        if key.text.is_empty() || !key.text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            reader.error(key.at, format!("`{}` is no name of a secret", key.text)).hint("use letters, digits and `_`");
            continue;
        }
        let Some(fields) = reader.fields(node, "a credential", &["bindings"]) else { continue };
        let Some(list) = fields.get("bindings") else {
            reader.error(key.at, format!("`{}` has no `bindings`", key.text)).hint("without one it is never used");
            continue;
        };
        bindings.extend(reader.each(list, "`bindings`", |reader, item| binding(reader, &key.text, item)));
    }
    bindings
}

/// The fields of which a binding has exactly one.
const SLOTS: &[&str] = &["header", "query", "path_template", "cookie", "body", "websocket"];

fn binding(reader: &mut Reader, credential: &str, node: &Node) -> Option<CredentialBinding> {
    let known: Vec<&str> = ["host", "port", "path", "method", "binaries", "allow_cleartext"]
        .into_iter()
        .chain(SLOTS.iter().copied())
        .collect();
    let fields = reader.fields(node, "a binding", &known)?;
    if fields.get("host").is_none() {
        reader.error(node.at, "a binding needs `host`");
    }
    let slot = slot(reader, node, &fields);
    let port = match fields.get("port") {
        Some(node) => reader.port(node, "`port`")?,
        None => Port::HTTPS,
    };
    Some(CredentialBinding {
        at: node.at,
        credential: credential.into(),
        host: host(reader, fields.get("host")?)?,
        port,
        slot: slot?,
        path: fields.get("path").and_then(|node| request_path(reader, node, "`path`")),
        methods: methods(reader, &fields),
        binaries: fields.get("binaries").map(|node| {
            reader.each(node, "`binaries`", |reader, item| {
                let text = reader.word(item, "a program")?;
                binary_path(reader, item, text)
            })
        }),
        allow_cleartext: fields.get("allow_cleartext").is_some_and(|node| reader.flag(node, "`allow_cleartext`")),
    })
}

fn slot(reader: &mut Reader, node: &Node, fields: &Fields<'_>) -> Option<Slot> {
    let mut given = SLOTS.iter().filter_map(|name| fields.get(name).map(|node| (*name, node)));
    let Some((name, value)) = given.next() else {
        reader
            .error(node.at, "a binding needs a place for the secret")
            .hint(format!("write one of {}", SLOTS.join(", ")));
        return None;
    };
    if let Some((other, value)) = given.next() {
        reader
            .error(value.at, format!("a binding has one place, not both `{name}` and `{other}`"))
            .hint("write two bindings");
        return None;
    }
    match name {
        "header" => header(reader, value).map(Slot::Header),
        "query" => reader.word(value, "`query`").map(|name| Slot::Query(name.into())),
        "path_template" => path_template(reader, value).map(Slot::Path),
        "cookie" => cookie(reader, value).map(Slot::Cookie),
        "body" => field(reader, value, "`body`").map(Slot::Body),
        _ => field(reader, value, "`websocket`").map(Slot::WebSocket),
    }
}

fn path_template(reader: &mut Reader, node: &Node) -> Option<PathTemplate> {
    let text = reader.word(node, "`path_template`")?;
    PathTemplate::parse(text)
        .map_err(|error| {
            reader.error(node.at, format!("`{text}`: {error}")).hint("write it like `/bot{credential}/**`")
        })
        .ok()
}

/// RFC 6265, section 4.1.1: a cookie's name is a token.
fn cookie(reader: &mut Reader, node: &Node) -> Option<Box<str>> {
    let text = reader.word(node, "`cookie`")?;
    if !is_token(text) {
        reader.error(node.at, format!("`{text}` is no cookie name"));
        return None;
    }
    Some(text.into())
}

/// The name of a member or parameter; `*` means any.
fn field(reader: &mut Reader, node: &Node, what: &str) -> Option<Option<Box<str>>> {
    let text = reader.word(node, what)?;
    if text.len() > MAX_FIELD_BYTES {
        reader.error(node.at, format!("{what} is longer than {MAX_FIELD_BYTES} bytes"));
        return None;
    }
    Some((text != "*").then(|| text.into()))
}

/// Names of fields are held while a body streams past.
const MAX_FIELD_BYTES: usize = 128;

/// One method or a list of them, in upper case.
fn methods(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Box<str>> {
    let read = |reader: &mut Reader, node: &Node| {
        let text = reader.word(node, "`method`")?;
        match Method::parse(text) {
            Ok(method) => Some(method.as_str().to_ascii_uppercase().into()),
            Err(error) => {
                reader.error(node.at, format!("`{text}`: {error}"));
                None
            }
        }
    };
    match fields.get("method") {
        Some(node) if matches!(node.value, Value::Text(_)) => read(reader, node).into_iter().collect(),
        Some(node) => reader.each(node, "`method`", read),
        None => Vec::new(),
    }
}

/// Names that are reflected by servers, steer the protocol or belong to the connection: a secret in one of them would
/// travel where nobody looks for it.
const REFLECTED: &[&str] = &[
    "host",
    "origin",
    "cookie",
    "referer",
    "range",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "te",
    "trailer",
    "connection",
    "keep-alive",
    "upgrade",
    "forwarded",
    "via",
    "expect",
    "user-agent",
    "accept",
    "digest",
    "etag",
];
const REFLECTED_FAMILIES: &[&str] = &["access-control-", "sec-", "if-", "x-forwarded-", "proxy-", "accept-", ":"];

fn header(reader: &mut Reader, node: &Node) -> Option<Box<str>> {
    let lower = reader.word(node, "`header`")?.to_ascii_lowercase();
    if lower == "cookie" {
        reader
            .error(node.at, "the header `cookie` may not hold a secret")
            .hint("write `cookie:` with the cookie's name");
        return None;
    }
    let refused = REFLECTED.contains(&&*lower) || REFLECTED_FAMILIES.iter().any(|family| lower.starts_with(family));
    if refused {
        reader
            .error(node.at, format!("the header `{lower}` may not hold a secret"))
            .hint("use `authorization` or a header of the service, such as `x-api-key`");
        return None;
    }
    if !is_token(&lower) {
        reader.error(node.at, format!("`{lower}` is no header name"));
        return None;
    }
    Some(lower.into())
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
