//! What the agent sees of the file tree: a root of its own in memory, with granted paths bound into it.

mod build;
mod devices;
mod parts;
mod plan;
mod processes;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tollgate_wire::cell::{Cell, Control};

use crate::error::{At, LaunchError};
pub(crate) use plan::Plan;

/// Descriptors into the finished tree, for the world outside.
pub(crate) struct Handles {
    /// Its `/proc`: the sandbox's processes and no others.
    pub(crate) proc_root: OwnedFd,
    /// Its root: files as the agent sees them.
    pub(crate) root: OwnedFd,
}

/// Builds the tree and makes it this process's root. Nothing of the old root can be reached afterwards.
pub(crate) fn enter(cell: &Cell) -> Result<(Handles, Control), LaunchError> {
    let plan = Plan::of(&cell.files)?;
    build::build(&plan, cell)?;
    let control = Control { name: "files".to_owned(), enforced: true, detail: plan.describe() };
    let folder = |path| open(Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let handles = Handles { proc_root: folder("/proc").at("open /proc")?, root: folder("/").at("open the new root")? };
    Ok((handles, control))
}
