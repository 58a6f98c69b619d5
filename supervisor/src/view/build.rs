//! Building the tree: mounts, in the only order that works.
//!
//! The new root is a temporary file system. While it is built, the host's tree hangs in it as `/.host`, so that every
//! source can be named and every link leads where it will lead for the agent; at the end the host's tree is let go.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use tollgate_wire::cell::Cell;

use super::parts::{HOST, NONE, PRIVATE_FOLDER_SIZE, Result, attach, file, folder, on_host, open_plain, tmpfs};
use super::plan::{Access, Bind, Plan};
use super::{devices, processes};
use crate::error::{At, LaunchError};
use crate::sys::{Attributes, restrict_mount};

/// The skeleton holds folders and empty files only.
const SKELETON_SIZE: &str = "size=4m";

pub(super) fn build(plan: &Plan, cell: &Cell) -> Result<()> {
    stage()?;
    let own = private_folders(cell)?;
    for (path, granted) in &plan.binds {
        bind(path, granted)?;
    }
    for (name, target) in &plan.links {
        link(name, target, &own)?;
    }
    link(Path::new("/var/tmp"), Path::new("/tmp"), &own)?;
    devices::make()?;
    processes::make()?;
    for (host, inside) in &plan.overlays {
        overlay(host, inside, &own)?;
    }
    finish()
}

/// Makes a temporary file system the root, with the host's tree in it as `/.host`.
fn stage() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).at("cut the mounts off from the host's")?;
    // Any folder does; it is covered only until the pivot.
    tmpfs(Path::new("/tmp"), "mode=0755", SKELETON_SIZE)?;
    std::fs::create_dir("/tmp/.host").at("make the new root")?;
    pivot_root("/tmp", "/tmp/.host").map_err(no_pivot)?;
    chdir("/").at("enter the new root")
}

/// The root of an initial ramdisk is not mounted on anything, and so cannot be moved away (pivot_root(2)).
fn no_pivot(error: Errno) -> LaunchError {
    let reason = match error {
        Errno::EINVAL => {
            "this machine's root is its initial ramdisk, which stays where it is; go on to a root of its own first: mount a tmpfs, copy \
             the tree into it, and run switch_root"
                .to_owned()
        }
        other => other.to_string(),
    };
    LaunchError::step("pivot to the new root", reason)
}

/// The file systems that were made here: only there may anything be created.
struct Own(Vec<u64>);

/// `/tmp` and the agent's home, before what is granted below them.
fn private_folders(cell: &Cell) -> Result<Own> {
    private_folder(Path::new("/tmp"), "mode=1777")?;
    let home = &cell.files.home;
    let owner = cell.run_as.map(|(uid, gid)| format!(",uid={uid},gid={gid}")).unwrap_or_default();
    if home.is_absolute() && home != Path::new("/") && home != Path::new("/tmp") {
        private_folder(home, &format!("mode=0700{owner}"))?;
    }
    folder(Path::new("/run"))?;
    let own = [Path::new("/"), Path::new("/tmp"), home];
    Ok(Own(own.iter().filter_map(|path| device(path)).collect()))
}

fn private_folder(path: &Path, mode: &str) -> Result<()> {
    folder(path)?;
    tmpfs(path, mode, PRIVATE_FOLDER_SIZE)
}

fn bind(path: &Path, granted: &Bind) -> Result<()> {
    let attributes = match granted.access {
        Access::Read => Attributes::READ_ONLY,
        Access::Write => Attributes::TAME,
    };
    let step = format!("grant {}", path.display());
    let source = open_plain(&on_host(&granted.source)).at(&step)?;
    place(&source, path)?;
    attach(&source, &open_plain(path).at(&step)?, attributes).at(&step)
}

/// Makes what a mount needs to cover: an empty folder or file of the skeleton.
fn place(source: &OwnedFd, path: &Path) -> Result<()> {
    let metadata = nix::sys::stat::fstat(source).at(&format!("look at {}", path.display()))?;
    let is_folder = metadata.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
    if is_folder { folder(path) } else { file(path) }
}

/// A granted name that is a link on the host, as `/bin` is one to `/usr/bin`.
fn link(name: &Path, target: &Path, own: &Own) -> Result<()> {
    if name.symlink_metadata().is_ok() || !own.holds(name) {
        return Ok(());
    }
    if let Some(parent) = name.parent() {
        folder(parent)?;
    }
    symlink(target, name).at(&format!("link {}", name.display()))
}

/// Lays a host file over a path inside, read-only. A link there is followed, inside.
fn overlay(host: &Path, path: &Path, own: &Own) -> Result<()> {
    let path = follow(path)?;
    let step = format!("lay a file over {}", path.display());
    let source = open_plain(&on_host(host)).at(&step)?;
    if !path.exists() {
        if !own.holds(&path) {
            return Err(LaunchError::step(step, "it does not exist, and making it would change the host"));
        }
        place(&source, &path)?;
    }
    attach(&source, &open_plain(&path.canonicalize().at(&step)?).at(&step)?, Attributes::READ_ONLY).at(&step)
}

/// The path without links at its end. Links may lead to what is not visible; then that is where to go.
fn follow(path: &Path) -> Result<PathBuf> {
    const MAX_LINKS: usize = 10;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = std::fs::read_link(&path) else { return Ok(path) };
        let joined = path.parent().unwrap_or(Path::new("/")).join(target);
        path = joined.components().fold(PathBuf::new(), |mut clean, part| {
            match part {
                Component::ParentDir => {
                    clean.pop();
                }
                part => clean.push(part),
            }
            clean
        });
    }
    Err(LaunchError::step(format!("follow {}", path.display()), "too many links"))
}

/// Leaves the host's tree behind and closes the skeleton.
fn finish() -> Result<()> {
    umount2(HOST, MntFlags::MNT_DETACH).at("leave the old root")?;
    std::fs::remove_dir(HOST).at("leave the old root")?;
    restrict_mount(Path::new("/"), Attributes::READ_ONLY).at("close the root")?;
    chdir("/").at("enter the new root")
}

impl Own {
    /// True when a path that does not exist yet would come to lie on one of them.
    fn holds(&self, path: &Path) -> bool {
        path.ancestors().skip(1).find_map(device).is_some_and(|device| self.0.contains(&device))
    }
}

fn device(path: &Path) -> Option<u64> {
    path.metadata().map(|metadata| metadata.dev()).ok()
}
