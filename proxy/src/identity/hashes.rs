//! Hashes of executables, each file version read once.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::sync::Cache;
use tollgate_model::{Program, Unidentified};

use super::process::Process;

/// SHA-256 by file version.
#[derive(Debug)]
pub(super) struct Hashes(Cache<Version, [u8; 32]>);

/// What changes when a file's content does. The change time cannot be set by the file's owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The largest runtimes have a few hundred megabytes; a sparse file of terabytes must not keep a core busy.
const MAX_EXECUTABLE_BYTES: u64 = 1 << 30;

/// Different executables that one sandbox is likely to run.
const CACHED_FILES: usize = 1024;

impl Default for Hashes {
    fn default() -> Self {
        Self(Cache::new(CACHED_FILES))
    }
}

impl Hashes {
    /// The program that a process runs, from the running file itself.
    pub(super) fn program(&self, process: &Process) -> Result<Program, Unidentified> {
        let path = process.executable()?;
        let mut file = File::from(process.open_executable()?);
        let version = version(&file)?;
        if version.size > MAX_EXECUTABLE_BYTES {
            return Err(Unidentified::Unreadable);
        }
        // One reader for each version: many connections of one large program must not all read it.
        let sha256 = self.0.get_or_insert_with(&version, || {
            let fresh = hash(&mut file)?;
            // A file that changed under our reading has no hash.
            if self::version(&file)? == version { Ok(fresh) } else { Err(Unidentified::Unreadable) }
        })?;
        Ok(Program { path: path.into(), sha256, changed: false })
    }
}

fn version(file: &File) -> Result<Version, Unidentified> {
    let metadata = file.metadata().map_err(|_| Unidentified::Unreadable)?;
    Ok(Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn hash(file: &mut File) -> Result<[u8; 32], Unidentified> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(|_| Unidentified::Unreadable)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    Ok(sha256)
}
