//! The Model Context Protocol: which tool a JSON-RPC call means, with which arguments.
//!
//! ```
//! use tollgate_inspect::{jsonrpc, mcp};
//!
//! let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"q":"x"}}}"#;
//! let jsonrpc::Frame::Call(call) = &jsonrpc::read(body).unwrap()[0] else { panic!() };
//! let tool = mcp::tool(call).unwrap().unwrap();
//! assert_eq!(tool.name, "search");
//! ```

use serde_json::{Map, Value};

use crate::json::{self, JsonError};
use crate::jsonrpc::Call;

/// The method that calls a tool.
pub const CALL: &str = "tools/call";

/// A tool and what it is called with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tool<'c> {
    /// Its name.
    pub name: &'c str,
    /// `params.arguments`.
    pub arguments: Option<&'c Map<String, Value>>,
}

/// Why a tool call cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// Members that differ only in case.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// No `params.name`, or not text.
    #[error("a tool call names no tool")]
    NoName,
    /// `params.arguments` is no object.
    #[error("the arguments of a tool call are not an object")]
    Arguments,
}

/// The tool that a call means; nothing for other methods.
///
/// # Errors
/// [`McpError`] for a `tools/call` whose parameters cannot be read.
pub fn tool(call: &Call) -> Result<Option<Tool<'_>>, McpError> {
    if call.method != CALL {
        return Ok(None);
    }
    let params = call.params.as_ref().and_then(Value::as_object).ok_or(McpError::NoName)?;
    let name = json::member(params, "name")?.and_then(Value::as_str).ok_or(McpError::NoName)?;
    let arguments = match json::member(params, "arguments")? {
        None | Some(Value::Null) => None,
        Some(Value::Object(arguments)) => Some(arguments),
        Some(_) => return Err(McpError::Arguments),
    };
    Ok(Some(Tool { name, arguments }))
}

/// True for names of 1 to 128 letters, digits, `_`, `.` and `-`, in which no two look alike.
#[must_use]
pub fn is_strict_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Values below a dotted path, for example `owner.name`; a list on the way stands for each of its items.
#[must_use]
pub fn values<'v>(arguments: &'v Map<String, Value>, path: &str) -> Vec<&'v Value> {
    let mut parts = path.split('.');
    let mut found: Vec<&Value> = parts.next().and_then(|first| arguments.get(first)).into_iter().collect();
    for part in parts {
        found = found.into_iter().flat_map(items).filter_map(|value| value.get(part)).collect();
    }
    found.into_iter().flat_map(items).collect()
}

fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(self::items).collect(),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::{self, Frame};

    #[track_caller]
    fn check(params: &str, expected: Result<&str, McpError>) {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let frames = jsonrpc::read(body.as_bytes()).expect("a message");
        let [Frame::Call(call)] = &frames[..] else { panic!("{body}") };
        assert_eq!(tool(call).map(|tool| tool.expect("a tool call").name), expected, "{params}");
    }

    #[test]
    fn tools() {
        check(r#"{"name":"a"}"#, Ok("a"));
        check(r#"{"name":"a","arguments":{"x":1}}"#, Ok("a"));
        check(r#"{"name":1}"#, Err(McpError::NoName));
        check("{}", Err(McpError::NoName));
        check("[]", Err(McpError::NoName));
        check(r#"{"name":"a","arguments":[]}"#, Err(McpError::Arguments));
        let params = r#"{"name":"a","Name":"b"}"#;
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let frames = jsonrpc::read(body.as_bytes()).expect("a message");
        assert!(matches!(&frames[..], [Frame::Call(call)] if tool(call).is_err()));
    }

    #[test]
    fn u7_paths_into_arguments() {
        let arguments = json::read(br#"{"a":{"b":[{"c":1},{"c":[2,3]},{}]},"d":"x"}"#).expect("JSON");
        let arguments = arguments.as_object().expect("an object");
        for (path, expected) in [("d", 1), ("a.b.c", 3), ("a.b", 3), ("a.x", 0), ("x", 0), ("d.e", 0)] {
            assert_eq!(values(arguments, path).len(), expected, "{path}");
        }
    }
}
