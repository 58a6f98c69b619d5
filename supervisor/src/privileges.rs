//! Giving up: capabilities, the way back to root, limits.

use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use tollgate_wire::cell::{Cell, Control, Limit};

use crate::error::{At, LaunchError};

/// What is limited where nobody says otherwise: processes and threads of the sandbox, open files of one process.
const DEFAULTS: &[(Limit, u64)] = &[(Limit::Nproc, 512), (Limit::Nofile, 65_536)];

/// With 0 the kernel still feeds a core to a program of the host's that is set as handler; with 1 it does not (core(5)).
const NO_CORE: u64 = 1;

/// Ties this process's life to the one that started it.
pub(crate) fn die_with_parent() -> Result<(), LaunchError> {
    prctl::set_pdeathsig(Signal::SIGKILL).at("tie the supervisor to its parent")
}

/// Becomes the user that the agent runs as and keeps nothing of what was more.
pub(crate) fn give_up(cell: &Cell) -> Result<Control, LaunchError> {
    limit(Resource::RLIMIT_CORE, NO_CORE)?;
    let limits = limits(&cell.bounds.limits);
    for (name, most) in &limits {
        limit(resource(*name), *most)?;
    }
    caps::clear(None, CapSet::Ambient).at("give up capabilities")?;
    for capability in caps::runtime::thread_all_supported() {
        caps::drop(None, CapSet::Bounding, capability).at("give up capabilities")?;
    }
    if let Some((user, group)) = cell.run_as {
        become_user(Uid::from_raw(user), Gid::from_raw(group))?;
    }
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).at("give up capabilities")?;
    }
    prctl::set_no_new_privs().at("forbid new privileges")?;
    // The change of user took the tie away.
    die_with_parent()?;
    // The agent has our user: it must not read or write our memory, nor take our descriptors, through /proc/1.
    prctl::set_dumpable(false).at("hide process 1")?;
    let limits: Vec<_> = limits.iter().map(|(name, most)| format!("{} {most}", name.name())).collect();
    let detail = format!("uid {}, no capabilities, no new privileges, {}", Uid::current(), limits.join(", "));
    Ok(Control { name: "privileges".to_owned(), enforced: true, detail })
}

fn become_user(user: Uid, group: Gid) -> Result<(), LaunchError> {
    setgroups(&[]).at("drop supplementary groups")?;
    setresgid(group, group, group).at("change the group")?;
    setresuid(user, user, user).at("change the user")?;
    if user.is_root() || setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(LaunchError::step("give up root", "root could be regained"));
    }
    Ok(())
}

/// The defaults, and what was asked for in their place or beside them.
fn limits(wanted: &[(Limit, u64)]) -> Vec<(Limit, u64)> {
    let is_wanted = |limit: Limit| wanted.iter().any(|(name, _)| *name == limit);
    DEFAULTS.iter().filter(|(name, _)| !is_wanted(*name)).chain(wanted).copied().collect()
}

fn resource(limit: Limit) -> Resource {
    match limit {
        Limit::As => Resource::RLIMIT_AS,
        Limit::Cpu => Resource::RLIMIT_CPU,
        Limit::Fsize => Resource::RLIMIT_FSIZE,
        Limit::Memlock => Resource::RLIMIT_MEMLOCK,
        Limit::Nofile => Resource::RLIMIT_NOFILE,
        Limit::Nproc => Resource::RLIMIT_NPROC,
        Limit::Stack => Resource::RLIMIT_STACK,
    }
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> Result<(), LaunchError> {
    let (soft, hard) = nix::sys::resource::getrlimit(resource).at("read a limit")?;
    let most = most.min(hard);
    // Programs that use select(2) break when they are given more than they ask for.
    setrlimit(resource, most.min(soft), most).at("set a limit")
}
