//! The supervisor's first life: enters fresh namespaces and puts process 1 into them.

use std::fs;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid};
use tollgate_wire::cell::Cell;

use crate::error::{At, LaunchError};
use crate::handover::{Answer, Channel, Order};
use crate::sys::{self, Fork};
use crate::terminal::Foreground;
use crate::{init, probe};

/// Runs the supervisor on the inherited channel, to its end.
pub(crate) fn run(channel: RawFd) -> ! {
    let (Ok(()), Ok(channel)) = (close_others(channel), sys::inherited(channel)) else { std::process::exit(2) };
    let channel = Channel::new(UnixStream::from(channel));
    let code = match enter(&channel) {
        Ok(code) => code,
        Err(error) => {
            // If nobody hears it there is nobody left to tell.
            let _ = channel.send(&Answer::Failed(error), &[]);
            1
        }
    };
    std::process::exit(code)
}

/// What else was left open by whoever started us is not for the sandbox.
fn close_others(channel: RawFd) -> std::io::Result<()> {
    sys::close_between(FIRST_OWN, channel)?;
    sys::close_from(channel + 1)
}

/// The first descriptor after the standard streams.
const FIRST_OWN: RawFd = 3;

fn enter(channel: &Channel) -> Result<i32, LaunchError> {
    // Signals of the terminal are for the agent; this process ends when its child or its parent does.
    SigSet::all().thread_block().at("block signals")?;
    // Started as /proc/self/exe, it would be listed as `exe`.
    prctl::set_name(c"tollgate-superv").at("name the supervisor")?;
    let foreground = Foreground::of_now();
    let (Order::Build(cell), _) = channel.receive().at("read the order")? else {
        return Err(LaunchError::step("read the order", "it is none"));
    };
    let (user, group) = (Uid::current(), Gid::current());
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .map_err(probe::no_namespaces)?;
    map_users(channel, &cell, user, group)?;
    match sys::fork().at("start process 1")? {
        Fork::Child => init::run(channel, &cell),
        Fork::Parent(child) => {
            let end = waitpid(child, None);
            foreground.restore();
            match end {
                Ok(WaitStatus::Exited(_, code)) => Ok(code),
                _ => Ok(1),
            }
        }
    }
}

/// An ordinary user stays who they are inside. Root's maps are written from outside, where the right to do so is.
fn map_users(channel: &Channel, cell: &Cell, user: Uid, group: Gid) -> Result<(), LaunchError> {
    if cell.run_as.is_some() {
        channel.send(&Answer::Map, &[]).at("ask for the user maps")?;
        return match channel.receive().at("wait for the user maps")? {
            (Order::Mapped, _) => Ok(()),
            _ => Err(LaunchError::step("wait for the user maps", "another order came")),
        };
    }
    let write = |name: &str, text: String| fs::write(format!("/proc/self/{name}"), text).map_err(probe::no_maps);
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{user} {user} 1"))?;
    write("gid_map", format!("{group} {group} 1"))
}
