//! What is known of processes that have not run since they were looked at.
//!
//! Whose a socket is takes looking at every descriptor of every process, since all holders count. Most processes of a sandbox
//! sleep most of the time, and what sleeps opens and receives nothing. The kernel counts how often a process was given a
//! processor (`/proc/<pid>/schedstat`, its third number): one that slept before it was looked at, and has the same count now,
//! holds what it held then.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use super::process::Process;

/// Sleeping processes and their sockets, by process id.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<HashMap<u32, Sleeper>>);

#[derive(Debug)]
struct Sleeper {
    /// Stands for the process: it cannot be read any more once that has ended.
    schedstat: OwnedFd,
    counts: Counts,
    /// Inodes.
    sockets: Box<[u64]>,
}

/// The text of `schedstat`: nanoseconds run, nanoseconds waited, times run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts([u8; COUNTS_BYTES]);

/// A process that is about to be looked at.
pub(super) struct Look(Option<(OwnedFd, Counts)>);

/// Three numbers of at most twenty digits.
const COUNTS_BYTES: usize = 64;

/// Processes that are remembered: each holds a descriptor. Sandboxes are bounded to 512 processes unless told otherwise.
const MAX_SLEEPERS: usize = 1024;

/// Sockets of one process that are remembered.
const MAX_SOCKETS: usize = 256;

impl Quiet {
    /// Whether the process holds the socket, where that can be said without looking.
    pub(super) fn holds(&self, pid: u32, inode: u64) -> Option<bool> {
        let mut sleepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleeper = sleepers.get(&pid)?;
        if Counts::read(&sleeper.schedstat) == Some(sleeper.counts) {
            return Some(sleeper.sockets.contains(&inode));
        }
        sleepers.remove(&pid);
        None
    }

    /// Remembers what was found, if the process has slept all the while.
    pub(super) fn remember(&self, pid: u32, look: Look, sockets: &[u64]) {
        let Look(Some((schedstat, counts))) = look else { return };
        let mut sleepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sleepers.len() < MAX_SLEEPERS && sockets.len() <= MAX_SOCKETS && Counts::read(&schedstat) == Some(counts) {
            sleepers.insert(pid, Sleeper { schedstat, counts, sockets: sockets.into() });
        }
    }

    /// Forgets those that are not among `pids`, where there are any.
    pub(super) fn keep(&self, pids: &[u32]) {
        let mut sleepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sleepers.len() > pids.len() {
            sleepers.retain(|pid, _| pids.contains(pid));
        }
    }
}

impl Look {
    /// Before the descriptors are looked at. Counts first, then the state: who sleeps now and has not run in between has slept
    /// since the counts.
    pub(super) fn begin(process: &Process) -> Self {
        let look = process.schedstat().and_then(|schedstat| {
            let counts = Counts::read(&schedstat)?;
            process.sleeps_alone().then_some((schedstat, counts))
        });
        Self(look)
    }
}

impl Counts {
    /// Nothing for a process that has ended, and for a kernel that does not count.
    fn read(schedstat: &OwnedFd) -> Option<Self> {
        let mut text = [0; COUNTS_BYTES];
        let read = nix::sys::uio::pread(schedstat, &mut text, 0).ok()?;
        let times_run = text[..read].trim_ascii_end().rsplit(|byte| *byte == b' ').next()?;
        (read < COUNTS_BYTES && !times_run.is_empty() && times_run != b"0").then_some(Self(text))
    }
}
