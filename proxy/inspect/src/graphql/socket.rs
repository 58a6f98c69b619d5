//! GraphQL over WebSocket: `graphql-transport-ws` and the older `subscriptions-transport-ws`.

use serde_json::Value;

use super::{GraphqlError, Request, request};
use crate::json;

/// One text message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Opens, keeps or ends a conversation.
    Control,
    /// Asks for an operation.
    Operation(Request),
}

const CONTROL: [&str; 7] =
    ["connection_init", "ping", "pong", "complete", "stop", "connection_terminate", "connection_ack"];

/// Reads a message.
///
/// # Errors
/// [`GraphqlError`] for anything that is not a known message.
pub fn from_message(text: &str) -> Result<Message, GraphqlError> {
    let Value::Object(message) = json::read(text.as_bytes())? else { return Err(GraphqlError::Message) };
    let kind = json::member(&message, "type")?.and_then(Value::as_str).ok_or(GraphqlError::Message)?;
    let payload = json::member(&message, "payload")?;
    match (kind, payload) {
        ("subscribe" | "start", Some(Value::Object(payload))) => request::from_object(payload).map(Message::Operation),
        (kind, _) if CONTROL.contains(&kind) => Ok(Message::Control),
        _ => Err(GraphqlError::Message),
    }
}
