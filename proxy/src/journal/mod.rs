//! The journal: a queue with a bound, and a thread behind it that writes segments.
//!
//! Callers only queue. While the queue is full nothing new is let through; how things ended has room of its own behind that.
//! When that is used up as well, or the disk does not take the bytes, the journal ends, and with it the traffic:
//! [`Journal::record`] fails from then on, and nothing is forwarded whose decision is not recorded.

mod folder;
mod queue;
mod rotation;
mod segment;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::broadcast;
use tollgate_audit::{Event, SigningKey};

pub use self::folder::JournalFolder;
pub use self::rotation::Rotation;
pub use self::verify::{SegmentError, Told, Verified};

use self::queue::{Full, QUEUE_RECORDS, Queue, now};
use self::writer::Writer;
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

impl Journal {
    /// Begins the next segment of the journal in `folder`. `source` is whose it is: the session of a segment is that and its number.
    ///
    /// # Errors
    /// [`JournalError::Unwritable`] when the segments that are there cannot be read, or the new one cannot be made.
    pub fn open(folder: &Path, source: &str, key: SigningKey, rotation: Rotation) -> Result<Self, JournalError> {
        let unwritable =
            |e: std::io::Error| JournalError::Unwritable { path: folder.to_owned(), reason: e.to_string() };
        let writer = Writer::open(JournalFolder::new(folder), source, rotation, key, now()).map_err(unwritable)?;
        let followers = writer.followers();
        let (queue, death) = (Arc::<Queue>::default(), Arc::<OnceLock<_>>::default());
        let thread = {
            let (queue, death) = (Arc::clone(&queue), Arc::clone(&death));
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || writer.run(&queue, &death))
                .map_err(unwritable)?
        };
        let writer = Mutex::new(Some(thread));
        let (path, tally) = (folder.to_owned(), Tally::default());
        Ok(Self { queue, death, writer, path, tally, followers })
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

    /// The folder of its segments.
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
