//! The thread that writes: batches of records, and the signed head behind them.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tollgate_audit::{Follows, SigningKey};

use super::CLOSED;
use super::folder::JournalFolder;
use super::queue::{Batch, Call, Queue};
use super::rotation::Rotation;
use super::segment::Segment;

/// How old the signed head may be while records come in: this much of a journal's end is unsigned after a crash.
const HEAD_INTERVAL: Duration = Duration::from_millis(200);

/// How long the end of a journal waits for a descriptor.
const LAST_HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// Records that one who follows may be behind before some are left out for them.
const BEHIND_RECORDS: usize = 4096;

/// What is written, where, and when the next file begins.
pub(super) struct Writer {
    folder: JournalFolder,
    /// Whose journal it is: the session of a segment is this and its number.
    source: String,
    rotation: Rotation,
    key: SigningKey,
    segment: Segment,
    /// Number of the oldest segment that is kept.
    kept_from: u32,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    followers: broadcast::Sender<Arc<str>>,
    /// Brings the segment before to the disk.
    syncing: Option<JoinHandle<std::io::Result<()>>>,
}

impl Writer {
    /// Begins the next segment of a folder; `now` is in microseconds since the Unix epoch.
    pub(super) fn open(
        folder: JournalFolder,
        source: &str,
        rotation: Rotation,
        key: SigningKey,
        now: i64,
    ) -> std::io::Result<Self> {
        let (number, follows) = folder.next(source)?;
        let kept_from = follows.as_ref().map_or(number, |follows| follows.kept_from);
        let kept = folder.first_kept(&rotation, number, now)?;
        let kept_from = kept.map_or(kept_from, |kept| kept.max(kept_from));
        let follows = follows.map(|follows| Follows { kept_from, ..follows });
        let segment = Segment::begin(&folder, (source, number), follows.as_ref(), &key, now)?;
        folder.note_latest(&segment.sign(&key, false)?)?;
        folder.remove_before(kept.unwrap_or(0));
        Ok(Self {
            folder,
            source: source.to_owned(),
            rotation,
            key,
            segment,
            kept_from,
            buffer: Vec::new(),
            followers: broadcast::channel(BEHIND_RECORDS).0,
            syncing: None,
        })
    }

    /// Whoever wants to hear of what is written.
    pub(super) fn followers(&self) -> broadcast::WeakSender<Arc<str>> {
        self.followers.downgrade()
    }

    /// To the end of the journal, or until it cannot be written.
    pub(super) fn run(mut self, queue: &Queue, death: &OnceLock<String>) {
        let reason = match self.pump(queue) {
            Ok(()) => CLOSED.to_owned(),
            Err(error) => {
                tracing::error!(%error, "the journal cannot be written: no more requests are let through");
                error.to_string()
            }
        };
        // What was said first stays; who waits for what is not written any more is told.
        let _ = death.set(reason);
        queue.end();
        queue.take(&mut Batch::default(), Duration::ZERO);
    }

    /// Writes until the end, and signs it.
    fn pump(&mut self, queue: &Queue) -> std::io::Result<()> {
        let mut signed = Instant::now();
        let mut unsigned = false;
        let mut batch = Batch::default();
        loop {
            let wait = if unsigned { HEAD_INTERVAL.saturating_sub(signed.elapsed()) } else { Duration::MAX };
            match queue.take(&mut batch, wait) {
                Call::Write => {
                    self.write(&batch)?;
                    unsigned = true;
                }
                Call::Nothing => {}
                Call::End => return self.last_head(),
            }
            if unsigned && signed.elapsed() >= HEAD_INTERVAL {
                unsigned = !self.try_head()?;
                signed = Instant::now();
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> std::io::Result<()> {
        for (time, body) in batch.records() {
            self.append(time, body)?;
        }
        self.flush()?;
        // A waiter that has gone away needs no answer.
        for done in &batch.syncs {
            let _ = done.try_send(());
        }
        Ok(())
    }

    /// Takes a record into the segment, or into the next where this one is full or old.
    pub(super) fn append(&mut self, time: i64, body: &[u8]) -> std::io::Result<()> {
        let bytes = self.segment.written + self.buffer.len() as u64;
        if self.rotation.is_due(bytes, self.segment.began, time) {
            self.flush()?;
            self.rotate(time)?;
        }
        self.segment.chain.append(time, body, &mut self.buffer);
        Ok(())
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.segment.write(&self.buffer)?;
        self.tell(&self.buffer);
        self.buffer.clear();
        Ok(())
    }

    /// Goes on in another segment. Without a descriptor for it this one takes more than it should; the next record tries again.
    fn rotate(&mut self, now: i64) -> std::io::Result<()> {
        let number = self.segment.number.checked_add(1).ok_or(std::io::ErrorKind::StorageFull)?;
        let next = match self.begin(number, now) {
            Err(error) if is_out_of_descriptors(&error) => return Ok(()),
            begun => begun?,
        };
        // Only now: nothing may follow what is closed.
        self.close_segment()?;
        self.tell(&next.first);
        let before = std::mem::replace(&mut self.segment, next);
        self.synced()?;
        self.syncing = Some(std::thread::Builder::new().name("journal-sync".to_owned()).spawn(move || before.sync())?);
        // Without it the one before counts as the newest, which is no error.
        if let Err(error) = self.segment.sign(&self.key, false).and_then(|head| self.folder.note_latest(&head)) {
            tracing::warn!(%error, "it cannot be noted which segment of the journal is the newest");
        }
        self.folder.remove_before(self.kept_from);
        Ok(())
    }

    fn begin(&mut self, number: u32, now: i64) -> std::io::Result<Segment> {
        let kept = self.folder.first_kept(&self.rotation, number, now)?;
        let kept_from = kept.map_or(self.kept_from, |kept| kept.max(self.kept_from));
        let (session, end) = (self.segment.chain.session().to_owned(), self.segment.end());
        let follows = Follows { session, end, kept_from };
        let next = Segment::begin(&self.folder, (&self.source, number), Some(&follows), &self.key, now)?;
        self.kept_from = kept_from;
        Ok(next)
    }

    /// Waits for the segment before to be on the disk.
    fn synced(&mut self) -> std::io::Result<()> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        syncing.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that syncs panicked")))
    }

    /// Tells those who follow what was written.
    fn tell(&self, lines: &[u8]) {
        if self.followers.receiver_count() == 0 {
            return;
        }
        for line in String::from_utf8_lossy(lines).lines() {
            // The last one may have gone meanwhile.
            let _ = self.followers.send(line.into());
        }
    }

    /// Signs, unless the process is out of descriptors: then the next try will do, the records themselves are written.
    fn try_head(&mut self) -> std::io::Result<bool> {
        match self.segment.sign(&self.key, false) {
            Ok(_) => Ok(true),
            Err(error) if is_out_of_descriptors(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Signs the end of the journal, when all of it is on the disk.
    fn last_head(&mut self) -> std::io::Result<()> {
        self.synced()?;
        self.segment.file.sync_all()?;
        self.close_segment()?;
        self.segment.sync()
    }

    /// Signs that nothing follows. Connections that are being closed give their descriptors back meanwhile.
    fn close_segment(&mut self) -> std::io::Result<()> {
        let deadline = Instant::now() + LAST_HEAD_PATIENCE;
        loop {
            match self.segment.sign(&self.key, true) {
                Err(error) if is_out_of_descriptors(&error) && Instant::now() < deadline => {
                    std::thread::park_timeout(HEAD_INTERVAL);
                }
                done => return done.map(drop),
            }
        }
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::super::queue::now;
    use super::*;
    use tollgate_audit::Event;

    #[test]
    fn o6_a_full_disk_ends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full")).expect("linked");
        let key = SigningKey::from_seed(&[1; 32]).expect("32 bytes");
        let folder = JournalFolder::new(folder.path());
        let mut writer = Writer::open(folder.clone(), "s", Rotation::default(), key, now()).expect("opened");
        writer.segment.file = OpenOptions::new().append(true).open(folder.path().join("full")).expect("opened");
        let queue = Queue::default();
        queue.push(&Event::Close { reason: "" }).expect("there is room");
        let error = writer.pump(&queue).expect_err("no space");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
