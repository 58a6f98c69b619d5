//! Every policy that was accepted for a sandbox: which are kept, which is in force, what a writer may replace.
//!
//! `History` decides and does no IO; `Archive` keeps what it decided on disk. A revision is written whole before it comes
//! into force, so that whatever stops the machine, each one on disk is a policy that was accepted.

mod archive;
pub mod fixed;
mod folder;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tollgate_wire::policy::{LoadStatus, Origin, Revision};

pub use archive::{Archive, now_ms};
use folder::Folder;
pub use folder::FolderError;

/// Older revisions are forgotten; a sandbox's worth of edits, and at most this many times the size of a policy on disk.
pub const MAX_REVISIONS: usize = 100;

/// What is known of a revision beside its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub number: u64,
    /// Of the canonical text with what providers bring, as status and journal name it.
    pub sha256: String,
    pub origin: Origin,
    /// The revision that a rollback went back to.
    pub restores: Option<u64>,
    pub author_uid: u32,
    pub created_at_ms: u64,
    /// Nothing until it is in force.
    pub loaded_at_ms: Option<u64>,
}

/// The revisions of one sandbox, oldest first.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
    /// The highest number that was ever given, also to revisions that are forgotten or cannot be read.
    last: u64,
    /// The one in force.
    active: Option<u64>,
}

/// What accepting a policy amounts to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The newest revision says the same; this is its number.
    Unchanged(u64),
    /// It becomes the revision of this number.
    New(u64),
}

/// Another policy is in force than the writer has seen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "revision {active} ({}) is in force and not {expected}; nothing changed: look at it with `policy get` and try again",
    sha256.get(..12).unwrap_or_default()
)]
pub struct Conflict {
    pub expected: String,
    pub active: u64,
    pub sha256: String,
}

impl History {
    /// What was found on disk: entries in any order, and the highest number that any file has.
    pub fn new(mut entries: Vec<Entry>, last: u64) -> Self {
        entries.sort_by_key(|entry| entry.number);
        Self { entries, last, active: None }
    }

    /// Says what a policy would be. With `expected`, the beginning of a hash, only if that one is in force.
    pub fn plan(&self, sha256: &str, expected: Option<&str>) -> Result<Step, Conflict> {
        let active = self.entries.iter().find(|entry| Some(entry.number) == self.active);
        if let (Some(active), Some(expected)) = (active, expected)
            && !active.sha256.starts_with(expected)
        {
            let (number, sha256) = (active.number, active.sha256.clone());
            return Err(Conflict { expected: expected.to_owned(), active: number, sha256 });
        }
        Ok(match self.entries.last().filter(|newest| newest.sha256 == sha256) {
            Some(newest) => Step::Unchanged(newest.number),
            None => Step::New(self.last + 1),
        })
    }

    /// Puts a new revision in force and gives the numbers of those that are forgotten for it.
    pub fn add(&mut self, entry: Entry) -> Vec<u64> {
        self.last = self.last.max(entry.number);
        self.active = Some(entry.number);
        self.entries.push(entry);
        let surplus = self.entries.len().saturating_sub(MAX_REVISIONS);
        self.entries.drain(..surplus).map(|forgotten| forgotten.number).collect()
    }

    /// The newest revision is in force, as at a start with the policy that was in force before.
    pub fn resume(&mut self, now_ms: u64) -> Option<&Entry> {
        let newest = self.entries.last_mut()?;
        newest.loaded_at_ms.get_or_insert(now_ms);
        self.active = Some(newest.number);
        Some(newest)
    }

    /// The number of the one in force.
    pub fn active(&self) -> Option<u64> {
        self.active
    }

    /// One revision.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// All that are kept, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    /// How an entry is shown.
    pub fn describe(&self, entry: &Entry) -> Revision {
        let status = match entry.loaded_at_ms {
            _ if self.active == Some(entry.number) => LoadStatus::Loaded,
            Some(_) => LoadStatus::Superseded,
            None => LoadStatus::Failed,
        };
        let error = (status == LoadStatus::Failed).then(|| NEVER_LOADED.to_owned());
        Revision {
            number: entry.number,
            sha256: entry.sha256.clone(),
            status,
            origin: entry.origin,
            restores: entry.restores,
            author_uid: entry.author_uid,
            created_at_ms: entry.created_at_ms,
            loaded_at_ms: entry.loaded_at_ms,
            error,
        }
    }
}

const NEVER_LOADED: &str = "the sandbox ended before it was in force";
