//! The folder of a journal: its segments, which of them is the newest, and which are kept.
//!
//! `NNNNNN.jsonl` and `NNNNNN.head` are a segment; `latest` is the head that was signed when the newest one began, so that its
//! removal is seen.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tollgate_audit::segment::number;
use tollgate_audit::{End, Follows, Head, Record};

use super::rotation::{Complete, Rotation};

/// Where a journal's segments are.
#[derive(Debug, Clone)]
pub struct JournalFolder {
    path: PathBuf,
}

impl JournalFolder {
    /// Names a folder.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records of a segment.
    #[must_use]
    pub fn records(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:06}.jsonl"))
    }

    /// The signed head of a segment.
    #[must_use]
    pub fn head(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:06}.head"))
    }

    /// The head that was signed when the newest segment began.
    #[must_use]
    pub fn latest(&self) -> PathBuf {
        self.path.join("latest")
    }

    /// Numbers of all segments, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn segments(&self) -> std::io::Result<Vec<u32>> {
        self.numbers("jsonl")
    }

    /// Numbers of all files with this extension, in order.
    fn numbers(&self, extension: &str) -> std::io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = PathBuf::from(entry?.file_name());
            if path.extension().is_some_and(|found| found == extension) {
                found.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Number of the next segment, and what it follows; nothing where it is the first of all.
    ///
    /// Half a record that a killed process left behind is taken away, and that is told. What was removed by others is
    /// not glossed over: the number of a segment that was there once is not given again.
    pub(super) fn next(&self, source: &str) -> std::io::Result<(u32, Option<Follows>)> {
        let segments = self.segments()?;
        let signed = read(&self.latest())?.and_then(|text| Head::parse(&text).ok());
        let latest = signed.as_ref().and_then(|head| number(&head.session)).unwrap_or(0);
        let Some(newest) = segments.last().copied().max((latest > 0).then_some(latest)) else { return Ok((1, None)) };
        let session = format!("{source}/{newest:06}");
        let end = match signed.filter(|_| !segments.contains(&newest)) {
            Some(head) => End { records: head.seq, last_hash: head.hash, dropped_bytes: 0 },
            None => self.end(newest, &session)?,
        };
        // Where nothing says from which on they were kept, all were: what is missing then was removed by others.
        let kept_from = first_line(&self.records(newest)).and_then(|line| Follows::parse(&line));
        let kept_from = kept_from.map_or(1, |follows| follows.kept_from);
        Ok((newest.saturating_add(1), Some(Follows { session, end, kept_from })))
    }

    /// How a segment has ended that nobody writes any more.
    fn end(&self, number: u32, session: &str) -> std::io::Result<End> {
        let mut file = File::open(self.records(number))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        // A segment without a last record that can be read does not verify, whatever is said of it here.
        let unread = End { records: 0, last_hash: String::new(), dropped_bytes: 0 };
        let Some(end) = End::of(session, &tail) else { return Ok(unread) };
        let closed = read(&self.head(number))?.and_then(|text| Head::parse(&text).ok()).is_some_and(|head| head.closed);
        if end.dropped_bytes > 0 && !closed {
            let file = OpenOptions::new().write(true).open(self.records(number))?;
            file.set_len(length - end.dropped_bytes)?;
        }
        Ok(end)
    }

    /// Number of the oldest segment to keep when the segment `next` begins at `now`, in microseconds since the Unix epoch;
    /// nothing where all are kept that are there.
    pub(super) fn first_kept(&self, rotation: &Rotation, next: u32, now: i64) -> std::io::Result<Option<u32>> {
        if rotation.keeps_all() {
            return Ok(None);
        }
        let segments = self.segments()?;
        let mut complete = Vec::new();
        for (at, number) in segments.iter().copied().enumerate() {
            let bytes = std::fs::metadata(self.records(number))?.len();
            let ended = segments.get(at + 1).and_then(|next| began(&self.records(*next))).unwrap_or(now);
            complete.push(Complete { number, bytes, ended });
        }
        let first = rotation.first_kept(&complete, now).unwrap_or(next);
        Ok(segments.first().is_some_and(|oldest| *oldest < first).then_some(first))
    }

    /// Removes all segments before this one. What cannot be removed is removed another time.
    pub(super) fn remove_before(&self, number: u32) {
        // The records first: heads alone are no segment.
        for (extension, path) in [("jsonl", Self::records as fn(&Self, u32) -> PathBuf), ("head", Self::head)] {
            for old in self.numbers(extension).unwrap_or_default().into_iter().take_while(|old| *old < number) {
                if let Err(error) = std::fs::remove_file(path(self, old)) {
                    tracing::warn!(%error, segment = old, "a segment that is not kept cannot be removed");
                }
            }
        }
    }

    /// Notes that a segment with this head has begun.
    pub(super) fn note_latest(&self, head: &Head) -> std::io::Result<()> {
        let draft = self.path.join("latest.new");
        private(OpenOptions::new().write(true).create(true).truncate(true))
            .open(&draft)?
            .write_all(head.to_text().as_bytes())?;
        std::fs::rename(&draft, self.latest())
    }
}

/// More than the longest record has.
const TAIL_BYTES: u64 = 2 << 20;

/// When the first record of a segment was made.
fn began(path: &Path) -> Option<i64> {
    Record::parse(&first_line(path)?)?.time()
}

fn first_line(path: &Path) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?.take(TAIL_BYTES)).read_until(b'\n', &mut line).ok()?;
    Some(line)
}

fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Only the owner reads what an agent did.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}
