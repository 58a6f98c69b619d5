//! Segments: a journal is cut into files, and the first record of each names the end of the one before.
//!
//! A session is `NAME/NUMBER`, the number that of the segment. A segment that follows another begins with
//! [`Event::Segment`], so each commits to all before it. What retention removed at the beginning is told
//! from what somebody else removed: the youngest segment says from which on they are kept.

use serde::Deserialize;

use crate::chain::anchor;
use crate::digest::hex;
use crate::verify::Summary;
use crate::{Event, Head};

/// What a segment says of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Follows {
    /// Its session.
    #[serde(rename = "follows")]
    pub session: String,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
    /// Number of the oldest segment that was kept when this one began.
    pub kept_from: u32,
}

/// How a segment ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct End {
    /// How many records it had.
    pub records: u64,
    /// Hash of the last one, or the session's anchor; empty where it could not be read.
    pub last_hash: String,
    /// Bytes of a record that was being written when the process was killed, and was taken away.
    #[serde(default)]
    pub dropped_bytes: u64,
}

/// What is wrong between segments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// Segments between two others are not there, or these are not in their order.
    #[error(
        "{found} follows {follows} and not {before}: segments between were removed or moved; of an export, --part accepts it"
    )]
    Missing {
        /// The segment before.
        before: String,
        /// The segment that stands after it.
        found: String,
        /// What that one says it follows.
        follows: String,
    },
    /// A segment without the record that says what it follows.
    #[error("{0} does not say which segment it follows")]
    Unlinked(String),
    /// The segment before does not end as the one after it says.
    #[error("{before} was cut or changed: it ends at record {ends}, {found} follows another end, record {followed}")]
    Altered {
        /// The segment before.
        before: String,
        /// Number of its last record.
        ends: u64,
        /// The segment after.
        found: String,
        /// What must be the number of the last record.
        followed: u64,
    },
    /// The oldest segments were removed, and not by retention.
    #[error(
        "the oldest segments are missing: {said} says that they are kept from number {kept_from} on, and {oldest} is the oldest here"
    )]
    Oldest {
        /// The oldest that is there.
        oldest: String,
        /// Which one says so.
        said: String,
        /// From where on.
        kept_from: u32,
    },
    /// The youngest segments were removed.
    #[error("the newest segments are missing: the journal has reached {signed}, and {newest} is the newest here")]
    Newest {
        /// The newest that is there.
        newest: String,
        /// The newest that was signed.
        signed: String,
    },
    /// Nothing says which segment is the newest.
    #[error("the file `latest`, which names the newest segment, is missing or not believed: {0}")]
    NoLatest(String),
}

impl Follows {
    /// Reads the first record of a segment; nothing where that is another event.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named {
            event: String,
        }
        let named: Named = serde_json::from_slice(line).ok()?;
        (named.event == "segment").then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// The record that says it.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        Event::Segment {
            follows: &self.session,
            records: self.end.records,
            last_hash: &self.end.last_hash,
            dropped_bytes: self.end.dropped_bytes,
            kept_from: self.kept_from,
        }
    }
}

impl End {
    /// Of a segment, from its last bytes: all of them, or more than any record has. Nothing where the last line is no record.
    #[must_use]
    pub fn of(session: &str, tail: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Last {
            seq: u64,
            hash: String,
        }
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let dropped_bytes = (tail.len() - whole) as u64;
        let Some(lines) = tail[..whole].strip_suffix(b"\n") else {
            return Some(Self { records: 0, last_hash: hex(&anchor(session)), dropped_bytes });
        };
        let last = lines.rsplit(|byte| *byte == b'\n').next()?;
        let Last { seq, hash } = serde_json::from_slice(last).ok()?;
        Some(Self { records: seq, last_hash: hash, dropped_bytes })
    }
}

/// Number of a session's segment.
#[must_use]
pub fn number(session: &str) -> Option<u32> {
    session.rsplit_once('/')?.1.parse().ok()
}

/// Checks all segments of one journal, oldest first, each of them verified: that they follow each other, that none is missing
/// between them, before the first other than by retention, or after the last. `latest` is the head that was signed when the
/// newest segment began, its signature checked.
///
/// # Errors
/// The first [`Gap`].
pub fn verify_order(segments: &[(String, Summary)], latest: &Head) -> Result<(), Gap> {
    for pair in segments.windows(2) {
        follows(&pair[0], &pair[1])?;
    }
    let (Some((oldest, first)), Some((newest, last))) = (segments.first(), segments.last()) else {
        return Err(Gap::Newest { newest: "none".to_owned(), signed: latest.session.clone() });
    };
    if number(newest) < number(&latest.session) {
        return Err(Gap::Newest { newest: newest.clone(), signed: latest.session.clone() });
    }
    if first.follows.is_none() && number(oldest) != Some(1) {
        return Err(Gap::Unlinked(oldest.clone()));
    }
    if let Some(Follows { kept_from, .. }) = last.follows
        && number(oldest).is_none_or(|number| number > kept_from)
    {
        return Err(Gap::Oldest { oldest: oldest.clone(), said: newest.clone(), kept_from });
    }
    Ok(())
}

/// Whether one segment goes on where another ended.
pub(crate) fn follows(before: &(String, Summary), after: &(String, Summary)) -> Result<(), Gap> {
    let ((before, ended), (found, began)) = (before, after);
    let link = began.follows.as_ref().ok_or_else(|| Gap::Unlinked(found.clone()))?;
    if link.session != *before {
        let follows = link.session.clone();
        return Err(Gap::Missing { before: before.clone(), found: found.clone(), follows });
    }
    if (link.end.records, &link.end.last_hash) != (ended.last, &ended.last_hash) {
        let (ends, followed) = (ended.last, link.end.records);
        return Err(Gap::Altered { before: before.clone(), ends, found: found.clone(), followed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, SigningKey, verify_chain};

    /// Verified segments with three records each, numbered from `from` to `to`; each says that they are kept from `kept_from` on.
    fn segments(from: u32, to: u32, kept_from: u32) -> Vec<(String, Summary)> {
        let mut found: Vec<(String, Summary)> = Vec::new();
        for number in from.max(2) - 1..=to {
            let session = format!("box/{number:06}");
            let (mut chain, mut text) = (Chain::new(&session), Vec::new());
            if let Some((session, ended)) = found.last() {
                let end = End { records: ended.last, last_hash: ended.last_hash.clone(), dropped_bytes: 0 };
                let follows = Follows { session: session.clone(), end, kept_from };
                chain.append(0, &follows.event().to_body(), &mut text);
            }
            while chain.last_seq() < 3 {
                chain.append(0, &Event::Notice { detail: &session }.to_body(), &mut text);
            }
            let summary = verify_chain(&session, text.as_slice()).expect("whole");
            found.push((session, summary));
        }
        found.retain(|(session, _)| number(session) >= Some(from));
        found
    }

    fn latest(number: u32) -> Head {
        let key = SigningKey::from_seed(&[7; 32]).expect("32 bytes");
        key.sign(&Chain::new(&format!("box/{number:06}")), false)
    }

    #[track_caller]
    fn check(segments: &[(String, Summary)], newest: u32, expected: &str) {
        let found = verify_order(segments, &latest(newest)).map_or_else(|gap| gap.to_string(), |()| "whole".to_owned());
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn segments_follow_each_other() {
        check(&segments(1, 1, 1), 1, "whole");
        check(&segments(1, 5, 1), 5, "whole");
        // Killed before it was noted which one is the newest.
        check(&segments(1, 5, 1), 4, "whole");
        // Killed before those that are not kept were removed.
        check(&segments(2, 5, 4), 5, "whole");
        check(&segments(4, 5, 4), 5, "whole");
        check(&segments(5, 5, 5), 5, "whole");
    }

    #[test]
    fn what_is_missing_or_moved_is_found() {
        let mut hole = segments(1, 5, 1);
        hole.remove(2);
        check(&hole, 5, "box/000004 follows box/000003 and not box/000002");
        let mut swapped = segments(1, 5, 1);
        swapped.swap(2, 3);
        check(&swapped, 5, "box/000004 follows box/000003 and not box/000002");
        check(&segments(1, 4, 1), 5, "the journal has reached box/000005, and box/000004 is the newest here");
        check(&[], 1, "the journal has reached box/000001, and none is the newest here");
        check(&segments(3, 5, 2), 5, "kept from number 2 on, and box/000003 is the oldest");
        check(&segments(2, 5, 1)[..1], 2, "kept from number 1 on, and box/000002 is the oldest");
    }

    #[test]
    fn a_segment_that_was_cut_or_rewritten_is_found() {
        let mut cut = segments(1, 3, 1);
        cut[1].1.last = 2;
        check(&cut, 3, "box/000002 was cut or changed: it ends at record 2");
        let mut rewritten = segments(1, 3, 1);
        rewritten[0].1.last_hash = hex(&anchor("another"));
        check(&rewritten, 3, "box/000001 was cut or changed");
        let mut unlinked = segments(1, 3, 1);
        unlinked[1].1.follows = None;
        check(&unlinked, 3, "box/000002 does not say which segment it follows");
    }

    #[test]
    fn ends() {
        #[track_caller]
        fn check(tail: &str, expected: Option<(u64, &str, u64)>) {
            let found = End::of("box/000001", tail.as_bytes());
            let found = found.as_ref().map(|end| (end.records, end.last_hash.as_str(), end.dropped_bytes));
            assert_eq!(found, expected, "{tail:?}");
        }
        let anchor = hex(&anchor("box/000001"));
        check("", Some((0, &anchor, 0)));
        check("{\"seq\":1", Some((0, &anchor, 8)));
        check("{\"seq\":1,\"hash\":\"a\"}\n", Some((1, "a", 0)));
        check("torn\n{\"seq\":1,\"hash\":\"a\"}\n{\"seq\":2,\"hash\":\"b\"}\n{\"s", Some((2, "b", 3)));
        check("no record\n", None);
    }
}
