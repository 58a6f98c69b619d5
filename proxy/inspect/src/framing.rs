//! Where the requests on an HTTP/1 connection begin and end (RFC 9112, sections 2 to 7), read strictly and before anyone
//! else reads them.
//!
//! Whoever parses requests repairs some of what is wrong with them: a length beside a transfer coding is dropped, a bare
//! line feed ends a line. What was repaired can no longer be refused, and a server behind may repair it in another way.
//! [`Follower`] sees the bytes first and stops at the first that two readers could take differently. It is not a parser:
//! it gives no request, and what it lets pass still has to be parsed.
//!
//! ```
//! use tollgate_inspect::framing::{Bounds, Follower, Wrong};
//!
//! let mut follower = Follower::new(Bounds { head_bytes: 65536, headers: 128 });
//! assert_eq!(follower.follow(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), (27, Ok(())));
//! let both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
//! assert_eq!(follower.follow(both), (0, Err(Wrong::LengthAndCoding)));
//! ```

mod chunks;
mod head;
#[cfg(test)]
mod tests;

use chunks::Chunks;
use head::{Body, Head};

/// How much a head may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a head, its empty line included.
    pub head_bytes: usize,
    /// Header lines of a head.
    pub headers: usize,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No request line (RFC 9112, section 3), or an empty line before it.
    #[error("the connection does not go on with a request line of HTTP/1")]
    NotHttp1,
    /// A request line that is not `METHOD TARGET HTTP/1.x` with one blank in between.
    #[error("the request line is wrong")]
    RequestLine,
    /// A target that is none of the four forms (RFC 9112, section 3.2).
    #[error("the request target is wrong")]
    Target,
    /// Another version of HTTP than 1.0 and 1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    /// A line feed without a carriage return before it (section 2.2).
    #[error("a line of the request's head ends without a carriage return")]
    BareLineFeed,
    /// A header line without a name of token characters directly before its colon: folded lines and blanks before the
    /// colon among them (sections 5.1 and 5.2).
    #[error("a header line has no valid name before its colon")]
    HeaderName,
    /// A control character in a header's value.
    #[error("a header's value holds a control character")]
    HeaderValue,
    /// No `Host`, or more than one (section 3.2).
    #[error("a request has exactly one Host header")]
    Host,
    /// More than one `Content-Length`, or one that is not a number.
    #[error("the Content-Length is not one whole number, given once")]
    Length,
    /// Anything but `chunked`, once, in HTTP/1.1 (section 6.1).
    #[error("the Transfer-Encoding is not `chunked` alone, given once, in HTTP/1.1")]
    Coding,
    /// `Content-Length` and `Transfer-Encoding` (section 6.3).
    #[error("the request has both a Content-Length and a Transfer-Encoding")]
    LengthAndCoding,
    /// A body on a request after which the connection may speak another protocol.
    #[error("a request that switches protocols has no body")]
    SwitchWithBody,
    /// More bytes or more header lines than there may be.
    #[error("the request's head is larger than is taken here")]
    HeadTooLarge,
    /// The client ended in the middle of a head.
    #[error("the request breaks off in its head")]
    BrokenOff,
    /// Wrong chunks or trailers (section 7.1), or far more of an extension or of trailers than anyone sends.
    #[error("the request's chunked body is wrong")]
    Chunk,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Follower {
    bounds: Bounds,
    state: State,
    heads: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// What has come of the next head.
    Head(Head),
    /// Bytes of a body that are still to come.
    Length(u64),
    Chunked(Chunks),
    /// The connection may speak another protocol from here on.
    Switching,
}

impl Follower {
    /// At the beginning of a connection.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, state: State::Head(Head::default()), heads: 0 }
    }

    /// Looks at the bytes that come next and says how many of them may be passed on: whole heads, and bodies as far as
    /// they are there. What is left is the beginning of a head: it has to be shown again, with more behind it.
    ///
    /// # Errors
    /// What is wrong with the first byte that may not be passed on. Nothing behind it can be followed.
    pub fn follow(&mut self, bytes: &[u8]) -> (usize, Result<(), Wrong>) {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let (count, followed) = match self.state {
                State::Switching => (rest.len(), Ok(())),
                State::Length(length) => self.length(length, rest.len()),
                State::Chunked(chunks) => self.chunked(chunks, rest),
                State::Head(head) => match self.head(head, rest) {
                    Ok(0) => return (passed, Ok(())),
                    Ok(count) => (count, Ok(())),
                    Err(wrong) => (0, Err(wrong)),
                },
            };
            passed += count;
            if followed.is_err() {
                return (passed, followed);
            }
        }
        (passed, Ok(()))
    }

    /// Heads that have been passed.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a body.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Whether the last head that was passed asks for another protocol: a `CONNECT`, or an upgrade to WebSocket. Its
    /// answer must switch or be the last one, since nothing behind it is followed any more.
    #[must_use]
    pub fn is_switching(&self) -> bool {
        matches!(self.state, State::Switching)
    }

    fn length(&mut self, length: u64, there: usize) -> (usize, Result<(), Wrong>) {
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(there);
        self.state = match length - count as u64 {
            0 => State::Head(Head::default()),
            left => State::Length(left),
        };
        (count, Ok(()))
    }

    fn chunked(&mut self, mut chunks: Chunks, bytes: &[u8]) -> (usize, Result<(), Wrong>) {
        let (count, followed) = chunks.follow(bytes);
        self.state = match followed {
            Ok(true) => State::Head(Head::default()),
            _ => State::Chunked(chunks),
        };
        (count, followed.map(|_| ()))
    }

    /// The length of the head that `bytes` begin with; 0 while it is not whole.
    fn head(&mut self, mut head: Head, bytes: &[u8]) -> Result<usize, Wrong> {
        let Some((length, body)) = head.follow(bytes, self.bounds)? else {
            self.state = State::Head(head);
            return Ok(0);
        };
        self.state = match body {
            Body::Length(0) => State::Head(Head::default()),
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Chunked(Chunks::default()),
            Body::Switching => State::Switching,
        };
        self.heads += 1;
        Ok(length)
    }
}
