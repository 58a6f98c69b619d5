//! Building the tree: mounts, in the only order that works.
//!
//! The new root is a folder of a temporary file system. While it is built, the host's tree hangs below it as `/oldroot`,
//! so that every source can be named; at the end the new root is entered and the old one let go.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use tollgate_wire::cell::Cell;

use super::plan::{Access, Plan};
use crate::error::{At, LaunchError};
use crate::sys::{Attributes, restrict_mount};

type Result<T> = std::result::Result<T, LaunchError>;

const NEW: &str = "/newroot";
const OLD: &str = "/oldroot";

/// Memory that the agent's private folders may take, each: like a small disk.
const PRIVATE_FOLDER_SIZE: &str = "size=1g";

/// The skeleton holds folders and empty files only.
const SKELETON_SIZE: &str = "size=4m";

const NONE: Option<&str> = None;

pub(super) fn build(plan: &Plan, cell: &Cell) -> Result<()> {
    stage()?;
    private_folders(cell)?;
    for (path, access) in &plan.binds {
        bind(path, *access)?;
    }
    for (name, target) in &plan.links {
        link(name, target)?;
    }
    devices()?;
    processes()?;
    for (host, inside) in &plan.overlays {
        overlay(host, inside)?;
    }
    finish()
}

/// Makes the stage: a temporary root with `/newroot` and, below it, the host's tree as `/oldroot`.
fn stage() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).at("cut the mounts off from the host's")?;
    // Any folder does; it is covered only until the pivot.
    tmpfs(Path::new("/tmp"), "mode=0755", SKELETON_SIZE)?;
    for name in ["newroot", "oldroot"] {
        std::fs::create_dir(Path::new("/tmp").join(name)).at("make the stage")?;
    }
    pivot_root("/tmp", "/tmp/oldroot").at("pivot to the stage")?;
    chdir("/").at("enter the stage")?;
    tmpfs(Path::new(NEW), "mode=0755", SKELETON_SIZE)
}

/// `/tmp` and the agent's home, before what is granted below them.
fn private_folders(cell: &Cell) -> Result<()> {
    private_folder(Path::new("/tmp"), "mode=1777")?;
    let home = &cell.files.home;
    let owner = cell.run_as.map(|(uid, gid)| format!(",uid={uid},gid={gid}")).unwrap_or_default();
    if home.is_absolute() && home != Path::new("/") && home != Path::new("/tmp") {
        private_folder(home, &format!("mode=0700{owner}"))?;
    }
    folder(Path::new("/run"))?;
    folder(Path::new("/var"))?;
    symlink("/tmp", inside(Path::new("/var/tmp"))).at("make /var/tmp")
}

fn private_folder(path: &Path, mode: &str) -> Result<()> {
    folder(path)?;
    tmpfs(&inside(path), mode, PRIVATE_FOLDER_SIZE)
}

fn bind(path: &Path, access: Access) -> Result<()> {
    let (source, target) = (outside(path), inside(path));
    let step = format!("grant {}", path.display());
    if source.is_dir() {
        folder(path)?;
    } else {
        file(path)?;
    }
    mount(Some(&source), &target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).at(&step)?;
    let attributes = match access {
        Access::Read => Attributes::READ_ONLY,
        Access::Write => Attributes::TAME,
    };
    restrict_mount(&target, attributes, true).at(&step)
}

/// A granted name that is a link on the host, as `/bin` is one to `/usr/bin`.
fn link(name: &Path, target: &Path) -> Result<()> {
    let at = inside(name);
    if at.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = name.parent() {
        folder(parent)?;
    }
    symlink(target, at).at(&format!("link {}", name.display()))
}

/// The few devices that programs expect, and terminals of the sandbox's own.
fn devices() -> Result<()> {
    let dev = inside(Path::new("/dev"));
    folder(Path::new("/dev"))?;
    mount(Some("tmpfs"), &dev, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some("mode=0755,size=1m"))
        .at("make /dev")?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let (source, target) = (outside(Path::new("/dev")).join(name), dev.join(name));
        File::create(&target).at("make /dev")?;
        mount(Some(&source), &target, NONE, MsFlags::MS_BIND, NONE).at(&format!("bind /dev/{name}"))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).at("make /dev")?;
    }
    for name in ["pts", "shm"] {
        std::fs::create_dir(dev.join(name)).at("make /dev")?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), flags, options).at("make /dev/pts")?;
    tmpfs(&dev.join("shm"), "mode=1777", PRIVATE_FOLDER_SIZE)
}

/// A `/proc` of the new process namespace; what of it reaches the kernel rather than a process is closed.
fn processes() -> Result<()> {
    let proc = inside(Path::new("/proc"));
    folder(Path::new("/proc"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &proc, Some("proc"), flags, NONE).map_err(|error| LaunchError::Missing {
        feature: "a private /proc".to_owned(),
        reason: error.to_string(),
        remedy: "inside a container, start it with its /proc unmasked (systempaths=unconfined)".to_owned(),
    })?;
    for name in ["sys", "bus", "fs", "irq"] {
        let path = proc.join(name);
        if path.is_dir() {
            mount(Some(&path), &path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).at("close /proc")?;
            restrict_mount(&path, Attributes::READ_ONLY, true).at("close /proc")?;
        }
    }
    let null = inside(Path::new("/dev/null"));
    for name in
        ["kcore", "kmsg", "keys", "key-users", "sysrq-trigger", "timer_list", "sched_debug", "kpagecount", "kpageflags"]
    {
        let path = proc.join(name);
        if path.exists() {
            mount(Some(&null), &path, NONE, MsFlags::MS_BIND, NONE).at("close /proc")?;
        }
    }
    Ok(())
}

/// Lays a host file over a path inside, read-only. A link there is followed, inside.
fn overlay(host: &Path, path: &Path) -> Result<()> {
    let path = follow(path)?;
    let target = inside(&path);
    let step = format!("lay a file over {}", path.display());
    if !target.exists() {
        file(&path)?;
    }
    mount(Some(&outside(host)), &target, NONE, MsFlags::MS_BIND, NONE).at(&step)?;
    restrict_mount(&target, Attributes::READ_ONLY, false).at(&step)
}

/// The path without links, as the new root sees it. Links may lead to what is not visible; then that is where to go.
fn follow(path: &Path) -> Result<PathBuf> {
    const MAX_LINKS: usize = 10;
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = std::fs::read_link(inside(&path)) else { return Ok(path) };
        let joined = path.parent().unwrap_or(Path::new("/")).join(target);
        path = joined.components().fold(PathBuf::new(), |mut clean, part| {
            match part {
                std::path::Component::ParentDir => {
                    clean.pop();
                }
                part => clean.push(part),
            }
            clean
        });
    }
    Err(LaunchError::step(format!("follow {}", path.display()), "too many links"))
}

/// Closes the skeleton and leaves the old root behind.
fn finish() -> Result<()> {
    restrict_mount(Path::new(NEW), Attributes::READ_ONLY, false).at("close the root")?;
    umount2(OLD, MntFlags::MNT_DETACH).at("leave the old root")?;
    chdir(NEW).at("enter the new root")?;
    pivot_root(".", ".").at("pivot to the new root")?;
    umount2(".", MntFlags::MNT_DETACH).at("leave the stage")?;
    chdir("/").at("enter the new root")
}

fn tmpfs(target: &Path, mode: &str, size: &str) -> Result<()> {
    let options = format!("{mode},{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
        .at(&format!("mount a temporary file system on {}", target.display()))
}

/// A folder of the skeleton, with those above it.
fn folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(inside(path)).at(&format!("make {}", path.display()))
}

/// An empty file of the skeleton, for a mount to cover.
fn file(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    if inside(path).exists() {
        return Ok(());
    }
    File::create(inside(path)).map(drop).at(&format!("make {}", path.display()))
}

fn inside(path: &Path) -> PathBuf {
    under(NEW, path)
}

fn outside(path: &Path) -> PathBuf {
    under(OLD, path)
}

fn under(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}
