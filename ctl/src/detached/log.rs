//! What the agent of a sandbox in the background prints.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// A file that takes what the agent prints, and one before it.
pub struct Log {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    length: u64,
}

/// A log that is larger becomes the one before, so that at most twice this lies on the disk.
pub const MAX_LOG_BYTES: u64 = 8 << 20;

/// At most this is read at once: what a pipe holds.
const PART_BYTES: usize = 64 << 10;

impl Log {
    /// Goes on with the log of a sandbox, or begins one.
    pub fn create(folder: &SandboxFolder) -> Result<Self, Failure> {
        let path = folder.log();
        let opened = open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) =
            opened.map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", path.display())))?;
        Ok(Self { path, file, length })
    }

    /// The log before, where this one became too large.
    pub fn before(path: &Path) -> PathBuf {
        path.with_extension("log.1")
    }

    /// Writes all that comes out of a pipe, in a thread of its own. What cannot be written is lost: the agent goes on.
    pub fn pump(mut self, pipe: OwnedFd) -> Result<(), Failure> {
        let pump = move || {
            let mut pipe = File::from(pipe);
            let mut part = vec![0; PART_BYTES];
            while let Ok(length @ 1..) = pipe.read(&mut part) {
                if let Err(error) = self.write(&part[..length]) {
                    tracing::warn!(%error, "output of the agent is lost");
                }
            }
        };
        let started = std::thread::Builder::new().name("log".to_owned()).spawn(pump);
        started.map(drop).map_err(|e| Failure::new(Kind::Other, format!("no log can be written: {e}")))
    }

    fn write(&mut self, part: &[u8]) -> std::io::Result<()> {
        if self.length + part.len() as u64 > MAX_LOG_BYTES {
            std::fs::rename(&self.path, Self::before(&self.path))?;
            self.file = open(&self.path)?;
            self.length = 0;
        }
        self.length += part.len() as u64;
        self.file.write_all(part)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = SandboxFolder { path: folder.path().to_owned(), name: "box".to_owned() };
        let mut log = Log::create(&folder).expect("made");
        let part = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            log.write(&part).expect("written");
        }
        log.write(b"last").expect("written");
        let length = |path: &Path| std::fs::metadata(path).expect("there").len();
        assert_eq!(length(&Log::before(&folder.log())), MAX_LOG_BYTES);
        assert_eq!(length(&folder.log()), (4 << 20) + 4);
        assert_eq!(Log::create(&folder).expect("gone on with").length, (4 << 20) + 4);
    }
}
