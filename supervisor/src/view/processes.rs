//! The sandbox's `/proc`: its own processes. What of it reaches the kernel rather than a process is closed.

use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::parts::{NONE, Result, attach, folder, open_plain};
use crate::error::{At, LaunchError};
use crate::sys::{Attributes, restrict_mount};

/// Settings of the kernel: to be read, not to be changed.
const FROZEN: &[&str] = &["sys", "bus", "fs", "irq", "tty"];

/// Folders about the machine that no program needs.
const HIDDEN_FOLDERS: &[&str] = &["acpi", "asound", "driver", "scsi"];

/// Memory, keys, addresses and levers of the kernel.
const HIDDEN_FILES: &[&str] = &[
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "mtrr",
    "sched_debug",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

pub(super) fn make() -> Result<()> {
    let proc = Path::new("/proc");
    folder(proc)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), proc, Some("proc"), flags, NONE)
        .map_err(|error| LaunchError::NoProc { reason: error.desc().to_owned() })?;
    for path in present(FROZEN) {
        let tree = open_plain(&path).at("close /proc")?;
        attach(&tree, &tree, Attributes::READ_ONLY).at("close /proc")?;
    }
    for path in present(HIDDEN_FOLDERS) {
        mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some("mode=0555,size=4k")).at("close /proc")?;
        restrict_mount(&path, Attributes::READ_ONLY).at("close /proc")?;
    }
    let null = open_plain(Path::new("/dev/null")).at("close /proc")?;
    for path in present(HIDDEN_FILES) {
        attach(&null, &open_plain(&path).at("close /proc")?, Attributes::DEVICE).at("close /proc")?;
    }
    Ok(())
}

fn present(names: &[&str]) -> impl Iterator<Item = std::path::PathBuf> {
    names.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()).collect::<Vec<_>>().into_iter()
}
