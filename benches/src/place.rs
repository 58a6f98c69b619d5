//! A state folder, a policy, a folder to work in, and the bench itself as an agent, all of an ordinary user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;
use tempfile::TempDir;

/// `nobody`.
const ORDINARY: u32 = 65534;

/// It is gone when this is dropped.
pub struct Place {
    folder: TempDir,
    program: PathBuf,
}

impl Place {
    /// Makes it, with the `tollgate` that `TOLLGATE_BENCH_PROGRAM` names; that is built if absent.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        // Not below /tmp, which is memory inside.
        let folder = tempfile::Builder::new().prefix("tollgate-bench-").tempdir_in("/var/tmp").expect("a folder");
        let place = Self { folder, program: PathBuf::new() };
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
            if Uid::effective().is_root() {
                chown(path, Some(ORDINARY), Some(ORDINARY)).expect("given away");
            }
        };
        for name in ["home", "work"] {
            std::fs::create_dir(place.path(name)).expect("made");
            open(&place.path(name), 0o700);
        }
        std::fs::write(place.path("policy.yaml"), policy).expect("written");
        std::fs::copy(std::env::current_exe().expect("known"), place.path("agent")).expect("copied");
        std::fs::copy(tollgate(), place.path("tollgate")).expect("copied");
        for name in ["policy.yaml", "agent", "tollgate", ""] {
            open(&place.path(name), 0o755);
        }
        Self { program: place.path("tollgate"), ..place }
    }

    /// A path of it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `tollgate`.
    #[must_use]
    pub fn tollgate(&self) -> Command {
        self.command(&self.program)
    }

    /// The bench as the agent of a sandbox.
    #[must_use]
    pub fn inside(&self, options: &[&str], agent: &[&str]) -> Command {
        let mut command = self.tollgate();
        command.args(["run", "--quiet", "--policy"]).arg(self.path("policy.yaml")).args(options);
        command.arg("--").arg(self.path("agent")).arg("agent").args(agent);
        command
    }

    /// The same without a sandbox.
    #[must_use]
    pub fn outside(&self, agent: &[&str]) -> Command {
        let mut command = self.command(&self.path("agent"));
        command.arg("agent").args(agent);
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("work"));
        command.env("TOLLGATE_HOME", self.path("home")).current_dir(self.path("work"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if Uid::effective().is_root() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }
}

/// The program to measure.
fn tollgate() -> PathBuf {
    if let Some(program) = std::env::var_os("TOLLGATE_BENCH_PROGRAM") {
        return PathBuf::from(program);
    }
    crate::program::built().unwrap_or_else(|error| panic!("{error}"))
}
