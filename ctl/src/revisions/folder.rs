//! Revisions on disk: one file each, `000007.json`, with what is known of it and its text.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tollgate_audit::digest::{hex, sha256};

use super::Entry;
use crate::home::{write_private, write_private_anew};

/// The folder of one sandbox's revisions.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Why a revision cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system's reason.
    #[error("the policy revision {path} cannot be {verb}: {error}", path = path.display())]
    Io { path: PathBuf, verb: &'static str, error: io::Error },
    /// It is not what was written.
    #[error("the policy revision {path} is damaged: {detail}", path = path.display())]
    Damaged { path: PathBuf, detail: String },
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Kept<E> {
    revision: E,
    /// Of `text`, so that a damaged file is told from a policy.
    text_sha256: String,
    text: String,
}

impl Folder {
    /// A folder that exists.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What is known of all revisions, the highest number that any file has, and the files that are damaged.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn entries(&self) -> Result<(Vec<Entry>, u64, Vec<FolderError>), FolderError> {
        let unreadable = |error| FolderError::Io { path: self.0.clone(), verb: "read", error };
        let (mut entries, mut last, mut damaged) = (Vec::new(), 0, Vec::new());
        for file in std::fs::read_dir(&self.0).map_err(unreadable)? {
            let name = file.map_err(unreadable)?.file_name();
            // Drafts of a write that was interrupted end in `.new`, and the next write of that number replaces them.
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            last = last.max(number);
            match self.kept(number) {
                Ok(kept) => entries.push(kept.revision),
                Err(error) => damaged.push(error),
            }
        }
        Ok((entries, last, damaged))
    }

    /// Writes a revision: all of it, and on the disk when this returns. What is left of one where the machine stopped before is
    /// known by its hash.
    pub fn write(&self, entry: &Entry, text: &str) -> Result<(), FolderError> {
        let path = self.path(entry.number);
        let write = if path.exists() { write_private } else { write_private_anew };
        let kept = Kept { revision: entry, text_sha256: hex(&sha256(text.as_bytes())), text: text.to_owned() };
        serde_json::to_vec_pretty(&kept)
            .map_err(io::Error::from)
            .and_then(|bytes| write(&path, &bytes))
            .map_err(|error| FolderError::Io { path, verb: "written", error })
    }

    /// The text of a revision.
    pub fn text(&self, number: u64) -> Result<String, FolderError> {
        self.kept(number).map(|kept| kept.text)
    }

    /// Forgets a revision.
    pub fn remove(&self, number: u64) -> Result<(), FolderError> {
        let path = self.path(number);
        std::fs::remove_file(&path).map_err(|error| FolderError::Io { path, verb: "removed", error })
    }

    fn kept(&self, number: u64) -> Result<Kept<Entry>, FolderError> {
        let path = self.path(number);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Err(FolderError::Io { path, verb: "read", error }),
        };
        let kept: Kept<Entry> = match serde_json::from_slice(&bytes) {
            Ok(kept) => kept,
            Err(error) => return Err(FolderError::Damaged { path, detail: error.to_string() }),
        };
        let is_whole = kept.revision.number == number && kept.text_sha256 == hex(&sha256(kept.text.as_bytes()));
        match is_whole {
            true => Ok(kept),
            false => Err(FolderError::Damaged { path, detail: "its hash does not fit its text".to_owned() }),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:06}{SUFFIX}"))
    }
}

const SUFFIX: &str = ".json";
