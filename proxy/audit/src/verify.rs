//! Verification: does a journal tell one unbroken story, up to its signed end?

use std::io::{BufRead, Read};

use serde::Deserialize;

use crate::chain::{HASH_FIELD, anchor};
use crate::digest::{hex, sha256};
use crate::head::{Head, HeadError};
use crate::segment::{Follows, Gap};

/// A journal that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Number of records.
    pub records: u64,
    /// Number of the last one; 0 when there is none.
    pub last: u64,
    /// Hash of the last one, or the session's anchor when there is none; 64 hexadecimal digits.
    pub last_hash: String,
    /// Records after the signed head: written in the moment before a crash, or by a session that still runs.
    pub beyond_head: u64,
    /// True when the session ended in order.
    pub closed: bool,
    /// The segment that it follows, where it says so.
    pub follows: Option<Follows>,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct Flaw {
    /// Line of the journal, from 1; the line after the last for something missing at the end.
    pub line: u64,
    /// What is wrong there.
    pub kind: FlawKind,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlawKind {
    /// Not a record, or one that is longer than any that is written.
    #[error("this is not a journal record")]
    NotARecord,
    /// The line's own hash does not fit its text.
    #[error("the record was changed: its hash does not fit its text")]
    Changed,
    /// The line does not follow the one before.
    #[error("a record was removed, inserted or moved: this one does not follow the record before it")]
    Broken,
    /// The journal ends before its signed head.
    #[error("the journal was cut: it ends at record {found}, its signed head says {signed}")]
    Truncated {
        /// Last record there is.
        found: u64,
        /// Last record there must be.
        signed: u64,
    },
    /// The record that the head names has another hash.
    #[error("the journal was rewritten: its record {0} is not the one that was signed")]
    Rewritten(u64),
    /// Records follow the end of a session that was closed.
    #[error("records were added after the session was closed")]
    Appended,
    /// A part that begins after what is signed.
    #[error("no record is here that was signed: the signed head names record {0}")]
    Unsigned(u64),
    /// An export that begins in the middle.
    #[error("it begins with record {0}: those before are missing; where it was exported with --since, say --part")]
    Beginning(u64),
    /// An export in which segments are missing or not in their order.
    #[error(transparent)]
    Segments(#[from] Gap),
    /// An exported record without what says whose it is.
    #[error("the signed head that an export begins with is missing")]
    Headless,
    /// An exported event that is not what its record makes.
    #[error("the event does not say what its record says: it was changed, or exported by another version")]
    Retold,
    /// The head itself is not to be believed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The bytes could not be read.
    #[error("the journal could not be read: {0}")]
    Unreadable(String),
}

/// Checks the chain and the signed head together.
///
/// # Errors
/// The first [`Flaw`]: any edit, removal, insertion, reordering or truncation gives one.
pub fn verify_journal(journal: impl BufRead, head: &[u8], public_key: &[u8]) -> Result<Summary, Flaw> {
    let head = Head::verify(head, public_key).map_err(|e| Flaw { line: 0, kind: e.into() })?;
    let mut walk = Walk::whole(&head.session.clone(), Some(head));
    walk_through(&mut walk, journal)?;
    // A journal's records are its lines.
    walk.end().map_err(|(line, kind)| Flaw { line, kind })
}

/// Checks the chain alone: everything but its end.
///
/// # Errors
/// The first [`Flaw`].
pub fn verify_chain(session: &str, journal: impl BufRead) -> Result<Summary, Flaw> {
    let mut walk = Walk::whole(session, None);
    walk_through(&mut walk, journal)?;
    walk.end().map_err(|(line, kind)| Flaw { line, kind })
}

/// A chain on its way through verification.
pub(crate) struct Walk {
    head: Option<Head>,
    /// Hash that the next record must name as the one before; nothing where a part may begin with any.
    prev: Option<String>,
    /// Number of the last record.
    last: u64,
    records: u64,
    /// Hash of the record that the head names.
    signed_hash: Option<String>,
    follows: Option<Follows>,
}

impl Walk {
    /// From the first record on.
    pub(crate) fn whole(session: &str, head: Option<Head>) -> Self {
        let prev = hex(&anchor(session));
        let signed_hash = head.as_ref().filter(|head| head.seq == 0).map(|_| prev.clone());
        Self { head, prev: Some(prev), last: 0, records: 0, signed_hash, follows: None }
    }

    /// From any record on.
    pub(crate) fn part(head: Head) -> Self {
        Self { prev: None, ..Self::whole(&head.session.clone(), Some(head)) }
    }

    /// True before the first record.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The next record, a line without its end.
    pub(crate) fn take(&mut self, text: &[u8]) -> Result<(), FlawKind> {
        let link = read_link(text)?;
        let follows = match &self.prev {
            Some(prev) => link.prev == *prev && link.seq == self.last + 1,
            None => true,
        };
        if !follows {
            return Err(FlawKind::Broken);
        }
        if self.head.as_ref().is_some_and(|head| head.seq == link.seq) {
            self.signed_hash = Some(link.hash.clone());
        }
        if link.seq == 1 {
            self.follows = Follows::parse(text);
        }
        (self.last, self.prev) = (link.seq, Some(link.hash));
        self.records += 1;
        Ok(())
    }

    /// Nothing follows: does it end where its head says? A flaw comes with the number of the record where it is.
    pub(crate) fn end(self) -> Result<Summary, (u64, FlawKind)> {
        let last_hash = self.prev.unwrap_or_default();
        let (records, last, follows) = (self.records, self.last, self.follows);
        let mut summary = Summary { records, last, last_hash, beyond_head: 0, closed: false, follows };
        let Some(head) = self.head else { return Ok(summary) };
        match self.signed_hash {
            None if self.last < head.seq => {
                return Err((self.last + 1, FlawKind::Truncated { found: self.last, signed: head.seq }));
            }
            None => return Err((self.last, FlawKind::Unsigned(head.seq))),
            Some(hash) if hash != head.hash => return Err((head.seq, FlawKind::Rewritten(head.seq))),
            Some(_) => {}
        }
        summary.beyond_head = self.last - head.seq;
        summary.closed = head.closed;
        match head.closed && summary.beyond_head > 0 {
            true => Err((head.seq + 1, FlawKind::Appended)),
            false => Ok(summary),
        }
    }
}

/// The fields of a record that the chain is made of.
#[derive(Deserialize)]
struct Link {
    seq: u64,
    prev: String,
    hash: String,
}

/// Longer than any record that is written: paths and names in it are bounded.
const MAX_RECORD_BYTES: u64 = 1 << 20;

fn walk_through(walk: &mut Walk, journal: impl BufRead) -> Result<(), Flaw> {
    each_line(journal, MAX_RECORD_BYTES, |_, text| walk.take(text))
}

/// Every line without its end; the number of the one that is refused is told.
pub(crate) fn each_line(
    mut text: impl BufRead,
    longest: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), FlawKind>,
) -> Result<(), Flaw> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let flaw = |kind| Flaw { line: number, kind };
        let read = (&mut text).take(longest).read_until(b'\n', &mut line);
        if read.map_err(|e| flaw(FlawKind::Unreadable(e.to_string())))? == 0 {
            break;
        }
        let line = line.strip_suffix(b"\n").ok_or_else(|| flaw(FlawKind::NotARecord))?;
        take(number, line).map_err(flaw)?;
    }
    Ok(())
}

fn read_link(text: &[u8]) -> Result<Link, FlawKind> {
    let link: Link = serde_json::from_slice(text).map_err(|_| FlawKind::NotARecord)?;
    // The suffix is of fixed length; what it does not cover is what was hashed.
    let suffix = HASH_FIELD.len() + 64 + 2;
    let split = text.len().checked_sub(suffix).ok_or(FlawKind::NotARecord)?;
    let hash = hex(&sha256(&text[..split]));
    if !text[split..].starts_with(HASH_FIELD) || hash != link.hash {
        return Err(FlawKind::Changed);
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, Event, SigningKey};

    struct Journal {
        lines: Vec<String>,
        head: String,
        key: SigningKey,
    }

    fn journal(records: usize) -> Journal {
        let key = SigningKey::from_seed(&[7; 32]).expect("32 bytes");
        let mut chain = Chain::new("s");
        let mut bytes = Vec::new();
        for number in 0..records {
            let detail = format!("number {number}");
            chain.append(1_700_000_000_000_000, &Event::Notice { detail: &detail }.to_body(), &mut bytes);
        }
        let text = String::from_utf8(bytes).expect("JSON");
        Journal { lines: text.lines().map(|l| format!("{l}\n")).collect(), head: key.sign(&chain, true).to_text(), key }
    }

    impl Journal {
        #[track_caller]
        fn check(&self, expected: Result<u64, (u64, FlawKind)>) {
            let found = verify_journal(self.lines.concat().as_bytes(), self.head.as_bytes(), &self.key.public());
            assert_eq!(found.map(|s| s.records).map_err(|f| (f.line, f.kind)), expected);
        }
    }

    #[test]
    fn an_untouched_journal_holds() {
        journal(5).check(Ok(5));
        journal(0).check(Ok(0));
    }

    #[test]
    fn r2_every_single_byte_edit_breaks_it() {
        let whole = journal(3);
        let text = whole.lines.concat();
        for at in 0..text.len() {
            let mut edited = text.clone().into_bytes();
            edited[at] ^= 1;
            let found = verify_journal(edited.as_slice(), whole.head.as_bytes(), &whole.key.public());
            assert!(found.is_err(), "edit at byte {at} was not seen");
        }
    }

    #[test]
    fn r2_removal_reordering_and_repetition_break_it() {
        for at in 0..4 {
            let mut cut = journal(5);
            cut.lines.remove(at);
            cut.check(Err((at as u64 + 1, FlawKind::Broken)));
            let mut swapped = journal(5);
            swapped.lines.swap(at, at + 1);
            swapped.check(Err((at as u64 + 1, FlawKind::Broken)));
            let mut doubled = journal(5);
            doubled.lines.insert(at, doubled.lines[at].clone());
            doubled.check(Err((at as u64 + 2, FlawKind::Broken)));
        }
    }

    #[test]
    fn r2_truncation_is_seen_by_the_head() {
        for left in 0..5 {
            let mut cut = journal(5);
            cut.lines.truncate(left);
            let left = left as u64;
            cut.check(Err((left + 1, FlawKind::Truncated { found: left, signed: 5 })));
        }
        let mut half = journal(2);
        let last = half.lines[1].len() - 5;
        half.lines[1].truncate(last);
        half.check(Err((2, FlawKind::NotARecord)));
    }

    #[test]
    fn a_rewritten_journal_is_seen_by_the_head() {
        let honest = journal(3);
        let mut chain = Chain::new("s");
        let mut forged = Vec::new();
        for _ in 0..3 {
            chain.append(0, &Event::Notice { detail: "nothing happened" }.to_body(), &mut forged);
        }
        let found = verify_journal(forged.as_slice(), honest.head.as_bytes(), &honest.key.public());
        assert_eq!(found, Err(Flaw { line: 3, kind: FlawKind::Rewritten(3) }));
    }

    #[test]
    fn a_forged_head_is_not_believed() {
        let mut forged = journal(3);
        let stranger = SigningKey::from_seed(&[8; 32]).expect("32 bytes");
        let mut chain = Chain::new("s");
        chain.append(0, &Event::Close { reason: "" }.to_body(), &mut Vec::new());
        forged.head = stranger.sign(&chain, true).to_text();
        forged.check(Err((0, FlawKind::Head(HeadError::BadSignature))));
        let mut edited = journal(3);
        edited.head = edited.head.replace("\"seq\":3", "\"seq\":2");
        edited.check(Err((0, FlawKind::Head(HeadError::BadSignature))));
    }

    #[test]
    fn nothing_follows_a_closed_session() {
        let mut late = journal(3);
        let longer = journal(4);
        late.lines.push(longer.lines[3].clone());
        late.check(Err((4, FlawKind::Appended)));
    }
}
