//! The folder of one sandbox: its files, and whose it is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tollgate_proxy::JournalFolder;

use super::{PRIVATE_FOLDER, state};
use crate::failure::{Failure, Kind};

/// The folder of one sandbox, or of one stand-alone proxy.
#[derive(Debug, Clone)]
pub struct SandboxFolder {
    /// `sandboxes/NAME` or `proxies/NAME`.
    pub path: PathBuf,
    /// Its name, an RFC 1123 label.
    pub name: String,
}

/// The folder of a sandbox, held by one process until it ends or drops this: no other runs, makes or removes that sandbox.
#[derive(Debug)]
pub struct Claim {
    /// The folder.
    pub folder: SandboxFolder,
    /// Locked as a whole (fcntl_locking(2), open file description locks).
    lock: File,
}

impl SandboxFolder {
    /// The operator API's socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Where programs beside the agent are asked for.
    pub fn visitors_socket(&self) -> PathBuf {
        self.path.join("exec.sock")
    }

    /// What a sandbox that stays was created by.
    pub fn definition(&self) -> PathBuf {
        self.path.join("sandbox.json")
    }

    /// How a sandbox that stays has ended.
    pub fn end(&self) -> PathBuf {
        self.path.join("ended.json")
    }

    /// What the agent of a sandbox that stays has printed.
    pub fn log(&self) -> PathBuf {
        self.path.join("agent.log")
    }

    /// True while a process holds it.
    pub fn is_held(&self) -> bool {
        let Ok(lock) = File::open(self.path.join(LOCK)) else { return false };
        let mut asked = whole(libc::F_WRLCK);
        // Asking does not take it, so it disturbs nobody.
        fcntl(&lock, FcntlArg::F_OFD_GETLK(&mut asked)).is_ok() && asked.l_type != TYPE_FREE
    }

    /// Waits until nobody holds it.
    ///
    /// # Errors
    /// When it takes longer.
    pub(super) fn wait(&self, patience: Duration) -> Result<(), Failure> {
        let name = &self.name;
        let failed = |e: std::io::Error| state(format!("the end of the sandbox {name} cannot be waited for: {e}"));
        let lock = self.open_lock().map_err(failed)?;
        let (done, ended) = channel();
        let wait = move || {
            let locked = fcntl(&lock, FcntlArg::F_OFD_SETLKW(&whole(libc::F_WRLCK)));
            // It is for others to take from here on.
            drop(lock);
            // Nobody is there to hear it after the patience.
            let _ = done.send(locked);
        };
        // The kernel has no bound for this wait; the thread ends with this process.
        thread::Builder::new().spawn(wait).map_err(failed)?;
        let late = |_| Failure::new(Kind::TimedOut, format!("the sandbox {name} has not ended in time"));
        ended.recv_timeout(patience).map(drop).map_err(late)
    }

    fn open_lock(&self) -> std::io::Result<File> {
        let mut how = OpenOptions::new();
        how.write(true).create(true).truncate(false).mode(0o600).open(self.path.join(LOCK))
    }

    /// Locks it; nothing where it was removed meanwhile.
    pub(super) fn claim(self) -> Result<Option<Claim>, Failure> {
        let unusable = |e: &dyn std::fmt::Display| state(format!("{} cannot be locked: {e}", self.path.display()));
        let lock = match self.open_lock() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| unusable(&e))?,
        };
        match fcntl(&lock, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))) {
            Ok(_) => Ok(Some(Claim { folder: self, lock })),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {
                let name = &self.name;
                Err(Failure::new(
                    Kind::Other,
                    format!("the sandbox {name} exists and runs; `tollgate sandbox get {name}` shows it"),
                ))
            }
            Err(e) => Err(unusable(&e)),
        }
    }

    /// The folder of policy revisions, made when it is missing.
    pub fn revisions(&self) -> Result<PathBuf, Failure> {
        let path = self.path.join("revisions");
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(&path);
        made.map_err(|e| state(format!("the folder {} cannot be made: {e}", path.display())))?;
        Ok(path)
    }

    /// The journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The journal's segments.
    pub fn segments(&self) -> JournalFolder {
        JournalFolder::new(&self.journal())
    }
}

impl Claim {
    /// True where the lock is on the file that others will look at.
    pub(super) fn stands(&self) -> bool {
        let there = std::fs::metadata(self.folder.path.join(LOCK));
        let ours = self.lock.metadata();
        there.ok().zip(ours.ok()).is_some_and(|(there, ours)| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    }

    /// Removes the folder with all that is in it.
    pub fn remove(self) -> Result<(), Failure> {
        let path = &self.folder.path;
        std::fs::remove_dir_all(path).map_err(|e| state(format!("{} cannot be removed: {e}", path.display())))
    }
}

/// A lock of a whole file.
fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

const LOCK: &str = "lock";
/// What asking for a lock says where nobody holds one.
const TYPE_FREE: libc::c_short = libc::F_UNLCK as libc::c_short;
