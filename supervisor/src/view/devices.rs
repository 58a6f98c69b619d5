//! The sandbox's `/dev`: the few devices that programs expect, and terminals and shared memory of its own.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::parts::{PRIVATE_FOLDER_SIZE, Result, attach, file, folder, on_host, open_plain, tmpfs};
use crate::error::At;
use crate::sys::{Attributes, restrict_mount};

/// The host's, and harmless: they hold no state, or are the terminal that the agent already has.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn make() -> Result<()> {
    let dev = Path::new("/dev");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    folder(dev)?;
    mount(Some("tmpfs"), dev, Some("tmpfs"), flags, Some("mode=0755,size=1m")).at("make /dev")?;
    for name in DEVICES {
        bind(&dev.join(name))?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).at("make /dev")?;
    }
    folder(Path::new("/dev/pts"))?;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, options).at("make /dev/pts")?;
    folder(Path::new("/dev/shm"))?;
    tmpfs(Path::new("/dev/shm"), "mode=1777", PRIVATE_FOLDER_SIZE)?;
    restrict_mount(dev, Attributes::DEVICE).at("close /dev")
}

fn bind(path: &Path) -> Result<()> {
    let step = format!("bind {}", path.display());
    let host = on_host(path);
    if !host.exists() {
        return Ok(());
    }
    file(path)?;
    let source = open_plain(&host).at(&step)?;
    attach(&source, &open_plain(path).at(&step)?, Attributes::DEVICE).at(&step)
}
