//! Lists of destinations turned into entries.

use std::collections::BTreeMap;

use super::{Report, text_of, tree, unknown_fields};
use crate::diagnostic::{Diagnostics, Position};
use crate::yaml::{Key, Node, Value};

const DESTINATION: &[&str] = &["port", "ports", "protocol", "description", "name", "purpose"];

/// One entry for each destination; `host` is the dialect's name for the host.
pub(super) fn egress_entries(destinations: &Node, host: &str, found: &mut Diagnostics) -> Node {
    if !matches!(destinations.value, Value::List(_)) {
        found.error(destinations.at, "destinations must be a list");
    }
    let mut entries: BTreeMap<String, (Position, Node)> = BTreeMap::new();
    for destination in tree::items(destinations) {
        let known: Vec<&str> = std::iter::once(host).chain(DESTINATION.iter().copied()).collect();
        unknown_fields(destination, "a destination", &known, found);
        let Some(name) = text_of(destination, host) else {
            found.error_with(destination.at, format!("a destination needs `{host}`"), "write a host name");
            continue;
        };
        let entry = entry(destination, &name, found);
        let key = free_key(&entry_key(&name, &ports(destination)), &entries);
        entries.insert(key, (destination.at, entry));
    }
    let pairs = entries.into_iter().map(|(key, (at, entry))| (Key { at, text: key.into() }, entry)).collect();
    Node { at: destinations.at, value: Value::Map(pairs) }
}

/// The dialects name no programs and no methods: the whole host for anybody, which the schema can say but which is broad.
fn entry(destination: &Node, host: &str, found: &mut Diagnostics) -> Node {
    let at = destination.at;
    let mut fields = vec![("host", tree::text(at, host)), ("ports", tree::list(at, ports(destination)))];
    if is_http(destination, found) {
        fields.push(("protocol", tree::text(at, "rest")));
        fields.push(("enforcement", tree::text(at, "enforce")));
        fields.push(("access", tree::text(at, "full")));
    }
    found.warning(
        at,
        format!("every program may do anything on `{host}`: the dialect cannot say less"),
        "after the import, name programs in `binaries` and methods in `rules`",
    );
    let anybody = tree::map(at, vec![("path", tree::text(at, "/**"))]);
    tree::map(
        at,
        vec![("endpoints", tree::list(at, vec![tree::map(at, fields)])), ("binaries", tree::list(at, vec![anybody]))],
    )
}

/// The ports as written; the port of the protocol where none is.
fn ports(destination: &Node) -> Vec<Node> {
    let written = tree::field(destination, "ports").or_else(|| tree::field(destination, "port"));
    match written {
        Some(ports) => tree::items(ports).to_vec(),
        None => {
            let http = text_of(destination, "protocol").is_some_and(|protocol| protocol == "http");
            vec![Node { at: destination.at, value: Value::Integer(if http { 80 } else { 443 }) }]
        }
    }
}

fn is_http(destination: &Node, found: &mut Diagnostics) -> bool {
    match tree::field(destination, "protocol") {
        None => true,
        Some(node) => match &node.value {
            Value::Text(protocol) if ["https", "http", "rest"].contains(&&**protocol) => true,
            Value::Text(protocol) if ["tcp", "tls", "ssh"].contains(&&**protocol) => false,
            _ => {
                found.error_with(node.at, "unknown protocol of a destination", "accepted: https, http, tcp");
                true
            }
        },
    }
}

/// `allow_api_example_com_443`.
fn entry_key(host: &str, ports: &[Node]) -> String {
    let plain = |c: char| match c {
        '.' | '-' => Some('_'),
        c if c.is_ascii_alphanumeric() || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    let host: String = host.chars().filter_map(plain).collect();
    match ports.first().map(|port| &port.value) {
        Some(Value::Integer(port)) => format!("allow_{host}_{port}"),
        _ => format!("allow_{host}"),
    }
}

fn free_key(wanted: &str, taken: &BTreeMap<String, (Position, Node)>) -> String {
    let numbered = (2..).map(|number| format!("{wanted}_{number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|key| !taken.contains_key(key))
        .unwrap_or_else(|| wanted.to_owned())
}
