//! A control group of the sandbox's own, for bounds on the sandbox as a whole (cgroups(7), version 2).
//!
//! Made by the control process, outside, before the supervisor enters its cgroup namespace: so the agent finds itself at
//! the root of its hierarchy and cannot change its bounds. Nothing is made where no bound was asked for.

mod place;

use std::fs;
use std::path::{Path, PathBuf};

use tollgate_wire::cell::{Bounds, Cell, Control, Feature};

use crate::error::LaunchError;
use crate::obstacle::{Facts, Missing, recognise};
use place::delegation;

/// A control group that is removed when its sandbox has ended.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

/// Groups that we make; what is left of one whose owner was killed is recognised by it.
const PREFIX: &str = "tollgate-";

/// The length of a period that processor time is shared out in, in microseconds.
const PERIOD: u64 = 100_000;

/// Puts the supervisor into a group with the bounds that were asked for, if any were.
pub(crate) fn confine(cell: &Cell, supervisor: u32) -> Result<Option<(Option<Group>, Control)>, LaunchError> {
    if !cell.bounds.need_group() {
        return Ok(None);
    }
    let name = Feature::Cgroup.name().to_owned();
    match make(&cell.hostname, &cell.bounds, supervisor) {
        Ok(group) => {
            let detail = format!("{} of the whole sandbox", describe(&cell.bounds));
            Ok(Some((Some(group), Control { name, enforced: true, detail })))
        }
        Err(reason) if cell.allow_degraded.contains(&Feature::Cgroup) => {
            Ok(Some((None, Control { name, enforced: false, detail: reason })))
        }
        Err(reason) => {
            Err(LaunchError::Missing { feature: name, reason, remedy: recognise(&Facts::gather(), Missing::Cgroup) })
        }
    }
}

/// What to do where nothing is delegated.
pub(crate) const REMEDY: &str = "start it as a unit of your own, which systemd delegates to you: systemd-run --user \
                                 --scope -p Delegate=yes tollgate ...; --ulimit bounds each process without it";

/// Where groups for all bounds can be made, or why they cannot.
///
/// # Errors
/// What the hierarchy lacks, in words.
pub fn available() -> Result<PathBuf, String> {
    delegation(&["memory", "cpu", "pids"]).map(|found| found.folder)
}

fn make(name: &str, bounds: &Bounds, supervisor: u32) -> Result<Group, String> {
    let delegation = delegation(&wanted(bounds))?;
    sweep(&delegation.folder);
    let path = delegation.folder.join(format!("{PREFIX}{name}-{supervisor}"));
    fs::create_dir(&path).map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
    let group = Group(path);
    for (file, value) in settings(bounds) {
        group.set(file, &value)?;
    }
    group.set("cgroup.procs", &supervisor.to_string())?;
    Ok(group)
}

fn wanted(bounds: &Bounds) -> Vec<&'static str> {
    let wanted = [("memory", bounds.memory), ("cpu", bounds.processors), ("pids", bounds.processes)];
    wanted.into_iter().filter_map(|(controller, bound)| bound.map(|_| controller)).collect()
}

fn settings(bounds: &Bounds) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if let Some(bytes) = bounds.memory {
        // All of it ends together: half an agent is none.
        settings.extend([("memory.max", bytes.to_string()), ("memory.oom.group", "1".to_owned())]);
    }
    if let Some(thousandths) = bounds.processors {
        settings.push(("cpu.max", format!("{} {PERIOD}", thousandths.saturating_mul(PERIOD / 1000))));
    }
    if let Some(most) = bounds.processes {
        settings.push(("pids.max", most.to_string()));
    }
    settings
}

fn describe(bounds: &Bounds) -> String {
    let texts = [
        bounds.memory.map(|bytes| format!("{bytes} bytes of memory")),
        bounds.processors.map(|thousandths| format!("{}.{:03} processors", thousandths / 1000, thousandths % 1000)),
        bounds.processes.map(|most| format!("{most} processes")),
    ];
    texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Removes groups whose sandbox is gone; the kernel keeps those that hold a process.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Group {
    fn set(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.0.join(file);
        let written = fs::OpenOptions::new().write(true).open(&path).and_then(|file| {
            use std::io::Write;
            (&file).write_all(value.as_bytes())
        });
        written.map_err(|error| format!("{value} cannot be written to {}: {error}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The supervisor has been waited for, and every process of the sandbox ended before it.
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_the_kernel_reads_them() {
        let bounds = Bounds { memory: Some(1 << 29), processors: Some(1500), processes: Some(64), ..Bounds::default() };
        let expected =
            [("memory.max", "536870912"), ("memory.oom.group", "1"), ("cpu.max", "150000 100000"), ("pids.max", "64")];
        assert_eq!(settings(&bounds), expected.map(|(file, value)| (file, value.to_owned())));
        assert_eq!(wanted(&bounds), ["memory", "cpu", "pids"]);
        assert_eq!(describe(&bounds), "536870912 bytes of memory, 1.500 processors, 64 processes");
        assert_eq!(settings(&Bounds::default()), []);
    }
}
