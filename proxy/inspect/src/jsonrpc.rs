//! JSON-RPC 2.0: one frame or a batch.
//!
//! ```
//! let error = tollgate_inspect::jsonrpc::read(b"[]").unwrap_err();
//! assert_eq!(error.to_string(), "the batch is empty");
//! ```

use serde_json::{Map, Value};

use crate::json::{self, JsonError};

/// One element of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A request or a notification.
    Call(Call),
    /// An answer to a request that the server made.
    Response,
}

/// A request, or a notification where it has no id.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method, exactly as written.
    pub method: String,
    /// `params`: an object or a list.
    pub params: Option<Value>,
    /// True where an answer is expected.
    pub has_id: bool,
}

/// Why bytes are no JSON-RPC message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonRpcError {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Neither an object nor a list of objects.
    #[error("a message is an object or a list of objects")]
    NotAnObject,
    /// `[]`.
    #[error("the batch is empty")]
    EmptyBatch,
    /// More than [`MAX_BATCH`].
    #[error("the batch has more than {MAX_BATCH} frames")]
    LongBatch,
    /// `jsonrpc` is missing or another version.
    #[error("`jsonrpc` is not \"2.0\"")]
    Version,
    /// `method` is no text, or a frame is a call and an answer at once.
    #[error("the frame is neither a call nor a response")]
    Shape,
    /// `params` is neither an object nor a list.
    #[error("`params` is neither an object nor a list")]
    Params,
    /// `id` is neither text nor a number nor null.
    #[error("`id` is neither text nor a number")]
    Id,
}

/// Frames in one batch: far above what clients send.
pub const MAX_BATCH: usize = 1024;

/// Reads a message; a single frame is a list of one.
///
/// # Errors
/// [`JsonRpcError`]; one bad frame spoils the batch.
pub fn read(body: &[u8]) -> Result<Vec<Frame>, JsonRpcError> {
    match json::read(body)? {
        Value::Object(object) => Ok(vec![frame(object)?]),
        Value::Array(batch) if batch.is_empty() => Err(JsonRpcError::EmptyBatch),
        Value::Array(batch) if batch.len() > MAX_BATCH => Err(JsonRpcError::LongBatch),
        Value::Array(batch) => batch.into_iter().map(in_batch).collect(),
        _ => Err(JsonRpcError::NotAnObject),
    }
}

fn in_batch(value: Value) -> Result<Frame, JsonRpcError> {
    match value {
        Value::Object(object) => frame(object),
        _ => Err(JsonRpcError::NotAnObject),
    }
}

fn frame(mut object: Map<String, Value>) -> Result<Frame, JsonRpcError> {
    if json::member(&object, "jsonrpc")?.and_then(Value::as_str) != Some("2.0") {
        return Err(JsonRpcError::Version);
    }
    let has_id = match json::member(&object, "id")? {
        None => false,
        Some(Value::String(_) | Value::Number(_) | Value::Null) => true,
        Some(_) => return Err(JsonRpcError::Id),
    };
    let answers = json::member(&object, "result")?.is_some() || json::member(&object, "error")?.is_some();
    match (json::member(&object, "method")?, json::member(&object, "params")?, answers) {
        (None, None, true) if has_id => Ok(Frame::Response),
        (Some(Value::String(_)), None | Some(Value::Object(_) | Value::Array(_)), false) => {
            let Some(Value::String(method)) = object.remove("method") else { return Err(JsonRpcError::Shape) };
            Ok(Frame::Call(Call { method, params: object.remove("params"), has_id }))
        }
        (Some(Value::String(_)), Some(_), false) => Err(JsonRpcError::Params),
        _ => Err(JsonRpcError::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Result<&[&str], JsonRpcError>) {
        let seen = read(body.as_bytes()).map(|frames| {
            let name = |frame: Frame| match frame {
                Frame::Call(call) => call.method,
                Frame::Response => "response".to_owned(),
            };
            frames.into_iter().map(name).collect::<Vec<_>>()
        });
        assert_eq!(seen, expected.map(|names| names.iter().map(ToString::to_string).collect()), "{body}");
    }

    #[test]
    fn messages() {
        check(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{}}"#, Ok(&["a"]));
        check(r#"{"jsonrpc":"2.0","method":"a"}"#, Ok(&["a"]));
        check(r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#, Ok(&["a", "b"]));
        check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Ok(&["response"]));
        check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, Ok(&["response"]));
    }

    #[test]
    fn u1_u2_what_is_no_message() {
        check("[]", Err(JsonRpcError::EmptyBatch));
        check("[1]", Err(JsonRpcError::NotAnObject));
        check("[[]]", Err(JsonRpcError::NotAnObject));
        check("1", Err(JsonRpcError::NotAnObject));
        check(r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, Err(JsonRpcError::Version));
        check(r#"{"id":1,"method":"a"}"#, Err(JsonRpcError::Version));
        check(r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, Err(JsonRpcError::Id));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, Err(JsonRpcError::Shape));
        check(r#"{"jsonrpc":"2.0","id":1,"method":["a"]}"#, Err(JsonRpcError::Shape));
        check(r#"{"jsonrpc":"2.0","id":1}"#, Err(JsonRpcError::Shape));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}"#, Err(JsonRpcError::Params));
        assert!(matches!(read(br#"{"jsonrpc":"2.0","method":"a","Method":"b"}"#), Err(JsonRpcError::Json(_))));
        assert!(matches!(read(br#"{"jsonrpc":"2.0","method":"a","method":"b"}"#), Err(JsonRpcError::Json(_))));
        let long = format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"a"}"#; MAX_BATCH + 1].join(","));
        check(&long, Err(JsonRpcError::LongBatch));
    }
}
