//! The hash chain: each line commits to the one before.

use std::io::Write;

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
    /// The second of the last record, and how it is written.
    second: (i64, String),
}

impl Chain {
    /// An empty chain for a session.
    #[must_use]
    pub fn new(session: &str) -> Self {
        Self { session: session.into(), next: 1, last: anchor(session), second: (i64::MIN, String::new()) }
    }

    /// Adds one record and writes its line, with a newline, to `out`.
    ///
    /// `time` is in microseconds since the Unix epoch. `body` is one JSON object with at least one field, as
    /// [`Event::to_body`](crate::Event::to_body) makes it.
    pub fn append(&mut self, time: i64, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.stamp(time);
        let (micros, next) = (time.rem_euclid(1_000_000), self.next);
        let begun = write!(out, "{{\"seq\":{next},\"time\":\"{}.{micros:06}Z\",\"prev\":\"", self.second.1);
        begun.expect("memory takes what is written");
        push_hex(out, &self.last);
        out.extend_from_slice(b"\",");
        out.extend_from_slice(&body[1..body.len() - 1]);
        self.last = sha256(&out[start..]);
        out.extend_from_slice(HASH_FIELD);
        push_hex(out, &self.last);
        out.extend_from_slice(b"\"}\n");
        self.next += 1;
    }

    /// Writes the second out where it is another than the last record's.
    fn stamp(&mut self, time: i64) {
        let second = time.div_euclid(1_000_000);
        if self.second.0 != second {
            let stamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            self.second = (second, stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_full_whatever_came_before() {
        let mut chain = Chain::new("s");
        for time in [1_700_000_000_000_001, 1_700_000_000_999_999, 1_700_000_001_000_000, 1_700_000_000_000_000, 0, -1]
        {
            let mut line = Vec::new();
            chain.append(time, br#"{"event":"notice"}"#, &mut line);
            let expected = format!(r#""time":"{:.6}""#, jiff::Timestamp::from_microsecond(time).expect("in range"));
            let line = String::from_utf8_lossy(&line);
            assert!(line.contains(&expected), "{line} has not {expected}");
        }
    }
}
