//! The thread that writes: batches of records, and the signed head behind them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tollgate_audit::{Chain, SigningKey};

use super::CLOSED;
use super::queue::{Batch, Call, Queue};

/// How old the signed head may be while records come in: this much of a journal's end is unsigned after a crash.
const HEAD_INTERVAL: Duration = Duration::from_millis(200);

/// How long the end of a journal waits for a descriptor.
const LAST_HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// A journal's files, and what comes to be in them.
pub(super) struct Writer {
    pub(super) file: File,
    pub(super) written: u64,
    pub(super) head: PathBuf,
    pub(super) key: SigningKey,
    pub(super) chain: Chain,
    pub(super) buffer: Vec<u8>,
    pub(super) followers: broadcast::Sender<Arc<str>>,
}

impl Writer {
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
            self.chain.append(time, body, &mut self.buffer);
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
        for done in &batch.syncs {
            let _ = done.try_send(());
        }
        Ok(())
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

    pub(super) fn write_head(&mut self, closed: bool) -> std::io::Result<()> {
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

pub(super) fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(PRIVATE).open(path)
}

/// Only the owner reads what an agent did.
const PRIVATE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_audit::Event;

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
        };
        let queue = Queue::default();
        queue.push(&Event::Close { reason: "" }).expect("there is room");
        let error = writer.pump(&queue).expect_err("no space");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
