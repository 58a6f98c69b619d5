//! The journal's writer: a thread of its own behind a bounded queue.
//!
//! Callers only queue. While the queue is full nothing new is let through; how things ended has room of its own behind that.
//! When that is used up as well, or the disk does not take the bytes, the journal ends, and with it the traffic:
//! [`Journal::record`] fails from then on, and nothing is forwarded whose decision is not recorded.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use tollgate_audit::{Chain, Event, SigningKey};

use crate::tally::Tally;

/// Takes records for one session.
#[derive(Debug)]
pub struct Journal {
    queue: SyncSender<Message>,
    /// Records in the queue.
    waiting: Arc<AtomicUsize>,
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

enum Message {
    Record {
        time: i64,
        body: Vec<u8>,
    },
    Sync(SyncSender<()>),
    /// The last message: sign the end.
    End,
}

/// Records that may wait for the disk: at 500 bytes each about 4 MiB.
const QUEUE_RECORDS: usize = 8192;

/// Records of ends that may wait behind them: as many as connections and streams that end at once.
const QUEUE_ENDS: usize = 8192;

/// Records that one who follows may be behind before some are left out for them.
const BEHIND_RECORDS: usize = 4096;

/// Records written with one system call.
const BATCH_RECORDS: usize = 256;

/// How long a record waits for others to be written with it: whoever records meanwhile need not wake the writer.
const GATHERING: Duration = Duration::from_millis(5);

/// How old the signed head may be while records come in: this much of a journal's end is unsigned after a crash.
const HEAD_INTERVAL: Duration = Duration::from_millis(200);

/// How long the end of a journal waits for a descriptor.
const LAST_HEAD_PATIENCE: Duration = Duration::from_secs(5);

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
        let waiting = Arc::new(AtomicUsize::new(0));
        let (chain, taken) = (Chain::new(session), Arc::clone(&waiting));
        let (followers, _) = broadcast::channel(BEHIND_RECORDS);
        let weak = followers.downgrade();
        let mut writer = Writer { file, written: 0, head, key, chain, buffer: Vec::new(), taken, followers };
        writer.write_head(false).map_err(unwritable)?;
        let (queue, receiver) = sync_channel(QUEUE_RECORDS + QUEUE_ENDS);
        let death = Arc::new(OnceLock::new());
        let thread = {
            let death = Arc::clone(&death);
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || writer.run(&receiver, &death))
                .map_err(unwritable)?
        };
        let writer = Mutex::new(Some(thread));
        Ok(Self { queue, waiting, death, writer, path, tally: Tally::default(), followers: weak })
    }

    /// Queues one record, stamped with the time of this call.
    ///
    /// # Errors
    /// When the journal takes no more records; what was to be recorded must then not happen.
    pub fn record(&self, event: &Event<'_>) -> Result<(), JournalError> {
        if let Some(reason) = self.death.get() {
            return Err(JournalError::Dead(reason.clone()));
        }
        let room = if event.is_an_end() { QUEUE_RECORDS + QUEUE_ENDS } else { QUEUE_RECORDS };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(self.overflow(event));
        }
        let message = Message::Record { time: now(), body: event.to_body() };
        self.queue.try_send(message).map_err(|_| self.overflow(event))?;
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
        let stopped = || self.death().unwrap_or_else(|| JournalError::Dead("its thread has ended".to_owned()));
        self.queue.send(Message::Sync(done)).map_err(|_| stopped())?;
        self.hurry();
        wait.recv().map_err(|_| stopped())
    }

    /// Has the writer gather no longer.
    fn hurry(&self) {
        if let Some(writer) = &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            writer.thread().unpark();
        }
    }

    /// Writes the last record and signs the end; nothing can be recorded afterwards.
    ///
    /// # Errors
    /// When the journal has failed, now or earlier.
    pub fn close(&self, reason: &str) -> Result<(), JournalError> {
        self.record(&Event::Close { reason })?;
        let stopped = || self.death().unwrap_or_else(|| JournalError::Dead("its thread has ended".to_owned()));
        self.queue.send(Message::End).map_err(|_| stopped())?;
        self.hurry();
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

/// Whether the journal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    More,
    End,
}

/// Why a journal that was closed takes no records.
const CLOSED: &str = "the session has ended";

struct Writer {
    file: File,
    written: u64,
    head: PathBuf,
    key: SigningKey,
    chain: Chain,
    buffer: Vec<u8>,
    /// Records in the queue.
    taken: Arc<AtomicUsize>,
    followers: broadcast::Sender<Arc<str>>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>, death: &OnceLock<String>) {
        let reason = match self.pump(queue) {
            Ok(()) => CLOSED.to_owned(),
            Err(error) => {
                tracing::error!(%error, "the journal cannot be written: no more requests are let through");
                error.to_string()
            }
        };
        // What was said first stays.
        let _ = death.set(reason);
    }

    /// Writes until the end is called, or nobody can call it any more, and signs it.
    fn pump(&mut self, queue: &Receiver<Message>) -> std::io::Result<()> {
        let mut signed = Instant::now();
        let mut unsigned = false;
        loop {
            let wait = if unsigned { HEAD_INTERVAL.saturating_sub(signed.elapsed()) } else { Duration::MAX };
            match receive(queue, wait) {
                Ok(first) => {
                    self.gather(&first);
                    if self.write_batch(first, queue)? == Flow::End {
                        return self.last_head();
                    }
                    unsigned = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.last_head(),
            }
            if unsigned && signed.elapsed() >= HEAD_INTERVAL {
                unsigned = !self.try_head()?;
                signed = Instant::now();
            }
        }
    }

    /// Lets records come together. Nobody waits for a record to be written; whoever waits for a sync calls this off.
    fn gather(&self, first: &Message) {
        if matches!(first, Message::Record { .. }) && self.taken.load(Ordering::Relaxed) < BATCH_RECORDS {
            std::thread::park_timeout(GATHERING);
        }
    }

    fn write_batch(&mut self, first: Message, queue: &Receiver<Message>) -> std::io::Result<Flow> {
        let mut waiting = Vec::new();
        let mut flow = Flow::More;
        let batch = std::iter::once(first).chain(queue.try_iter().take(BATCH_RECORDS));
        for message in batch {
            match message {
                Message::Record { time, body } => {
                    self.taken.fetch_sub(1, Ordering::Relaxed);
                    self.chain.append(time, &body, &mut self.buffer);
                }
                Message::Sync(done) => waiting.push(done),
                Message::End => {
                    flow = Flow::End;
                    break;
                }
            }
        }
        let written = self.file.write_all(&self.buffer);
        if let Err(error) = written {
            // Half a record would make the honest part unverifiable; shortening a file works on a full disk too.
            let _ = self.file.set_len(self.written);
            return Err(error);
        }
        self.written += self.buffer.len() as u64;
        self.tell();
        self.buffer.clear();
        // A waiter that has gone away needs no answer.
        for done in waiting {
            let _ = done.try_send(());
        }
        Ok(flow)
    }

    /// Tells those who follow what was written.
    fn tell(&self) {
        if self.followers.receiver_count() == 0 {
            return;
        }
        for line in String::from_utf8_lossy(&self.buffer).lines() {
            // The last one may have gone meanwhile.
            let _ = self.followers.send(line.into());
        }
    }

    /// Signs, unless the process is out of descriptors: then the next try will do, the records themselves are written.
    fn try_head(&mut self) -> std::io::Result<bool> {
        match self.write_head(false) {
            Ok(()) => Ok(true),
            Err(error) if is_out_of_descriptors(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Signs the end. Connections that are being closed give their descriptors back meanwhile.
    fn last_head(&mut self) -> std::io::Result<()> {
        let deadline = Instant::now() + LAST_HEAD_PATIENCE;
        loop {
            match self.write_head(true) {
                Err(error) if is_out_of_descriptors(&error) && Instant::now() < deadline => {
                    std::thread::park_timeout(HEAD_INTERVAL);
                }
                done => return done,
            }
        }
    }

    fn write_head(&mut self, closed: bool) -> std::io::Result<()> {
        let text = self.key.sign(&self.chain, closed).to_text();
        let draft = self.head.with_extension("head.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(&draft)?;
        file.write_all(text.as_bytes())?;
        if closed {
            self.file.sync_all()?;
            file.sync_all()?;
        }
        std::fs::rename(&draft, &self.head)
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

/// `recv_timeout` that can wait for ever.
fn receive(queue: &Receiver<Message>, wait: Duration) -> Result<Message, RecvTimeoutError> {
    if wait == Duration::MAX {
        return queue.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    queue.recv_timeout(wait)
}

fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(PRIVATE).open(path)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Only the owner reads what an agent did.
const PRIVATE: u32 = 0o600;

#[cfg(test)]
mod tests {
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
        let (queue, _unread) = sync_channel(QUEUE_RECORDS + QUEUE_ENDS);
        let (waiting, death) = (Arc::default(), Arc::default());
        let followers = broadcast::channel(1).0.downgrade();
        let (writer, tally) = (Mutex::default(), Tally::default());
        let journal = Journal { queue, waiting, death, writer, path: PathBuf::new(), tally, followers };
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

    #[test]
    fn o6_a_full_disk_ends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full")).expect("linked");
        let key = SigningKey::from_seed(&[1; 32]).expect("32 bytes");
        let mut writer = Writer {
            file: OpenOptions::new().append(true).open(folder.path().join("full")).expect("opened"),
            written: 0,
            head: folder.path().join("head"),
            key,
            chain: Chain::new("s"),
            buffer: Vec::new(),
            followers: broadcast::channel(1).0,
            taken: Arc::new(AtomicUsize::new(1)),
        };
        let (queue, receiver) = sync_channel(8);
        let record = Message::Record { time: 0, body: Event::Close { reason: "" }.to_body() };
        queue.send(record).expect("queued");
        let error = writer.pump(&receiver).expect_err("no space");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
