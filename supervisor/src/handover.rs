//! Messages between the control process and the supervisor: length-prefixed JSON over a socket pair, with descriptors
//! beside it (unix(7), `SCM_RIGHTS`).

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_wire::cell::{Cell, Control};
use tollgate_wire::exec::Exec;
use tollgate_wire::proof::Attempt;

use crate::error::LaunchError;
use crate::sys;

/// What the control process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Build this.
    Build(Box<Cell>),
    /// The user and group maps are written (only where the caller is root).
    Mapped,
    /// Everything is ready outside: try what must fail.
    Prove,
    /// Start the agent.
    Start,
    /// Pass this signal on.
    Signal(i32),
    /// Run this beside the agent. The descriptors are the client's connection and, unless it wants a terminal, the pipes
    /// that become standard input, output and error.
    Admit(Box<Exec>),
    /// Make a TCP socket in the sandbox's network and send it over the connection that comes with this.
    Socket(Family),
}

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// New namespaces exist and want their maps from outside.
    Map,
    /// It stands. The descriptors come with this message, in the order of [`crate::launch::Sockets`].
    Ready {
        controls: Vec<Control>,
        /// How many transparent listeners, DNS datagram sockets and DNS listeners there are.
        counts: [usize; 3],
    },
    /// What was tried, and how it went.
    Proved(Vec<Attempt>),
    /// The agent runs.
    Started,
    /// It does not go on.
    Failed(LaunchError),
    /// The agent ended, or the program that a client asked for.
    Ended(Outcome),
    /// A socket; it is the one descriptor of this message.
    Socket,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
}

/// One end of a socket pair, or of a client's connection.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    /// A long message goes out in several pieces, and several threads send.
    sending: Mutex<()>,
}

/// A command line and an environment fit well below this.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// More descriptors than any message carries, within the kernel's limit of 253.
const MAX_DESCRIPTORS: usize = 250;

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, sending: Mutex::new(()) }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a message, with descriptors beside it.
    pub(crate) fn send(&self, message: &impl Serialize, descriptors: &[RawFd]) -> Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(Error::other)?;
        let _alone = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = [&length.to_be_bytes(), body.as_slice()].concat();
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
        let sent =
            sendmsg::<()>(self.stream.as_raw_fd(), &[IoSlice::new(&whole)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        (&self.stream).write_all(&whole[sent..])
    }

    /// Receives a message and what came beside it.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>)> {
        let (length, descriptors) = self.receive_length()?;
        if length > MAX_MESSAGE_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, "a message is too long"));
        }
        let mut body = vec![0; length];
        (&self.stream).read_exact(&mut body)?;
        Ok((serde_json::from_slice(&body)?, descriptors))
    }

    fn receive_length(&self) -> Result<(usize, Vec<OwnedFd>)> {
        let mut length = [0; 4];
        let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let (read, descriptors) = {
            let mut parts = [IoSliceMut::new(&mut length)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = loop {
                match recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                    // A bounded wait is not taken up again by itself when a signal comes (signal(7)).
                    Err(Errno::EINTR) => {}
                    done => break done?,
                }
            };
            let mut descriptors = Vec::new();
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    descriptors.extend(numbers.into_iter().map(sys::adopt));
                }
            }
            (message.bytes, descriptors)
        };
        match read {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                (&self.stream).read_exact(&mut length[read..])?;
                Ok((usize::try_from(u32::from_be_bytes(length)).map_err(Error::other)?, descriptors))
            }
        }
    }
}
