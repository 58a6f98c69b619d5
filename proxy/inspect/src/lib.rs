//! Reads what agents send: bytes in, facts out.
//!
//! | module | reads |
//! | --- | --- |
//! | [`target`] | the request target of HTTP/1: origin, absolute, authority, asterisk |
//! | [`framing`] | where HTTP/1 requests begin and end |
//! | [`query`] | query strings |
//! | [`sniff`] | the first bytes of a connection |
//! | [`json`] | JSON without two meanings |
//! | [`graphql`] | GraphQL over HTTP and over WebSocket |
//! | [`jsonrpc`] | JSON-RPC 2.0 |
//! | [`mcp`] | the Model Context Protocol on top of it |
//! | [`websocket`] | WebSocket frames and messages |
//!
//! Everything here is strict: what two readers could read in two ways is refused. Deliberately no verdicts (those are the
//! policy's) and no IO.
//!
//! ```
//! use tollgate_inspect::jsonrpc::{self, Frame};
//!
//! let frames = jsonrpc::read(br#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#).unwrap();
//! assert!(matches!(&frames[..], [Frame::Call(call)] if call.method == "tools/list"));
//! ```
#![forbid(unsafe_code)]

pub mod framing;
pub mod graphql;
pub mod json;
pub mod jsonrpc;
pub mod mcp;
pub mod query;
pub mod sniff;
pub mod target;
pub mod websocket;
