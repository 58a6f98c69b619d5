//! Verification of a whole folder: each segment, and that they are all there.

use std::fs::File;
use std::io::{BufReader, Read};

use tollgate_audit::segment::number;
use tollgate_audit::{Flaw, Gap, Head, HeadError, Summary, verify_journal, verify_order};

use super::folder::JournalFolder;

/// What was found in a journal's folder.
#[derive(Debug)]
pub struct Verified {
    /// Each segment by its number, oldest first.
    pub segments: Vec<(u32, Result<Summary, SegmentError>)>,
    /// Whether they follow each other and none is missing; nothing where one of them does not hold, so that this cannot be said.
    pub order: Option<Result<(), Gap>>,
}

/// Why a segment does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// `its signed head` or `it`.
        file: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// It was changed.
    #[error(transparent)]
    Flawed(#[from] Flaw),
    /// The head is not to be believed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Another segment's files under its name.
    #[error("its signed head is that of {0}")]
    Misplaced(String),
}

/// A reader that tells of each read how many bytes it was.
pub struct Told<'a, R> {
    /// What is read.
    pub from: R,
    /// Who hears of it.
    pub read: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.from.read(buffer)?;
        (self.read)(length as u64);
        Ok(length)
    }
}

/// Retention may remove segments while they are verified; it does so once in many records.
const TRIES: usize = 3;

impl JournalFolder {
    /// Verifies all segments with the 32-byte public key, also while the journal is written; `read` hears how many bytes of records
    /// have been read since it heard last.
    ///
    /// # Errors
    /// When the folder cannot be read, or its segments were removed each time while they were.
    pub fn verify(&self, key: &[u8], read: &mut dyn FnMut(u64)) -> std::io::Result<Verified> {
        for _ in 0..TRIES {
            if let Some(verified) = self.try_verify(key, read)? {
                return Ok(verified);
            }
        }
        Err(std::io::Error::other("segments were removed while it was read; try again"))
    }

    /// Nothing where segments were removed meanwhile.
    fn try_verify(&self, key: &[u8], read: &mut dyn FnMut(u64)) -> std::io::Result<Option<Verified>> {
        // Before the segments, so that those it names are among them.
        let latest = std::fs::read(self.latest()).map_err(|e| e.to_string());
        let numbers = self.segments()?;
        let (mut segments, mut sound) = (Vec::new(), Vec::new());
        for number in numbers.iter().copied() {
            let found = self.verify_segment(number, key, read);
            sound.extend(found.as_ref().ok().cloned());
            segments.push((number, found.map(|(_, summary)| summary)));
        }
        if self.segments()?.first() != numbers.first() {
            return Ok(None);
        }
        let is_whole = sound.len() == segments.len();
        let order = is_whole.then(|| order(&sound, latest, key));
        Ok(Some(Verified { segments, order }))
    }

    fn verify_segment(
        &self,
        expected: u32,
        key: &[u8],
        read: &mut dyn FnMut(u64),
    ) -> Result<(String, Summary), SegmentError> {
        let unreadable = |file| move |reason| SegmentError::Unreadable { file, reason };
        // Before the records, so that it names one of them however fast they come.
        let head = std::fs::read(self.head(expected)).map_err(unreadable("its signed head"))?;
        let from = File::open(self.records(expected)).map_err(unreadable("it"))?;
        let summary = verify_journal(BufReader::new(Told { from, read }), &head, key)?;
        let session = Head::parse(&head)?.session;
        match number(&session) == Some(expected) {
            true => Ok((session, summary)),
            false => Err(SegmentError::Misplaced(session)),
        }
    }
}

fn order(segments: &[(String, Summary)], latest: Result<Vec<u8>, String>, key: &[u8]) -> Result<(), Gap> {
    let latest = latest.and_then(|text| Head::verify(&text, key).map_err(|e| e.to_string()));
    match latest {
        Ok(latest) => verify_order(segments, &latest),
        // It is noted when the first segment is there, and nothing is recorded before.
        Err(_) if segments.iter().all(|(first, summary)| number(first) == Some(1) && summary.records == 0) => Ok(()),
        Err(why) => Err(Gap::NoLatest(why)),
    }
}
