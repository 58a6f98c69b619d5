//! Programs that clients run beside the agent, as process 1 sees them.
//!
//! They are forked from the process that the agent is forked from, after everything has been given up: the same namespaces,
//! Landlock rules, filter, limits and environment, since there is nothing else to start from.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::Pid;
use tollgate_wire::cell::Cell;
use tollgate_wire::exec::{Exec, WindowSize};

use crate::agent::{Program, Streams};
use crate::error::{At, LaunchError};
use crate::handover::{Answer, Channel, Family, Order, Outcome};

/// Those that run now.
#[derive(Default)]
pub(crate) struct Visits(Vec<Visit>);

struct Visit {
    client: Channel,
    /// Also its process group and session.
    process: Pid,
    /// When its client has gone: how long it may take to end.
    deadline: Option<Instant>,
}

/// Programs beside the agent at one time: each takes a process and a descriptor of process 1's.
const MAX_VISITS: usize = 64;

/// A program that was hung up on has this long to end.
const HANG_UP_GRACE: Duration = Duration::from_secs(5);

impl Visits {
    /// Starts what a client asked for, and tells it.
    pub(crate) fn admit(&mut self, cell: &Cell, exec: Exec, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        let Some(client) = descriptors.next() else { return };
        let client = Channel::new(UnixStream::from(client));
        // A client that has gone is seen gone at the next poll.
        match self.start(cell, exec, descriptors.collect()) {
            Ok((process, terminal)) => {
                let terminal: Vec<_> = terminal.iter().map(AsRawFd::as_raw_fd).collect();
                let _ = client.send(&Answer::Started, &terminal);
                self.0.push(Visit { client, process, deadline: None });
            }
            Err(error) => drop(client.send(&Answer::Failed(error), &[])),
        }
    }

    fn start(&self, cell: &Cell, exec: Exec, pipes: Vec<OwnedFd>) -> Result<(Pid, Option<OwnedFd>), LaunchError> {
        if self.0.len() >= MAX_VISITS {
            return Err(LaunchError::BadOrder(format!("{MAX_VISITS} programs run beside the agent; end one first")));
        }
        let (streams, terminal) = match exec.terminal {
            Some(size) => {
                let (ours, theirs) = terminal(size)?;
                (Streams::Terminal(theirs), Some(ours))
            }
            None => {
                let pipes = pipes.try_into().map_err(|_| LaunchError::BadOrder("three pipes are needed".to_owned()))?;
                (Streams::Pipes(pipes), None)
            }
        };
        let cell = beside(cell, exec);
        let process = Program::resolve(&cell, None)?.start(streams).map_err(|error| of_program(error, &cell))?;
        Ok((process, terminal))
    }

    /// What to wait for beside one's own: the clients that are there, in order.
    pub(crate) fn clients(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter(|visit| visit.deadline.is_none()).map(|visit| visit.client.stream().as_fd())
    }

    /// Hears the clients for which `ready` says that there is something to hear; in the order of `clients`.
    pub(crate) fn hear(&mut self, ready: &[bool]) {
        let present = self.0.iter_mut().filter(|visit| visit.deadline.is_none());
        present.zip(ready).filter(|(_, ready)| **ready).for_each(|(visit, _)| visit.hear());
    }

    /// How long until one that was hung up on has to be ended.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let next = self.0.iter().filter_map(|visit| visit.deadline).min();
        next.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Ends those that were hung up on and did not end.
    pub(crate) fn end_overdue(&self) {
        let now = Instant::now();
        self.0
            .iter()
            .filter(|visit| visit.deadline.is_some_and(|deadline| deadline <= now))
            .for_each(|visit| visit.signal(Signal::SIGKILL));
    }

    /// Tells a client how its program ended.
    pub(crate) fn ended(&mut self, process: Pid, outcome: Outcome) {
        let Some(place) = self.0.iter().position(|visit| visit.process == process) else { return };
        let visit = self.0.swap_remove(place);
        if visit.deadline.is_some() {
            // What it has started and was not hung up on with it, as what was just being started, ends too.
            return visit.signal(Signal::SIGKILL);
        }
        // A client that goes in this moment need not be told.
        let _ = visit.client.send(&Answer::Ended(outcome), &[]);
    }

    /// Tells all clients that the sandbox ends.
    pub(crate) fn close(self) {
        let killed = Answer::Ended(Outcome::Signalled(Signal::SIGKILL as i32));
        self.0.iter().for_each(|visit| drop(visit.client.send(&killed, &[])));
    }
}

impl Visit {
    /// Takes one signal, or notes that the client has gone.
    fn hear(&mut self) {
        // A client is of the sandbox's owner; one that stops in the middle of a message holds process 1 up for this long.
        let _ = self.client.stream().set_read_timeout(Some(HALF_A_MESSAGE));
        match self.client.receive::<Order>() {
            Ok((Order::Signal(number), _)) => {
                if let Ok(signal) = Signal::try_from(number) {
                    self.signal(signal);
                }
            }
            Ok(_) => {}
            Err(_) => {
                self.deadline = Some(Instant::now() + HANG_UP_GRACE);
                self.signal(Signal::SIGHUP);
                // One that is stopped hears nothing.
                self.signal(Signal::SIGCONT);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended in this moment.
        let _ = killpg(self.process, signal);
    }
}

/// A message is sent in one piece.
const HALF_A_MESSAGE: Duration = Duration::from_millis(100);

/// The sandbox stands; what failed is a program's start, as where there are as many processes as there may be.
fn of_program(error: LaunchError, cell: &Cell) -> LaunchError {
    match error {
        LaunchError::Step { step, reason } => {
            let command = cell.command.first().cloned().unwrap_or_default();
            LaunchError::NotExecutable { command, reason: format!("{step}: {reason}") }
        }
        other => other,
    }
}

/// What the agent has, with what this program was given beside it.
fn beside(cell: &Cell, exec: Exec) -> Cell {
    let mut environment = cell.environment.clone();
    environment.retain(|(name, _)| exec.environment.iter().all(|(other, _)| other != name));
    environment.extend(exec.environment);
    let command = if exec.command.is_empty() { vec![shell(&environment)] } else { exec.command };
    let workdir = exec.workdir.map_or_else(|| cell.workdir.clone(), |workdir| cell.workdir.join(workdir));
    Cell { command, environment, workdir, ..cell.clone() }
}

/// The user's shell if it is there, else one that is everywhere.
fn shell(environment: &[(String, String)]) -> String {
    let own = environment.iter().find(|(name, _)| name == "SHELL").map(|(_, path)| path.as_str());
    let all = own.into_iter().chain(["/bin/bash", "/bin/sh"]);
    all.into_iter().find(|path| std::path::Path::new(path).is_file()).unwrap_or("/bin/sh").to_owned()
}

/// Both sides of a terminal of the sandbox's own: the controlling one first.
fn terminal(size: WindowSize) -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let both = openpty(&size, None).at("make a terminal")?;
    Ok((both.master, both.slave))
}

/// Makes a TCP socket in the sandbox's network, for whoever is at the other end of the connection.
pub(crate) fn give_socket(family: Family, descriptors: Vec<OwnedFd>) {
    let Some(asker) = descriptors.into_iter().next() else { return };
    let asker = Channel::new(UnixStream::from(asker));
    let family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // An asker that has gone need not be told.
    let _ = match socket(family, SockType::Stream, flags, None).at("make a socket in the sandbox") {
        Ok(socket) => asker.send(&Answer::Socket, &[socket.as_raw_fd()]),
        Err(error) => asker.send(&Answer::Failed(error), &[]),
    };
}
