//! The processes of the sandbox, read through its own `/proc`.
//!
//! A [`Process`] is an open directory of `/proc/<pid>`. It stands for that one process: when it ends, reads fail, and a
//! later process with the same number is never mistaken for it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use tollgate_model::Unidentified;

/// All processes of one sandbox.
#[derive(Debug)]
pub(super) struct Processes {
    root: OwnedFd,
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
        Self { root }
    }

    /// Every process that has the socket open.
    pub(super) fn holders(&self, inode: u64) -> Result<Vec<Process>, Unidentified> {
        let mut holders = Vec::new();
        for pid in numbers(&self.root)?.into_iter().filter(|pid| *pid != INIT) {
            match self.open(pid) {
                Ok(process) if process.holds(inode)? => holders.push(process),
                Ok(_) | Err(Unidentified::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        if holders.is_empty() { Err(Unidentified::Gone) } else { Ok(holders) }
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

    /// True when one of its descriptors is the socket.
    ///
    /// A process that hides its descriptors (it runs a file that its user may not read) may hold any socket, so it makes
    /// every caller unknown: otherwise it could use a connection in the name of a program that shares it.
    ///
    /// Every thread is asked, since threads need not share their descriptors.
    pub(super) fn holds(&self, inode: u64) -> Result<bool, Unidentified> {
        let Some(tasks) = open_folder(&self.folder, "task")? else { return Ok(false) };
        for task in numbers(&tasks).unwrap_or_default() {
            let descriptors = open_folder(&tasks, &format!("{task}/fd"))?;
            if descriptors.is_some_and(|descriptors| leads_to(&descriptors, inode)) {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// `ppid` of `/proc/<pid>/stat` (proc_pid_stat(5)); 0 for a process whose parent is outside.
    fn parent(&self) -> Result<u32, Unidentified> {
        let stat = self.read("stat")?;
        // The name stands in parentheses and may hold anything, parentheses included.
        let after_name = stat.rfind(')').map(|at| &stat[at + 1..]).ok_or(Unidentified::Unreadable)?;
        let ppid = after_name.split_ascii_whitespace().nth(1).ok_or(Unidentified::Unreadable)?;
        ppid.parse().map_err(|_| Unidentified::Unreadable)
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

/// True when one of these descriptors is the socket.
fn leads_to(descriptors: &OwnedFd, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    // A process that ends while it is listed holds nothing.
    numbers(descriptors).unwrap_or_default().iter().any(|number| {
        readlinkat(descriptors, number.to_string().as_str()).is_ok_and(|target| target.as_bytes() == wanted.as_bytes())
    })
}

/// The entries of a directory that are numbers: processes, descriptors.
fn numbers(folder: &impl AsFd) -> Result<Vec<u32>, Unidentified> {
    let unreadable = |_| Unidentified::Unreadable;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(folder.as_fd(), ".", flags, Mode::empty()).map_err(unreadable)?;
    let mut numbers = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(unreadable)?;
        if let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}
