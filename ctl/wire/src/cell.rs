//! The hand-over: what the control process asks of the supervisor, and what the supervisor answers.
//!
//! Everything here crosses the fence between the process that holds secrets and the one that builds the sandbox, so no
//! secret has a field to stand in: environment values are placeholders already.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proof::Proof;

/// A sandbox to build: the whole order, given once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Host name inside, an RFC 1123 label.
    pub hostname: String,
    /// Program and arguments of the agent. A program without a slash is looked up in `PATH` of `environment`.
    pub command: Vec<String>,
    /// The agent's whole environment.
    pub environment: Vec<(String, String)>,
    /// Working directory, absolute, as seen inside.
    pub workdir: PathBuf,
    /// What of the host's file tree is visible.
    pub files: Files,
    /// User and group to become; nothing means the caller's own. Must be given when the caller is root.
    pub run_as: Option<(u32, u32)>,
    /// Ports that get a listener of their own where nf_tables is missing.
    pub ports: Vec<u16>,
    /// Features that may be missing.
    pub allow_degraded: Vec<Feature>,
    /// How much it may use.
    pub bounds: Bounds,
    /// What to try before the agent starts; nothing where the operator switched it off.
    pub proof: Option<Proof>,
}

/// How much a sandbox may use. What is not given is as the supervisor's defaults say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Limits of each process (setrlimit(2)); never above what the caller has.
    pub limits: Vec<(Limit, u64)>,
    /// Memory of all processes together, in bytes.
    pub memory: Option<u64>,
    /// Processor time of all processes together, in thousandths of one processor.
    pub processors: Option<u64>,
    /// Processes and threads together.
    pub processes: Option<u64>,
}

impl Bounds {
    /// True where something is bound for the sandbox as a whole, which takes a control group.
    #[must_use]
    pub fn need_group(&self) -> bool {
        self.memory.is_some() || self.processors.is_some() || self.processes.is_some()
    }
}

/// A limit of setrlimit(2), by the name that ulimit(1) and limits.conf(5) know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Bytes of address space.
    As,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of a file.
    Fsize,
    /// Bytes of locked memory.
    Memlock,
    /// Open files.
    Nofile,
    /// Processes and threads of the agent's user inside.
    Nproc,
    /// Bytes of the main thread's stack.
    Stack,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::As, Self::Cpu, Self::Fsize, Self::Memlock, Self::Nofile, Self::Nproc, Self::Stack];

    /// The name used on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Cpu => "cpu",
            Self::Fsize => "fsize",
            Self::Memlock => "memlock",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Stack => "stack",
        }
    }
}

/// The visible part of the host's file tree; everything else does not exist inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Absolute paths that can be read and executed. A path that does not exist is left out.
    pub read_only: Vec<PathBuf>,
    /// Absolute paths that can be changed as well. A path that does not exist is left out.
    pub read_write: Vec<PathBuf>,
    /// An unpacked image that is seen beside them. Where both show one path, the host's counts.
    pub image: Option<Image>,
    /// Host files that appear read-only under another name, laid over what is there: `(host path, path inside)`.
    pub overlays: Vec<(PathBuf, PathBuf)>,
    /// Folders below writable grants that must not be renamed away, as those above a read-only overlay.
    pub pinned: Vec<PathBuf>,
    /// The agent's home: an empty directory of its own in memory unless one of the lists above grants it.
    pub home: PathBuf,
    /// `landlock.compatibility: hard_requirement`: a granted path that is missing or cannot be fenced stops the start.
    pub hard_requirement: bool,
}

impl Files {
    /// Every path that can be read, whether it is the host's or the image's.
    pub fn all_read_only(&self) -> impl Iterator<Item = &PathBuf> {
        self.image.iter().flat_map(|image| &image.read_only).chain(&self.read_only)
    }

    /// Every path that can be changed, whether it is the host's or the image's.
    pub fn all_read_write(&self) -> impl Iterator<Item = &PathBuf> {
        self.image.iter().flat_map(|image| &image.read_write).chain(&self.read_write)
    }
}

/// The visible part of an unpacked image: paths as if its folder were the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its folder on the host, absolute and free of links.
    pub root: PathBuf,
    /// As in [`Files`]; `/` means all that lies in it.
    pub read_only: Vec<PathBuf>,
    /// As in [`Files`]; what is changed is changed in the folder.
    pub read_write: Vec<PathBuf>,
}

/// A protection that some kernels lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Landlock file rules on top of the mounts.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// Capture of every TCP port; without it only the ports that the policy names are captured.
    Nftables,
    /// Bounds for the sandbox as a whole, where some were asked for.
    Cgroup,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Landlock, Self::Seccomp, Self::Nftables, Self::Cgroup];

    /// The name used on the command line and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Nftables => "nftables",
            Self::Cgroup => "cgroup",
        }
    }
}

/// One protection and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// For example `user-namespace`, `landlock`, `seccomp`, `nftables`.
    pub name: String,
    /// Whether it is in force.
    pub enforced: bool,
    /// What exactly, or why not: `ABI 7`, `kernel has no Landlock`.
    pub detail: String,
}
