//! Bounds: every queue, buffer, cache and wait of the gate that an operator may want to know or set.
//!
//! ```
//! use tollgate_proxy::{Limits, LimitSetting};
//!
//! let setting: LimitSetting = "streams=16".parse().unwrap();
//! assert_eq!(Limits::with(&[setting]).streams, 16);
//! assert!("stream=16".parse::<LimitSetting>().is_err());
//! ```

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much, how many, how long. Counts are whole numbers from 1, times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of clients at a time; further ones wait in the listener's backlog. Never more than there are
    /// descriptors for.
    pub connections: u32,
    /// Requests at a time on one HTTP/2 connection (RFC 9113, section 5.1.2).
    pub streams: u32,
    /// Resets that a client may have waiting on one HTTP/2 connection before it is closed.
    pub resets: u32,
    /// Headers of a request: browsers send thirty, generous clients sixty. The HTTP library reads a hundred without asking for memory.
    pub headers: u32,
    /// Bytes in the head of a request, all headers together.
    pub header_bytes: u32,
    /// From the first byte of a head to its last, and how long a kept connection may idle between requests.
    pub header_seconds: u32,
    /// How long a client may keep an open connection without a word.
    pub first_bytes_seconds: u32,
    /// How long a TLS handshake may take, on either leg.
    pub handshake_seconds: u32,
    /// How long a peer may leave what it is sent unread, on either leg, and how long a tunnel may be silent of which one side
    /// has ended.
    pub stall_seconds: u32,
    /// How long a connection to one address of an upstream may take.
    pub connect_seconds: u32,
    /// Connections to one upstream at a time, where it speaks HTTP/1.
    pub upstream_connections: u32,
    /// Connections to all upstreams together; each agent has as many.
    pub all_upstream_connections: u32,
    /// How long a connection to an upstream is kept without use: most servers close theirs after a minute.
    pub upstream_idle_seconds: u32,
    /// Kibibytes of all bodies together that are kept because they were judged by what is in them.
    pub judged_kibibytes: u32,
    /// Names whose certificates are kept at hand.
    pub leaves: u32,
    /// Names whose addresses are kept at hand.
    pub names: u32,
    /// Size at which the journal goes on in another file.
    pub journal_segment_kibibytes: u32,
    /// Age at which the journal goes on in another file.
    pub journal_segment_seconds: u32,
    /// Files of the journal that are kept, the one that is written among them; the largest number is no bound.
    pub journal_keep_segments: u32,
    /// Size of all other files of the journal together, of which the oldest are removed; the largest number is no bound.
    pub journal_keep_mebibytes: u32,
    /// How long the other files of the journal are kept; the largest number is no bound.
    pub journal_keep_days: u32,
}

/// One limit, set by an operator: `NAME=NUMBER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSetting {
    name: String,
    value: NonZeroU32,
}

/// Why a limit is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not `NAME=NUMBER`.
    #[error("`{0}` is not NAME=NUMBER, for example streams=64")]
    Malformed(String),
    /// No such limit.
    #[error("there is no limit `{0}`; there are: {1}")]
    Unknown(String, String),
    /// Out of range.
    #[error("`{0}` must be a whole number from 1 to {max}", max = u32::MAX)]
    Range(String),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 128,
            resets: 32,
            headers: 100,
            header_bytes: 64 * 1024,
            header_seconds: 75,
            first_bytes_seconds: 30,
            handshake_seconds: 10,
            stall_seconds: 120,
            connect_seconds: 10,
            upstream_connections: 512,
            all_upstream_connections: 4096,
            upstream_idle_seconds: 50,
            judged_kibibytes: 256 * 1024,
            leaves: 1024,
            names: 1024,
            journal_segment_kibibytes: 64 * 1024,
            journal_segment_seconds: 24 * 60 * 60,
            journal_keep_segments: u32::MAX,
            journal_keep_mebibytes: u32::MAX,
            journal_keep_days: u32::MAX,
        }
    }
}

impl std::str::FromStr for LimitSetting {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or_else(|| LimitError::Malformed(text.to_owned()))?;
        let all = Limits::default().all();
        if !all.contains_key(name) {
            return Err(LimitError::Unknown(name.to_owned(), all.keys().cloned().collect::<Vec<_>>().join(", ")));
        }
        let value = value.parse().map_err(|_| LimitError::Range(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Limits {
    /// The defaults with some of them set; of two settings for one limit the later counts.
    #[must_use]
    pub fn with(settings: &[LimitSetting]) -> Self {
        Self::default().setting(settings.iter().map(|setting| (setting.name.as_str(), setting.value.get())))
    }

    /// The same with some of them set; names that are none are left out.
    #[must_use]
    pub fn setting<'a>(&self, settings: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut all = self.all();
        for (name, value) in settings {
            if let Some(limit) = all.get_mut(name) {
                *limit = value.into();
            }
        }
        serde_json::from_value(all.into()).expect("the same names, and numbers in range")
    }

    /// Every limit by name.
    #[must_use]
    pub fn all(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(all)) => all,
            _ => unreachable!("a structure of numbers is an object"),
        }
    }
}

pub(crate) fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let said = text.parse::<LimitSetting>().map_or_else(|e| e.to_string(), |_| "set".to_owned());
        assert!(said.starts_with(expected), "{text}: {said}");
    }

    #[test]
    fn settings() {
        check("connections=20000", "set");
        check("connections", "`connections` is not NAME=NUMBER");
        check("connection=1", "there is no limit `connection`; there are: all_upstream_connections, connect_seconds, ");
        check("streams=0", "`streams` must be");
        check("streams=-1", "`streams` must be");
        check("streams=4294967296", "`streams` must be");
    }
}
