//! Who opened a connection: from a socket in the sandbox to a program and its ancestors.
//!
//! The kernel is asked by the connection's addresses for the socket's inode (sock_diag), the sandbox's own processes for
//! who holds it, and each holder for its executable. Everything goes through two descriptors that the supervisor handed
//! out: a netlink socket of the sandbox's network namespace and the root of its `/proc`, so no other process of the host
//! is ever looked at. Anything that cannot be read or changes meanwhile makes the caller unknown, never a guess.

mod hashes;
mod pins;
mod process;
mod quiet;
mod sock_diag;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::PoisonError;

use tollgate_model::{Caller, Program, Unidentified};

use hashes::Hashes;
use pins::Pins;
use process::{Process, Processes};
use sock_diag::SocketTable;

/// Finds the callers of one sandbox.
#[derive(Debug)]
pub struct Identifier {
    sockets: Mutex<SocketTable>,
    processes: Processes,
    hashes: Hashes,
    pins: Pins,
}

impl Identifier {
    /// Takes the descriptors that the supervisor handed out.
    #[must_use]
    pub fn new(sock_diag: OwnedFd, proc_root: OwnedFd) -> Self {
        Self {
            sockets: Mutex::new(SocketTable::new(sock_diag)),
            processes: Processes::new(proc_root),
            hashes: Hashes::default(),
            pins: Pins::default(),
        }
    }

    /// The caller behind a connection from `client` to `server`, addresses as the client sees them. Blocks for file reads.
    #[must_use]
    pub fn identify(&self, client: SocketAddr, server: SocketAddr) -> Caller {
        self.find(client, server).unwrap_or_else(Caller::Unknown)
    }

    fn find(&self, client: SocketAddr, server: SocketAddr) -> Result<Caller, Unidentified> {
        let inode = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).inode(client, server)?;
        let holders = self.processes.holders(inode)?;
        let mut callers = holders.iter().map(|process| self.describe(process));
        let first = callers.next().ok_or(Unidentified::Gone)??;
        for other in callers {
            if !same_program(&first, &other?) {
                return Err(Unidentified::Shared);
            }
        }
        // A process that let go of the socket or ended while it was being read proves nothing about it.
        if !holders.iter().any(|process| process.sockets().is_ok_and(|sockets| sockets.contains(&inode))) {
            return Err(Unidentified::Gone);
        }
        Ok(first)
    }

    fn describe(&self, process: &Process) -> Result<Caller, Unidentified> {
        let program = self.program(process)?;
        let mut ancestors = Vec::new();
        for ancestor in self.processes.ancestors(process)? {
            ancestors.push(self.program(&ancestor)?);
        }
        Ok(Caller::Known { pid: process.pid(), program, ancestors })
    }

    fn program(&self, process: &Process) -> Result<Program, Unidentified> {
        Ok(self.pins.check(self.hashes.program(process)?))
    }
}

/// Holders that differ only in their place in the process tree count as one caller; the first one's ancestors must then
/// be ancestors of all, which forked copies fulfil.
fn same_program(one: &Caller, other: &Caller) -> bool {
    match (one, other) {
        (Caller::Known { program: a, ancestors: x, .. }, Caller::Known { program: b, ancestors: y, .. }) => {
            a == b && x.iter().all(|ancestor| y.contains(ancestor))
        }
        _ => false,
    }
}
