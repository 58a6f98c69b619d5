//! Case files: text to cases, every mistake reported.

use super::{Case, Expected};
use crate::diagnostic::Diagnostics;
use crate::question::{Question, RequestWords};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{self, Node, Value};

const FIELDS: &[&str] = &[
    "name",
    "host",
    "port",
    "binary",
    "ancestors",
    "method",
    "path",
    "body",
    "agent",
    "user",
    "sensitivity",
    "time",
    "expect",
    "rule",
];

/// Reads a list of cases.
///
/// # Errors
/// Every mistake at once, in the order of the text.
pub fn read(text: &str) -> Result<Vec<Case>, Diagnostics> {
    let tree = yaml::read(text)?;
    let mut reader = Reader::default();
    let cases = reader.each(&tree, "a case file", case);
    match reader.found.is_empty() {
        true => Ok(cases),
        false => Err(reader.found.sorted()),
    }
}

fn case(reader: &mut Reader, node: &Node) -> Option<Case> {
    let fields = reader.fields(node, "a case", FIELDS)?;
    for needed in ["host", "expect"] {
        if fields.get(needed).is_none() {
            reader.error(node.at, format!("a case needs `{needed}`"));
        }
    }
    let mut text =
        |name: &str| fields.get(name).and_then(|node| reader.text(node, &format!("`{name}`"))).map(str::to_owned);
    let (name, rule, binary) = (text("name"), text("rule"), text("binary"));
    let (agent, user, sensitivity) = (text("agent"), text("user"), text("sensitivity"));
    let host = text("host").unwrap_or_default();
    let port = fields.get("port").map_or(Some(443), |node| reader.port(node, "`port`").map(|port| port.get()))?;
    let ancestors = fields.get("ancestors").map(|node| {
        reader.each(node, "`ancestors`", |reader, item| reader.text(item, "an ancestor").map(str::to_owned))
    });
    let words = [("allow", Expected::Allow), ("audit", Expected::Audit), ("deny", Expected::Deny)];
    let question = Question {
        host,
        port,
        binary,
        ancestors: ancestors.unwrap_or_default(),
        request: request(reader, &fields),
        agent,
        user,
        sensitivity,
        now: fields.get("time").and_then(|node| instant(reader, node)),
    };
    let expect = fields.get("expect").and_then(|node| reader.one_of(node, "`expect`", &words))?;
    Some(Case { at: node.at, name, question, expect, rule })
}

fn request(reader: &mut Reader, fields: &Fields<'_>) -> Option<RequestWords> {
    let mut text =
        |name: &str| fields.get(name).and_then(|node| reader.text(node, &format!("`{name}`"))).map(str::to_owned);
    let (method, path) = (text("method"), text("path"));
    let body = fields.get("body").map(|node| match &node.value {
        Value::Text(text) => text.to_string(),
        other => other.to_json().to_string(),
    });
    if method.is_none() && path.is_none() && body.is_none() {
        return None;
    }
    let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    Some(RequestWords { method, path: path.unwrap_or_else(|| "/".to_owned()), body })
}

fn instant(reader: &mut Reader, node: &Node) -> Option<i64> {
    let text = reader.text(node, "`time`")?;
    let instant = text.parse::<jiff::Timestamp>().map(|instant| instant.as_second()).ok();
    if instant.is_none() {
        reader.error(node.at, format!("`{text}` is not a time")).hint("write it like 2026-12-31T23:59:59Z");
    }
    instant
}
