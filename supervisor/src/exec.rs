//! A client's side of a program that runs beside the agent: what `exec` and `connect` are made of.
//!
//! ```text
//! client ── control process (whose user? how many?) ──▶ process 1 ── forks ──▶ program
//!    ╰───────────────── pipes, or a terminal made inside ─────────────────────────╯
//! ```
//!
//! The program never gets a descriptor of the client's own: a folder, a file or a terminal of the host would lead it out.
//! It has pipes, or a terminal of the sandbox's, and the client copies.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tollgate_wire::exec::{Exec, WindowSize};

use crate::error::LaunchError;
use crate::handover::{Answer, Channel, Order, Outcome};
use crate::sys;

/// A program that runs in a sandbox for this client, and ends with it.
#[derive(Debug)]
pub struct Executing {
    /// The connection that it lives by.
    pub visit: Visit,
    /// What is read and written here.
    pub ends: Ends,
}

/// The outer ends of a program's standard streams.
#[derive(Debug)]
pub enum Ends {
    /// Three pipes: what is written into `input`, and read from the others.
    Pipes {
        /// Its standard input.
        input: OwnedFd,
        /// Its standard output.
        output: OwnedFd,
        /// Its standard error.
        error: OwnedFd,
    },
    /// The controlling side of its terminal.
    Terminal(OwnedFd),
}

/// The connection that a program lives by: when it closes, the program is hung up on (signal(7), `SIGHUP`).
#[derive(Debug)]
pub struct Visit(Channel);

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It cannot be started.
    #[error("{0}")]
    Refused(LaunchError),
    /// The sandbox gave no answer.
    #[error("the sandbox gives no answer: {0}")]
    Lost(#[from] Error),
}

/// Starting a program takes a few milliseconds; a machine under full load may take seconds.
const START_TIMEOUT: Duration = Duration::from_secs(40);

impl Executing {
    /// Asks for a program over a connection to the sandbox's socket.
    ///
    /// # Errors
    /// [`ExecError`]; the program has not run.
    pub fn start(connection: UnixStream, exec: &Exec) -> std::result::Result<Self, ExecError> {
        connection.set_read_timeout(Some(START_TIMEOUT))?;
        let channel = Channel::new(connection);
        let order = Order::Admit(Box::new(exec.clone()));
        let pipes = if exec.terminal.is_some() {
            channel.send(&order, &[])?;
            None
        } else {
            let (input, output, error) = (pipe()?, pipe()?, pipe()?);
            channel.send(&order, &[input.0.as_raw_fd(), output.1.as_raw_fd(), error.1.as_raw_fd()])?;
            Some(Ends::Pipes { input: input.1, output: output.0, error: error.0 })
        };
        let (answer, mut descriptors) = channel.receive::<Answer>()?;
        let ends = match (answer, pipes) {
            (Answer::Started, Some(pipes)) => pipes,
            (Answer::Started, None) => Ends::Terminal(descriptors.pop().ok_or_else(senseless)?),
            (Answer::Failed(error), _) => return Err(ExecError::Refused(error)),
            _ => return Err(senseless().into()),
        };
        // From here on the program may take as long as it likes.
        channel.stream().set_read_timeout(None)?;
        Ok(Self { visit: Visit(channel), ends })
    }
}

impl Visit {
    /// Passes a signal on to the program and those of its process group.
    ///
    /// # Errors
    /// When the sandbox has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.0.send(&Order::Signal(signal), &[])
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    /// When the sandbox ended first, and the program with it.
    pub fn wait(&self) -> Result<Outcome> {
        match self.0.receive::<Answer>()?.0 {
            Answer::Ended(outcome) => Ok(outcome),
            _ => Err(senseless()),
        }
    }
}

/// The size of a terminal (ioctl_tty(2), `TIOCGWINSZ`).
///
/// # Errors
/// When it is none.
pub fn window_size(terminal: impl AsFd) -> Result<WindowSize> {
    sys::window_size(terminal.as_fd())
}

/// Gives a terminal another size; its foreground hears of it (`SIGWINCH`).
///
/// # Errors
/// When it is none.
pub fn set_window_size(terminal: impl AsFd, size: WindowSize) -> Result<()> {
    sys::set_window_size(terminal.as_fd(), size)
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

fn senseless() -> Error {
    Error::new(ErrorKind::InvalidData, "it makes no sense here")
}
