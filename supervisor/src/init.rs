//! The first process of the sandbox: builds it from inside, hands its sockets out, gives everything up, starts the agent
//! and waits.

use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, chdir, sethostname};
use tollgate_wire::cell::{Cell, Control};

use crate::agent::{self, Program, Streams};
use crate::error::{At, LaunchError};
use crate::handover::{Answer, Channel, Order, Outcome};
use crate::proof::{Beyond, Canary};
use crate::visits::{self, Visits};
use crate::{fence, filter, net, privileges, probe, terminal, view};

/// Runs as process 1 of the sandbox, to its end.
pub(crate) fn run(channel: &Channel, cell: &Cell) -> ! {
    let outcome = match build(channel, cell).and_then(|(program, canary)| start(channel, program.as_ref(), canary)) {
        Ok(agent) => Inside { channel, cell, agent, visits: Visits::default() }.watch(),
        Err(error) => {
            // If nobody hears it there is nobody left to tell.
            let _ = channel.send(&Answer::Failed(error), &[]);
            std::process::exit(1)
        }
    };
    // The control process reads it before it sees the end of the channel.
    let _ = channel.send(&Answer::Ended(outcome), &[]);
    // Process 1 takes every other process of the sandbox with it.
    std::process::exit(0)
}

/// Nothing of it runs yet. A sandbox without a COMMAND has no program.
fn build(channel: &Channel, cell: &Cell) -> Result<(Option<Program>, Option<Canary>), LaunchError> {
    privileges::die_with_parent()?;
    check_standard_streams()?;
    // The first thing that takes a capability.
    sethostname(&cell.hostname).map_err(probe::no_capabilities)?;
    let (listening, mut controls) = net::set_up(cell)?;
    let on_host = agent::find_on_host(cell);
    let (handles, files) = view::enter(cell)?;
    controls.push(namespaces());
    controls.push(files);
    controls.push(privileges::give_up(cell)?);
    if chdir(&cell.workdir).is_err() {
        return Err(LaunchError::NoWorkdir(cell.workdir.display().to_string()));
    }
    let beyond = Beyond::open(cell)?;
    let fence = fence::enforce(cell)?;
    controls.push(fence.control);
    controls.push(filter::enforce(cell)?);
    controls.push(terminal::control());
    let canary = Canary::of(cell, &controls, fence.scoped, beyond);
    let program = match cell.command.is_empty() {
        true => None,
        false => Some(Program::resolve(cell, on_host.as_deref())?),
    };
    let mut descriptors = vec![handles.proc_root.as_raw_fd(), handles.root.as_raw_fd()];
    descriptors.extend(listening.descriptors());
    channel.send(&Answer::Ready { controls, counts: listening.counts() }, &descriptors).at("hand the sockets out")?;
    Ok((program, canary))
}

/// The agent keeps the first three descriptors. One that is a folder would lead it out into the host's tree.
fn check_standard_streams() -> Result<(), LaunchError> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for (name, stream) in [("input", input.as_fd()), ("output", output.as_fd()), ("error", error.as_fd())] {
        let mode = fstat(stream).at("look at the standard streams")?.st_mode;
        if mode & libc::S_IFMT == libc::S_IFDIR {
            return Err(LaunchError::BadOrder(format!(
                "standard {name} is a folder; redirect it from a file or a pipe"
            )));
        }
    }
    Ok(())
}

fn namespaces() -> Control {
    let detail = "user, network, mount, process, IPC, host name and cgroup".to_owned();
    Control { name: "namespaces".to_owned(), enforced: true, detail }
}

/// Waits for the word, then starts the agent if there is one. Before that, the canary goes in when it is asked for.
fn start(channel: &Channel, program: Option<&Program>, mut canary: Option<Canary>) -> Result<Option<Pid>, LaunchError> {
    loop {
        match channel.receive::<Order>() {
            Ok((Order::Start, _)) => break,
            Ok((Order::Prove, _)) => {
                let attempts = canary.take().map_or_else(|| Ok(Vec::new()), |canary| canary.send())?;
                channel.send(&Answer::Proved(attempts), &[]).at("report the self-proof")?;
            }
            Ok(_) => {}
            // The control process is gone: so is this sandbox.
            Err(_) => std::process::exit(1),
        }
    }
    let agent = program.map(|program| program.start(Streams::Inherited)).transpose()?;
    channel.send(&Answer::Started, &[]).at("report the start")?;
    Ok(agent)
}

/// What process 1 looks after until its end.
struct Inside<'a> {
    channel: &'a Channel,
    cell: &'a Cell,
    agent: Option<Pid>,
    visits: Visits,
}

impl Inside<'_> {
    /// Reaps, passes signals on, lets visitors in, and ends when the agent or the control process does.
    fn watch(mut self) -> Outcome {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        // All signals are blocked since the supervisor's start, so none is lost before this.
        let Ok(signals) = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) else {
            std::process::exit(1)
        };
        loop {
            let ended = self.reap().or_else(|| self.wait(&signals));
            if let Some(outcome) = ended {
                self.visits.close();
                return outcome;
            }
        }
    }

    /// Says how the agent ended if it has.
    fn reap(&mut self) -> Option<Outcome> {
        while let Some((process, outcome)) = agent::reap() {
            if Some(process) == self.agent {
                return Some(outcome);
            }
            self.visits.ended(process, outcome);
        }
        None
    }

    /// Waits for something to happen and sees to it; says how the sandbox ends if it does.
    fn wait(&mut self, signals: &SignalFd) -> Option<Outcome> {
        let own = [signals.as_fd(), self.channel.stream().as_fd()];
        let all = own.into_iter().chain(self.visits.clients());
        let mut ready: Vec<_> = all.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
        let patience = self.visits.patience();
        let timeout =
            patience.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        poll(&mut ready, timeout).ok()?;
        let ready: Vec<_> = ready.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        if ready[0] {
            let _ = signals.read_signal();
        }
        self.visits.end_overdue();
        self.visits.hear(&ready[2..]);
        if ready[1] { self.obey() } else { None }
    }

    fn obey(&mut self) -> Option<Outcome> {
        match self.channel.receive::<Order>() {
            Ok((Order::Signal(number), _)) => return self.pass_on(number),
            Ok((Order::Admit(exec), descriptors)) => self.visits.admit(self.cell, *exec, descriptors),
            Ok((Order::Socket(family), descriptors)) => visits::give_socket(family, descriptors),
            Ok((Order::Build(_) | Order::Mapped | Order::Prove | Order::Start, _)) => {}
            Err(_) => std::process::exit(1),
        }
        None
    }

    /// A sandbox without an agent ends when it is asked to.
    fn pass_on(&self, number: i32) -> Option<Outcome> {
        let signal = Signal::try_from(number).ok()?;
        match self.agent {
            // It may have ended in this moment.
            Some(agent) => drop(kill(agent, signal)),
            None if signal == Signal::SIGTERM => return Some(Outcome::Exited(0)),
            None => {}
        }
        None
    }
}
