//! The self-proof: before the agent starts, a canary tries in its place what must fail.
//!
//! The canary is a fork of process 1 when everything is in force: the same namespaces, mounts, user, Landlock domain and
//! system call filter as the agent will have, and no program that could be missing. It makes the attempts of the start-up
//! subset: system calls, files and sockets of the host, and connections that the gate, which serves already, must refuse.
//! What it makes the gate see is in the journal like everything else.

mod calls;
mod gate;
mod hello;
mod host;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use tollgate_wire::cell::{Cell, Control, Feature};
use tollgate_wire::proof::{Attempt, Ending, Proof};

use crate::error::{At, LaunchError};
use crate::sys::{self, Fork};

/// What the canary knows.
pub(crate) struct Canary {
    proof: Proof,
    read_only: Vec<PathBuf>,
    read_write: Vec<PathBuf>,
    /// Features that are missing and allowed to be: what they would have stopped is not tried.
    degraded: Vec<String>,
    /// An abstract socket from before Landlock.
    beyond: Option<Beyond>,
}

/// An abstract socket outside the Landlock domain of everything that comes later.
pub(crate) struct Beyond {
    name: Vec<u8>,
    /// Connections to it are completed by the kernel.
    _listener: UnixListener,
}

/// The whole proof takes a few milliseconds; a machine under full load may take seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// A report is a few kilobytes.
const MAX_REPORT_BYTES: usize = 1 << 20;

impl Beyond {
    /// To be opened before Landlock.
    pub(crate) fn open(cell: &Cell) -> Result<Option<Self>, LaunchError> {
        let Some(proof) = &cell.proof else { return Ok(None) };
        let name = proof.name.clone().into_bytes();
        let listener = host::listen_abstract(&name).at("open the self-proof's socket")?;
        Ok(Some(Self { name, _listener: listener }))
    }
}

impl Canary {
    /// A canary for a sandbox in which these controls stand; `scoped` says whether Landlock holds abstract sockets.
    pub(crate) fn of(cell: &Cell, controls: &[Control], scoped: bool, beyond: Option<Beyond>) -> Option<Self> {
        Some(Self {
            proof: cell.proof.clone()?,
            read_only: cell.files.all_read_only().cloned().collect(),
            read_write: cell.files.all_read_write().cloned().collect(),
            degraded: controls.iter().filter(|c| !c.enforced).map(|c| c.name.clone()).collect(),
            beyond: beyond.filter(|_| scoped),
        })
    }

    /// Sends it in and waits for what it says.
    pub(crate) fn send(&self) -> Result<Vec<Attempt>, LaunchError> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).at("make a pipe")?;
        match sys::fork().at("start the self-proof")? {
            Fork::Child => {
                drop(read);
                self.sing(File::from(write))
            }
            Fork::Parent(child) => {
                drop(write);
                let report = hear(File::from(read), child);
                // It has ended, or was made to.
                let _ = waitpid(child, None);
                let report = report.at("hear the self-proof")?;
                serde_json::from_slice(&report).at("read the self-proof")
            }
        }
    }

    /// Never returns: the attempts, in the canary's own process.
    fn sing(&self, mut to: File) -> ! {
        // Process 1 hides from the gate's identification; the agent, whom the canary stands for, cannot.
        let attempts = match prctl::set_dumpable(true) {
            Ok(()) => self.attempts(),
            Err(error) => vec![surprise("X", "be seen by the gate", "identity", error.desc())],
        };
        let report = serde_json::to_vec(&attempts).unwrap_or_default();
        let done = to.write_all(&report).is_ok();
        std::process::exit(i32::from(!done))
    }

    fn attempts(&self) -> Vec<Attempt> {
        let seccomp = self.in_force(Feature::Seccomp);
        let mut attempts = calls::attempts(seccomp);
        attempts.extend(host::attempts(self));
        attempts.extend(gate::attempts(&self.proof));
        attempts
    }

    fn in_force(&self, feature: Feature) -> bool {
        !self.degraded.iter().any(|name| name == feature.name())
    }
}

/// Reads to the end, within bounds of time and size; ends the canary where it exceeds them.
fn hear(mut from: File, canary: Pid) -> Result<Vec<u8>, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut report = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(|error| error.to_string())?;
        let ready = poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], timeout);
        if ready == Ok(0) || report.len() > MAX_REPORT_BYTES {
            let _ = kill(canary, Signal::SIGKILL);
            return Err(format!("no answer within {} s", PATIENCE.as_secs()));
        }
        let mut part = [0; 8192];
        match from.read(&mut part).map_err(|error| error.to_string())? {
            0 => return Ok(report),
            read => report.extend_from_slice(&part[..read]),
        }
    }
}

fn stopped(row: &str, what: impl Into<String>, control: &str, answer: impl Into<String>) -> Attempt {
    attempt(row, what, control, Ending::Stopped(answer.into()))
}

fn surprise(row: &str, what: impl Into<String>, control: &str, answer: impl Into<String>) -> Attempt {
    attempt(row, what, control, Ending::Surprise(answer.into()))
}

fn left_out(row: &str, what: impl Into<String>, control: &str) -> Attempt {
    attempt(row, what, control, Ending::LeftOut(format!("{control} is not in force")))
}

fn attempt(row: &str, what: impl Into<String>, control: &str, ending: Ending) -> Attempt {
    Attempt { row: row.to_owned(), what: what.into(), control: control.to_owned(), ending }
}
