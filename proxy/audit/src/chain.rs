//! The hash chain: each line commits to the one before.

use crate::digest::{push_hex, sha256};

/// The end of a chain, ready to take the next record.
///
/// Line format, in this order and without spaces:
/// `{"seq":N,"time":"RFC 3339","prev":"64 hex",…the event's fields…,"hash":"64 hex"}`.
/// `hash` is the SHA-256 of the line's bytes up to and not including `,"hash":`. The first `prev` is the SHA-256 of the
/// session's name, so that one session's records cannot be passed off as another's.
#[derive(Debug, Clone)]
pub struct Chain {
    session: Box<str>,
    next: u64,
    last: [u8; 32],
}

impl Chain {
    /// An empty chain for a session.
    #[must_use]
    pub fn new(session: &str) -> Self {
        Self { session: session.into(), next: 1, last: anchor(session) }
    }

    /// Adds one record and writes its line, with a newline, to `out`.
    ///
    /// `time` is in microseconds since the Unix epoch. `body` is one JSON object with at least one field, as
    /// [`Event::to_body`](crate::Event::to_body) makes it.
    pub fn append(&mut self, time: i64, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let stamp = jiff::Timestamp::from_microsecond(time).unwrap_or(jiff::Timestamp::MAX);
        out.extend_from_slice(format!("{{\"seq\":{},\"time\":\"{stamp:.6}\",\"prev\":\"", self.next).as_bytes());
        push_hex(out, &self.last);
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&body[1..body.len() - 1]);
        self.last = sha256(&out[start..]);
        out.extend_from_slice(HASH_FIELD);
        push_hex(out, &self.last);
        out.extend_from_slice(b"\"}\n");
        self.next += 1;
    }

    /// The session this chain belongs to.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Sequence number of the last record; 0 when there is none.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.next - 1
    }

    /// Hash of the last record, or the session's anchor.
    #[must_use]
    pub fn last_hash(&self) -> [u8; 32] {
        self.last
    }
}

pub(crate) fn anchor(session: &str) -> [u8; 32] {
    sha256(session.as_bytes())
}

/// Separates what is hashed from the hash.
pub(crate) const HASH_FIELD: &[u8] = b",\"hash\":\"";
