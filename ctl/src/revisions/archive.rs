//! The revisions of one sandbox, in memory and on disk.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_wire::policy::Origin;

use super::{Entry, Folder, FolderError, History, Step};

/// A history and the folder that it is kept in.
#[derive(Debug)]
pub struct Archive {
    history: History,
    folder: Folder,
    /// Notes that the last one came into force.
    noting: Option<JoinHandle<()>>,
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.noted();
    }
}

impl Archive {
    /// Takes up what a folder holds, and gives the files of it that are damaged.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn open(folder: PathBuf) -> Result<(Self, Vec<FolderError>), FolderError> {
        let folder = Folder::new(folder);
        let (entries, last, damaged) = folder.entries()?;
        Ok((Self { history: History::new(entries, last), folder, noting: None }, damaged))
    }

    /// What is kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The text of a revision; nothing where it is not kept.
    pub fn text(&self, number: u64) -> Result<Option<String>, FolderError> {
        self.history.get(number).map(|_| self.folder.text(number)).transpose()
    }

    /// The policy that a sandbox starts with, read from its file: the newest revision where that says the same, else a new one.
    pub fn begin(&mut self, text: &str, sha256: &str, author_uid: u32) -> Result<(), FolderError> {
        let now = now_ms();
        // Without an expectation there is no conflict.
        if let Ok(Step::New(number)) = self.history.plan(sha256, None) {
            let sha256 = sha256.to_owned();
            let (origin, created_at_ms, loaded_at_ms) = (Origin::File, now, Some(now));
            let entry = Entry { number, sha256, origin, restores: None, author_uid, created_at_ms, loaded_at_ms };
            self.folder.write(&entry, text)?;
            self.add(entry);
        } else if let Some(resumed) = self.history.resume(now) {
            self.folder.write(resumed, text)?;
        }
        Ok(())
    }

    /// Writes a revision that is not in force yet.
    pub fn keep(&self, entry: &Entry, text: &str) -> Result<(), FolderError> {
        self.folder.write(entry, text)
    }

    /// Notes that a revision that was kept is in force. It is: what cannot be noted of that on disk changes nothing. So whoever
    /// brought it does not wait for the disk once more, nor until what it replaces is let go; the next revision does, and the end.
    pub fn loaded(&mut self, entry: Entry, text: &str, replaced: impl Send + 'static) {
        let entry = Entry { loaded_at_ms: Some(now_ms()), ..entry };
        self.noted();
        let (folder, noted, text) = (self.folder.clone(), entry.clone(), text.to_owned());
        let note = move || {
            folder.write(&noted, &text).unwrap_or_else(|error| not_noted(&error));
            drop(replaced);
        };
        match std::thread::Builder::new().name("revision".to_owned()).spawn(note) {
            Ok(noting) => self.noting = Some(noting),
            Err(error) => not_noted(&error),
        }
        self.add(entry);
    }

    /// Waits until it is noted that the last one came into force.
    pub(super) fn noted(&mut self) {
        if let Some(Err(_)) = self.noting.take().map(JoinHandle::join) {
            not_noted(&"the thread that does it ended");
        }
    }

    fn add(&mut self, entry: Entry) {
        let forgotten = self.history.add(entry);
        for error in forgotten.iter().filter_map(|number| self.folder.remove(*number).err()) {
            tracing::warn!(%error, "an old policy revision stays on disk");
        }
    }
}

fn not_noted(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "that a policy revision came into force could not be noted");
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
