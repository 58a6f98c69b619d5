//! Journals for other systems, in lines that stay verifiable there.
//!
//! As OCSF, each line is the event of one record. What it is verified by stands in fields that the schema leaves free:
//! `raw_data` is the record's line byte for byte, `unmapped` has its `seq`, `prev` and `hash`, the `session` and, with the first
//! event of a segment, the signed `head`. As JSONL, a segment is its signed head and then its records, untouched.
//!
//! What verification does not see: that segments are missing at the beginning or the end, and records after a head that is not closed.

#[cfg(test)]
mod tests;

use std::io::BufRead;

use serde::Deserialize;
use serde_json::Value;

use crate::head::Head;
use crate::segment::{self, Gap};
use crate::verify::{Flaw, FlawKind, Summary, Walk, each_line};
use crate::{HeadError, Record};

/// How records are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One event of the Open Cybersecurity Schema Framework a line.
    Ocsf,
    /// The journal's own lines behind the signed head.
    Jsonl,
}

/// What an export must hold to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every record of its segments, and every segment between the first and the last.
    Whole,
    /// Any unbroken part of each segment that reaches its signed head.
    Part,
}

/// One segment on its way out.
#[derive(Debug)]
pub struct Export {
    head: Head,
    format: Format,
    /// In microseconds since the Unix epoch.
    since: Option<i64>,
    /// The record that the head names, where it is older: needed if younger ones follow, since they are not signed.
    held: Option<Vec<u8>>,
    begun: bool,
}

impl Export {
    /// Begins with the content of a segment's head file; it must have been read before the records.
    ///
    /// With `since`, in microseconds since the Unix epoch, it begins with the first record that is not older.
    ///
    /// # Errors
    /// [`HeadError::Malformed`]; the signature is for [`verify_export`] to check.
    pub fn new(head: &[u8], format: Format, since: Option<i64>) -> Result<Self, HeadError> {
        Ok(Self { head: Head::parse(head)?, format, since, held: None, begun: false })
    }

    /// What to write for the next record, a line without its end. Nothing where it is no record.
    pub fn take(&mut self, line: &[u8]) -> Option<String> {
        let record = Record::parse(line)?;
        if let Some(since) = self.since {
            if record.time().is_none_or(|time| time < since) {
                if record.sequence() == Some(self.head.seq) {
                    self.held = Some(line.to_vec());
                }
                return Some(String::new());
            }
            // One record that is young enough takes all that follow with it: a chain has no holes.
            self.since = None;
        }
        let mut out = String::new();
        if let Some(held) = self.held.take() {
            self.put(&held, &mut out)?;
        }
        self.put(line, &mut out)?;
        Some(out)
    }

    fn put(&mut self, line: &[u8], out: &mut String) -> Option<()> {
        let line = std::str::from_utf8(line).ok()?;
        let head = (!std::mem::replace(&mut self.begun, true)).then_some(&self.head);
        match self.format {
            Format::Ocsf => out.push_str(&event(line, &self.head.session, head)?),
            Format::Jsonl => {
                out.push_str(&head.map(Head::to_text).unwrap_or_default());
                out.push_str(line);
            }
        }
        out.push('\n');
        Some(())
    }
}

/// An exported event; the same record gives the same bytes.
fn event(line: &str, session: &str, head: Option<&Head>) -> Option<String> {
    let name = session.rsplit_once('/').map_or(session, |(name, _)| name);
    let mut event = Record::parse(line.as_bytes())?.ocsf(name);
    event["raw_data"] = line.into();
    event["unmapped"]["session"] = session.into();
    if let Some(head) = head {
        event["unmapped"]["head"] = serde_json::to_value(head).ok()?;
    }
    Some(event.to_string())
}

/// True for the first line of an export, false for that of a journal.
#[must_use]
pub fn is_export(first_line: &[u8]) -> bool {
    let fields: Value = serde_json::from_slice(first_line).unwrap_or_default();
    fields.get("class_uid").is_some() || fields.get("signature").is_some()
}

/// Checks an export, in whatever format, and gives the session and the state of each of its segments.
///
/// # Errors
/// The first [`Flaw`]: an edit, a removal, an insertion, a reordering or a cut gives one.
pub fn verify_export(export: impl BufRead, public_key: &[u8], extent: Extent) -> Result<Vec<(String, Summary)>, Flaw> {
    let mut segments = Segments { public_key, extent, done: Vec::new(), current: None };
    let mut lines = 0;
    each_line(export, MAX_LINE_BYTES, |number, line| {
        lines = number;
        segments.take(line)
    })?;
    segments.end().map_err(|kind| Flaw { line: lines + 1, kind })?;
    Ok(segments.done)
}

/// Segments, one after the other.
struct Segments<'a> {
    public_key: &'a [u8],
    extent: Extent,
    done: Vec<(String, Summary)>,
    current: Option<(String, Walk)>,
}

/// The fields of an event that verification needs.
#[derive(Deserialize)]
struct Carrier {
    raw_data: String,
    unmapped: Origin,
}

#[derive(Deserialize)]
struct Origin {
    session: String,
    head: Option<Head>,
}

impl Segments<'_> {
    fn take(&mut self, line: &[u8]) -> Result<(), FlawKind> {
        if let Ok(Carrier { raw_data, unmapped: Origin { session, head } }) = serde_json::from_slice(line) {
            let retold = event(&raw_data, &session, head.as_ref());
            if retold.is_none_or(|retold| retold.as_bytes() != line) {
                return Err(FlawKind::Retold);
            }
            if let Some(head) = head {
                self.begin(head)?;
            }
            return self.record(Some(&session), raw_data.as_bytes());
        }
        match Head::parse(line) {
            Ok(head) if head.to_text().trim_end().as_bytes() != line => Err(FlawKind::Retold),
            Ok(head) => self.begin(head),
            Err(_) => self.record(None, line),
        }
    }

    fn begin(&mut self, head: Head) -> Result<(), FlawKind> {
        head.check(self.public_key)?;
        self.end()?;
        let session = head.session.clone();
        let walk = match self.extent {
            Extent::Whole => Walk::whole(&session, Some(head)),
            Extent::Part => Walk::part(head),
        };
        self.current = Some((session, walk));
        Ok(())
    }

    fn record(&mut self, said: Option<&str>, line: &[u8]) -> Result<(), FlawKind> {
        let (session, walk) = self.current.as_mut().ok_or(FlawKind::Headless)?;
        if said.is_some_and(|said| said != session) {
            return Err(FlawKind::Headless);
        }
        let first = walk.is_empty();
        walk.take(line).map_err(|flaw| match Record::parse(line).and_then(|record| record.sequence()) {
            Some(number) if first && flaw == FlawKind::Broken && number > 1 => FlawKind::Beginning(number),
            _ => flaw,
        })
    }

    fn end(&mut self) -> Result<(), FlawKind> {
        if let Some((session, walk)) = self.current.take() {
            let found = (session, walk.end().map_err(|(_, kind)| kind)?);
            if let Some(before) = self.done.last() {
                follows(before, &found, self.extent)?;
            }
            self.done.push(found);
        }
        Ok(())
    }
}

/// Segments of one journal stand in their order, and in a whole export none is missing between two.
fn follows(before: &(String, Summary), found: &(String, Summary), extent: Extent) -> Result<(), Gap> {
    let name = |session: &str| session.rsplit_once('/').map(|(name, _)| name.to_owned());
    if name(&before.0) != name(&found.0) {
        return Ok(());
    }
    let link = found.1.follows.as_ref();
    match extent {
        // What is missing between them is not here to be compared.
        Extent::Part if link.is_none_or(|link| link.session != before.0) => {
            let missing = || Gap::Missing {
                before: before.0.clone(),
                found: found.0.clone(),
                follows: link.map_or_else(|| "another".to_owned(), |link| link.session.clone()),
            };
            (segment::number(&before.0) < segment::number(&found.0)).then_some(()).ok_or_else(missing)
        }
        _ => segment::follows(before, found),
    }
}

/// Longer than any event: a record of at most 1 MiB, told twice and escaped.
const MAX_LINE_BYTES: u64 = 8 << 20;
