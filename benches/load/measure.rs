//! What a program and its children have used, as the kernel counts it.

use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A program and everything that it has started.
#[derive(Debug, Clone)]
pub struct Program {
    root: u32,
}

impl Program {
    pub fn new(root: u32) -> Self {
        Self { root }
    }

    /// CPU time so far, in user and system mode, of every thread there ever was in the processes that run now.
    pub fn cpu(&self) -> Duration {
        self.processes().into_iter().filter_map(cpu).sum()
    }

    /// Resident memory in KiB, what the processes share counted once for each of them.
    pub fn resident_kib(&self) -> f64 {
        self.processes().into_iter().filter_map(resident).sum::<u32>().into()
    }

    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.root];
        let mut next = 0;
        while let Some(&process) = found.get(next) {
            found.extend(children(process));
            next += 1;
        }
        found
    }
}

fn cpu(process: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.try_into().ok()?)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

fn resident(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}
