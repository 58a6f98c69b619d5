//! WebSocket (RFC 6455): frame headers, masking, and messages put together within a bound.
//!
//! Of the extensions only `permessage-deflate` (RFC 7692) is known: [`Deflate`] reads what is offered and agreed on. Reserved
//! bits are refused where it was not.
//!
//! ```
//! use tollgate_inspect::websocket::{Header, Opcode, Sender};
//!
//! let (header, len) = Header::read(b"\x81\x02hi", Sender::Server).unwrap().unwrap();
//! assert_eq!((header.opcode, header.payload, len), (Opcode::Text, 2, 2));
//! ```

mod deflate;
mod frame;
mod message;

pub use deflate::{Deflate, MAX_WINDOW_BITS};
pub use frame::{Header, Opcode, Sender, mask};
pub use message::{Assembler, Message};

/// Why a stream of frames cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// RSV bits without an extension.
    #[error("a frame sets reserved bits")]
    Reserved,
    /// An opcode that no standard defines.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// A client that does not mask, or a server that does (section 5.1).
    #[error("a frame is masked where it may not be, or not masked where it must be")]
    Masking,
    /// A control frame in pieces or with more than 125 bytes (section 5.5).
    #[error("a control frame is fragmented or too long")]
    Control,
    /// A length not in its shortest form, or beyond 63 bits (section 5.2).
    #[error("a frame has a malformed length")]
    Length,
    /// A continuation of nothing, or a new message inside another (section 5.4).
    #[error("the fragments of a message are out of order")]
    Order,
    /// A text message longer than the bound.
    #[error("a message is too big")]
    TooBig,
    /// A text message that is not UTF-8 (section 8.1).
    #[error("a text message is not UTF-8")]
    NotUtf8,
}

impl WebSocketError {
    /// The code to close with (section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Reserved | Self::Opcode | Self::Masking | Self::Control | Self::Length | Self::Order => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }
}
