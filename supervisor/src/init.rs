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

use crate::agent::{self, Program};
use crate::error::{At, LaunchError};
use crate::handover::{Answer, Channel, Order, Outcome};
use crate::proof::{Beyond, Canary};
use crate::{fence, filter, net, privileges, probe, terminal, view};

/// Runs as process 1 of the sandbox, to its end.
pub(crate) fn run(channel: &Channel, cell: &Cell) -> ! {
    let outcome = match build(channel, cell).and_then(|(program, canary)| start(channel, &program, canary)) {
        Ok(agent) => watch(channel, agent),
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

fn build(channel: &Channel, cell: &Cell) -> Result<(Program, Option<Canary>), LaunchError> {
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
    let program = Program::resolve(cell, on_host.as_deref())?;
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

/// Waits for the word, then starts the agent. Before that, the canary goes in when it is asked for.
fn start(channel: &Channel, program: &Program, mut canary: Option<Canary>) -> Result<Pid, LaunchError> {
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
    let agent = program.start()?;
    channel.send(&Answer::Started, &[]).at("report the start")?;
    Ok(agent)
}

/// Reaps, passes signals on, and ends when the agent or the control process does.
fn watch(channel: &Channel, agent: Pid) -> Outcome {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    // All signals are blocked since the supervisor's start, so none is lost before this.
    let Ok(signals) = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) else {
        std::process::exit(1)
    };
    loop {
        if let Some(outcome) = agent::reap(agent) {
            return outcome;
        }
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(channel.stream().as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let [child, order] = ready.map(|fd| fd.any().unwrap_or(true));
        if child {
            let _ = signals.read_signal();
        }
        if order {
            match channel.receive::<Order>() {
                Ok((Order::Signal(number), _)) => pass_on(agent, number),
                Ok(_) => {}
                Err(_) => std::process::exit(1),
            }
        }
    }
}

fn pass_on(agent: Pid, number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        // It may have ended in this moment.
        let _ = kill(agent, signal);
    }
}
