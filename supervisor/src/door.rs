//! The control process's way to reach what runs in its sandbox: signals, programs beside the agent, sockets of its network.

use std::io::{Error, ErrorKind, Result};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::stat::fstat;
use nix::unistd::{Gid, Uid, fchown};
use tollgate_wire::exec::Exec;

use crate::error::LaunchError;
use crate::handover::{Answer, Channel, Family, Order};

/// Reaches into the sandbox, from any thread.
#[derive(Debug, Clone)]
pub struct Door {
    channel: Arc<Channel>,
    /// User and group of what runs inside, where they are not ours.
    run_as: Option<(u32, u32)>,
}

/// A client that asked for a program and is not inside yet.
#[derive(Debug)]
pub struct Visitor {
    connection: Channel,
    streams: Vec<OwnedFd>,
    /// What it asked for.
    pub exec: Exec,
}

/// Process 1 answers at once, or when it has started a program.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// A client that is alive says at once what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

impl Door {
    pub(crate) fn new(channel: Arc<Channel>, run_as: Option<(u32, u32)>) -> Self {
        Self { channel, run_as }
    }

    /// Passes a signal on to the agent. A sandbox without one ends by `SIGTERM`.
    ///
    /// # Errors
    /// When the sandbox has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.channel.send(&Order::Signal(signal), &[])
    }

    /// Runs what a visitor asked for; process 1 answers it from here on.
    ///
    /// # Errors
    /// When the sandbox has ended.
    pub fn admit(&self, visitor: Visitor) -> Result<()> {
        let Visitor { connection, streams, exec } = visitor;
        if let Some(run_as) = self.run_as {
            streams.iter().try_for_each(|pipe| give(pipe, run_as))?;
        }
        let connection = connection.stream().as_raw_fd();
        let all: Vec<_> = std::iter::once(connection).chain(streams.iter().map(AsRawFd::as_raw_fd)).collect();
        self.channel.send(&Order::Admit(Box::new(exec)), &all)
    }

    /// A TCP socket of the sandbox's network that is not connected yet. Blocks until process 1 has made it.
    ///
    /// # Errors
    /// When the sandbox has ended, or has no descriptor left.
    pub fn socket(&self, family: Family) -> Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        self.channel.send(&Order::Socket(family), &[theirs.as_raw_fd()])?;
        drop(theirs);
        match Channel::new(ours).receive::<Answer>()? {
            (Answer::Socket, mut descriptors) => descriptors.pop().ok_or_else(|| ErrorKind::InvalidData.into()),
            (Answer::Failed(error), _) => Err(Error::other(error.to_string())),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Ends the sandbox and everything in it, at once.
    pub fn slam(&self) {
        // One that has ended needs no end.
        let _ = self.channel.stream().shutdown(Shutdown::Both);
    }
}

/// Gives a pipe to the user of what runs inside, so that `/dev/stdout` and the like can be opened anew there.
///
/// # Errors
/// When it is not ours to give.
pub fn give(pipe: &OwnedFd, (user, group): (u32, u32)) -> Result<()> {
    Ok(fchown(pipe, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
}

impl Visitor {
    /// Reads what a client asks for. Blocks, for a short time at most.
    ///
    /// # Errors
    /// When it asks for nothing that makes sense; it has been told if it asked at all.
    pub fn receive(connection: UnixStream) -> Result<Self> {
        connection.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let connection = Channel::new(connection);
        let (Order::Admit(exec), streams) = connection.receive()? else { return Err(ErrorKind::InvalidData.into()) };
        connection.stream().set_read_timeout(None)?;
        let visitor = Self { connection, streams, exec: *exec };
        match visitor.check() {
            Ok(()) => Ok(visitor),
            Err(message) => {
                visitor.refuse(LaunchError::BadOrder(message.to_owned()));
                Err(Error::new(ErrorKind::InvalidData, message))
            }
        }
    }

    /// Tells it why it does not get in.
    pub fn refuse(&self, error: LaunchError) {
        // One that is gone need not be told.
        let _ = self.connection.send(&Answer::Failed(error), &[]);
    }

    /// A program beside the agent gets pipes and nothing else of the host's.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let expected = if self.exec.terminal.is_some() { 0 } else { 3 };
        if self.streams.len() != expected {
            return Err("three pipes come with a program that wants no terminal, and nothing with one that does");
        }
        let is_pipe = |stream: &OwnedFd| fstat(stream).is_ok_and(|of| of.st_mode & libc::S_IFMT == libc::S_IFIFO);
        match self.streams.iter().all(is_pipe) {
            true => Ok(()),
            false => Err("only pipes can become standard streams of a program in the sandbox"),
        }
    }
}
