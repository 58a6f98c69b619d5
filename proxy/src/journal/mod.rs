//! The journal's writer: a thread of its own behind a bounded queue.
//!
//! Callers only queue. While the queue is full nothing new is let through; how things ended has room of its own behind that.
//! When that is used up as well, or the disk does not take the bytes, the journal ends, and with it the traffic:
//! [`Journal::record`] fails from then on, and nothing is forwarded whose decision is not recorded.

mod queue;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::broadcast;
use tollgate_audit::{Chain, Event, SigningKey};

use self::queue::{Full, QUEUE_RECORDS, Queue};
use self::writer::{Writer, new_file};
use crate::tally::Tally;

/// Takes records for one session.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    death: Arc<OnceLock<String>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    tally: Tally,
    /// Weak, so that who follows hears of the writer's end.
    followers: broadcast::WeakSender<Arc<str>>,
}

/// The journal cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A file could not be made.
    #[error("the journal {path} cannot be written: {reason}; free space there or set TOLLGATE_HOME to another place")]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It failed earlier and takes no more records.
    #[error("the journal has stopped: {0}")]
    Dead(String),
    /// Records come faster than the disk takes them.
    #[error("the journal's queue of {QUEUE_RECORDS} records is full: the disk does not keep up")]
    Full,
}

/// Records that one who follows may be behind before some are left out for them.
const BEHIND_RECORDS: usize = 4096;

impl Journal {
    /// Starts the journal of a session in two new files of `folder`: `SEGMENT.jsonl` and `SEGMENT.head`.
    ///
    /// # Errors
    /// [`JournalError::Unwritable`] when the files exist already, cannot be made, or the first head cannot be written.
    pub fn create(folder: &Path, segment: &str, session: &str, key: SigningKey) -> Result<Self, JournalError> {
        let path = folder.join(format!("{segment}.jsonl"));
        let unwritable = |e: std::io::Error| JournalError::Unwritable { path: path.clone(), reason: e.to_string() };
        let file = new_file(&path).map_err(unwritable)?;
        let head = folder.join(format!("{segment}.head"));
        let chain = Chain::new(session);
        let (followers, _) = broadcast::channel(BEHIND_RECORDS);
        let weak = followers.downgrade();
        let mut writer = Writer { file, written: 0, head, key, chain, buffer: Vec::new(), followers };
        writer.write_head(false).map_err(unwritable)?;
        let (queue, death) = (Arc::<Queue>::default(), Arc::<OnceLock<_>>::default());
        let thread = {
            let (queue, death) = (Arc::clone(&queue), Arc::clone(&death));
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || writer.run(&queue, &death))
                .map_err(unwritable)?
        };
        let writer = Mutex::new(Some(thread));
        Ok(Self { queue, death, writer, path, tally: Tally::default(), followers: weak })
    }

    /// Queues one record, stamped with the time of this call.
    ///
    /// # Errors
    /// When the journal takes no more records; what was to be recorded must then not happen.
    pub fn record(&self, event: &Event<'_>) -> Result<(), JournalError> {
        if let Some(reason) = self.death.get() {
            return Err(JournalError::Dead(reason.clone()));
        }
        self.queue.push(event).map_err(|Full| self.overflow(event))?;
        self.tally.count(event);
        Ok(())
    }

    /// Whether it still takes records.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self) -> Result<(), JournalError> {
        self.death().map_or(Ok(()), Err)
    }

    /// How often each thing was recorded.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Every record from now on as its line of the file, once it is written; nothing where the journal has ended.
    #[must_use]
    pub fn follow(&self) -> Option<broadcast::Receiver<Arc<str>>> {
        self.followers.upgrade().map(|followers| followers.subscribe())
    }

    /// What happens anew can be refused. What has happened cannot: a journal without it goes no further.
    fn overflow(&self, event: &Event<'_>) -> JournalError {
        if event.is_an_end() {
            let _ = self.death.set("the disk did not keep up, and records were lost".to_owned());
        }
        self.death().unwrap_or(JournalError::Full)
    }

    /// Waits until everything queued so far is in the file.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn sync(&self) -> Result<(), JournalError> {
        let (done, wait) = sync_channel(1);
        self.queue.sync(done);
        wait.recv().map_err(|_| self.death().unwrap_or_else(|| JournalError::Dead("its thread has ended".to_owned())))
    }

    /// Writes the last record and signs the end; nothing can be recorded afterwards.
    ///
    /// # Errors
    /// When the journal has failed, now or earlier.
    pub fn close(&self, reason: &str) -> Result<(), JournalError> {
        self.record(&Event::Close { reason })?;
        self.queue.end();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(JournalError::Dead("its thread panicked".to_owned()));
        }
        match self.death.get() {
            Some(reason) if reason != CLOSED => Err(JournalError::Dead(reason.clone())),
            _ => Ok(()),
        }
    }

    /// The file that the records go to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn death(&self) -> Option<JournalError> {
        self.death.get().cloned().map(JournalError::Dead)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Why a journal that was closed takes no records.
const CLOSED: &str = "the session has ended";

#[cfg(test)]
mod tests {
    use super::queue::QUEUE_ENDS;
    use super::*;
    use tollgate_audit::verify_journal;

    #[test]
    fn what_was_recorded_verifies() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = SigningKey::from_seed(&[1; 32]).expect("32 bytes");
        let public = key.public();
        let journal = Journal::create(folder.path(), "000001", "s/000001", key).expect("created");
        for number in 0..1000 {
            journal.record(&Event::Notice { detail: &number.to_string() }).expect("queued");
        }
        journal.close("done").expect("closed");
        assert_eq!(journal.record(&Event::Notice { detail: "late" }), Err(JournalError::Dead(CLOSED.to_owned())));
        let text = std::fs::read(folder.path().join("000001.jsonl")).expect("written");
        let head = std::fs::read(folder.path().join("000001.head")).expect("written");
        let summary = verify_journal(text.as_slice(), &head, &public).expect("whole");
        assert_eq!((summary.records, summary.closed, summary.beyond_head), (1001, true, 0));
    }

    #[test]
    fn r7_a_journal_is_never_continued_by_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let create = || {
            let key = SigningKey::from_seed(&[1; 32]).expect("32 bytes");
            Journal::create(folder.path(), "000001", "s/000001", key)
        };
        let _first = create().expect("created");
        assert!(matches!(create(), Err(JournalError::Unwritable { .. })));
    }

    #[test]
    fn r6_a_full_queue_refuses_what_is_new_and_loses_no_end() {
        let followers = broadcast::channel(1).0.downgrade();
        let (queue, death, writer, tally) = Default::default();
        let journal = Journal { queue, death, writer, path: PathBuf::new(), tally, followers };
        let (new, end) = (Event::Notice { detail: "" }, Event::Close { reason: "" });
        for _ in 0..QUEUE_RECORDS {
            journal.record(&new).expect("there is room");
        }
        assert_eq!(journal.record(&new), Err(JournalError::Full));
        for _ in 0..QUEUE_ENDS {
            journal.record(&end).expect("there is room for ends");
        }
        assert!(matches!(journal.record(&end), Err(JournalError::Dead(_))), "an end was lost");
        assert!(matches!(journal.record(&new), Err(JournalError::Dead(_))));
    }
}
