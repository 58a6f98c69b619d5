//! The processes of the sandbox, read through its own `/proc`.
//!
//! A [`Process`] is an open directory of `/proc/<pid>`. It stands for that one process: when it ends, reads fail, and a
//! later process with the same number is never mistaken for it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use rustix::fs::{RawDir, readlinkat_raw};
use tollgate_model::Unidentified;

use super::quiet::{Look, Quiet};

/// All processes of one sandbox.
#[derive(Debug)]
pub(super) struct Processes {
    root: OwnedFd,
    quiet: Quiet,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    folder: OwnedFd,
    pid: u32,
}

/// Deeper trees are refused: the limit of processes in a sandbox makes them impossible anyway.
const MAX_ANCESTORS: usize = 64;

/// The sandbox's first process is the supervisor's own.
const INIT: u32 = 1;

impl Processes {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, quiet: Quiet::default() }
    }

    /// Every process that has the socket open.
    pub(super) fn holders(&self, inode: u64) -> Result<Vec<Process>, Unidentified> {
        let mut holders = Vec::new();
        // Opened anew: a folder is listed from where its last reader stopped.
        let root = open_folder(&self.root, ".")?.ok_or(Unidentified::Unreadable)?;
        let pids = numbers(&root)?;
        for pid in pids.iter().copied().filter(|pid| *pid != INIT) {
            if self.quiet.holds(pid, inode) == Some(false) {
                continue;
            }
            match self.open(pid).and_then(|process| Ok((self.look(&process)?.contains(&inode), process))) {
                Ok((true, process)) => holders.push(process),
                Ok((false, _)) | Err(Unidentified::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        self.quiet.keep(&pids);
        if holders.is_empty() { Err(Unidentified::Gone) } else { Ok(holders) }
    }

    fn look(&self, process: &Process) -> Result<Vec<u64>, Unidentified> {
        let look = Look::begin(process);
        let sockets = process.sockets()?;
        self.quiet.remember(process.pid, look, &sockets);
        Ok(sockets)
    }

    /// Parent first, the supervisor's process left out.
    pub(super) fn ancestors(&self, process: &Process) -> Result<Vec<Process>, Unidentified> {
        let mut ancestors = Vec::new();
        let mut parent = process.parent()?;
        while parent > INIT {
            if ancestors.len() == MAX_ANCESTORS {
                return Err(Unidentified::Unreadable);
            }
            let ancestor = self.open(parent)?;
            parent = ancestor.parent()?;
            ancestors.push(ancestor);
        }
        Ok(ancestors)
    }

    fn open(&self, pid: u32) -> Result<Process, Unidentified> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat(&self.root, pid.to_string().as_str(), flags, Mode::empty());
        let folder = folder.map_err(|error| match error {
            Errno::ENOENT | Errno::ESRCH => Unidentified::Gone,
            _ => Unidentified::Unreadable,
        })?;
        Ok(Process { folder, pid })
    }
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The inodes of the sockets among its descriptors.
    ///
    /// A process that hides its descriptors (it runs a file that its user may not read) may hold any socket, so it makes
    /// every caller unknown: otherwise it could use a connection in the name of a program that shares it.
    ///
    /// Every thread is asked, since threads need not share their descriptors.
    pub(super) fn sockets(&self) -> Result<Vec<u64>, Unidentified> {
        let mut sockets = Vec::new();
        let Some(tasks) = open_folder(&self.folder, "task")? else { return Ok(sockets) };
        for task in numbers(&tasks).unwrap_or_default() {
            if let Some(descriptors) = open_folder(&tasks, &format!("{task}/fd"))? {
                // A process that ends while it is listed holds nothing.
                let numbers = numbers(&descriptors).unwrap_or_default();
                sockets.extend(numbers.iter().filter_map(|number| socket(&descriptors, *number)));
            }
        }
        Ok(sockets)
    }

    /// What the kernel counts of its runs (proc_pid_schedstat); nothing where it does not.
    pub(super) fn schedstat(&self) -> Option<OwnedFd> {
        openat(&self.folder, "schedstat", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }

    /// True when it has one thread, and that waits for something.
    pub(super) fn sleeps_alone(&self) -> bool {
        const THREADS: usize = 17;
        let Ok(fields) = self.stat() else { return false };
        let mut fields = fields.split_ascii_whitespace();
        let sleeps = fields.next().is_some_and(|state| matches!(state, "S" | "D"));
        sleeps && fields.nth(THREADS - 1) == Some("1")
    }

    /// The path of its executable as the sandbox sees it.
    pub(super) fn executable(&self) -> Result<String, Unidentified> {
        let path = readlinkat(&self.folder, "exe").map_err(|_| Unidentified::Unreadable)?;
        let path = path.into_string().map_err(|_| Unidentified::Unreadable)?;
        // The kernel marks a file without a name so; a path that truly ends like this is refused with them.
        if !path.starts_with('/') || path.ends_with(" (deleted)") || path.starts_with("/memfd:") {
            return Err(Unidentified::Deleted);
        }
        Ok(path)
    }

    /// The running file itself, whatever its name now leads to.
    pub(super) fn open_executable(&self) -> Result<OwnedFd, Unidentified> {
        openat(&self.folder, "exe", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|_| Unidentified::Unreadable)
    }

    /// Its parent; 0 for a process whose parent is outside.
    fn parent(&self) -> Result<u32, Unidentified> {
        let ppid = self.stat()?.split_ascii_whitespace().nth(1).and_then(|ppid| ppid.parse().ok());
        ppid.ok_or(Unidentified::Unreadable)
    }

    /// What stands behind the name in `/proc/<pid>/stat` (proc_pid_stat(5)): state, parent, and so on.
    fn stat(&self) -> Result<String, Unidentified> {
        let stat = self.read("stat")?;
        // The name stands in parentheses and may hold anything, parentheses included.
        stat.rfind(')').map(|at| stat[at + 1..].to_owned()).ok_or(Unidentified::Unreadable)
    }

    fn read(&self, name: &str) -> Result<String, Unidentified> {
        let file = openat(&self.folder, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|_| Unidentified::Gone)?;
        let bytes = std::io::read_to_string(std::fs::File::from(file)).map_err(|_| Unidentified::Gone)?;
        Ok(bytes)
    }
}

/// A folder of `/proc`; nothing when its process has ended.
fn open_folder(at: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Unidentified> {
    match openat(at, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(_) => Err(Unidentified::Unreadable),
    }
}

/// The inode of a descriptor that is a socket.
fn socket(descriptors: &OwnedFd, number: u32) -> Option<u64> {
    // Links that are longer are cut off, and are no sockets.
    let mut target = [MaybeUninit::uninit(); 32];
    let (target, _) = readlinkat_raw(descriptors, number.to_string(), &mut target[..]).ok()?;
    let inode = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// The entries of a directory that are numbers: processes, descriptors. To be asked once for each time that it is opened.
fn numbers(folder: &OwnedFd) -> Result<Vec<u32>, Unidentified> {
    let mut numbers = Vec::new();
    let mut entries = [MaybeUninit::uninit(); LISTED_BYTES];
    let mut entries = RawDir::new(folder.as_fd(), &mut entries);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|_| Unidentified::Unreadable)?;
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// What is listed at a time: some three hundred entries.
const LISTED_BYTES: usize = 8 * 1024;
