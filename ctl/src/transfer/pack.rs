//! A file or folder as a tar stream.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::progress::Progress;

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The other side takes no more.
    #[error("the sandbox takes no more: {0}")]
    Refused(std::io::Error),
}

/// Deeper folders are no work of people.
const MAX_DEPTH: usize = 100;

/// Writes what lies at `path` under the name `name`, and gives the number of files. Links are sent as links; sockets, devices and
/// the like are left out.
///
/// # Errors
/// [`PackError`]; what was written until then is no whole archive.
pub fn pack(path: &Path, name: &OsStr, to: impl Write, progress: &mut Progress) -> Result<u64, PackError> {
    let mut packer = Packer { archive: Builder::new(to), progress, files: 0 };
    packer.add(path, Path::new(name), 0)?;
    packer.archive.finish().map_err(PackError::Refused)?;
    Ok(packer.files)
}

/// Bytes of all files below.
pub fn size(path: &Path) -> u64 {
    let Ok(found) = path.symlink_metadata() else { return 0 };
    if !found.is_dir() {
        return if found.is_file() { found.len() } else { 0 };
    }
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

struct Packer<'a, W: Write> {
    archive: Builder<W>,
    progress: &'a mut Progress,
    files: u64,
}

impl<W: Write> Packer<'_, W> {
    fn add(&mut self, path: &Path, name: &Path, depth: usize) -> Result<(), PackError> {
        let unreadable = |error| PackError::Unreadable { path: path.to_owned(), error };
        let found = path.symlink_metadata().map_err(unreadable)?;
        let mut header = header(&found);
        if found.is_dir() {
            let entries = std::fs::read_dir(path).map_err(unreadable)?;
            if depth >= MAX_DEPTH {
                return Err(unreadable(std::io::Error::other(format!("it is deeper than {MAX_DEPTH} folders"))));
            }
            self.archive.append_data(&mut header, name, std::io::empty()).map_err(PackError::Refused)?;
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                self.add(&entry.path(), &name.join(entry.file_name()), depth + 1)?;
            }
        } else if found.is_symlink() {
            let target = std::fs::read_link(path).map_err(unreadable)?;
            self.archive.append_link(&mut header, name, target).map_err(PackError::Refused)?;
        } else if found.is_file() {
            let file = File::open(path).map_err(unreadable)?;
            let counted = Counted { file: file.take(found.len()), progress: self.progress };
            self.archive.append_data(&mut header, name, counted).map_err(PackError::Refused)?;
            self.files += 1;
        }
        Ok(())
    }
}

fn header(found: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(found);
    // Whose a file is here means nothing inside.
    header.set_uid(0);
    header.set_gid(0);
    if !found.is_file() {
        header.set_size(0);
        header.set_entry_type(if found.is_dir() { EntryType::Directory } else { EntryType::Symlink });
    }
    header
}

/// A file whose bytes are counted. One that became shorter meanwhile ends it: its length has been told.
struct Counted<'a> {
    file: std::io::Take<File>,
    progress: &'a mut Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, part: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(part)?;
        if length == 0 && self.file.limit() > 0 && !part.is_empty() {
            return Err(std::io::Error::other("a file became shorter while it was read"));
        }
        self.progress.add(length as u64);
        Ok(length)
    }
}
