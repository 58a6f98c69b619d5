//! Sandboxes that outlive the command that made them: the same process as behind `tollgate run`, started in the background.
//!
//! ```text
//! tollgate sandbox create ── spawns ──▶ the sandbox's process ── spawns ──▶ supervisor
//!          ╰─────── what to do, and how it went ───────╯   (a socket, in place of standard input)
//! ```
//!
//! There is no daemon: each sandbox has its own process, and only that.

mod log;
mod phase;
mod process;
mod report;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub use log::{Log, MAX_LOG_BYTES};
pub use phase::{End, Phase, Sandbox};
pub use process::run_if_asked;
pub use report::{Started, Task};

use crate::failure::{Failure, Kind};
use report::{Report, receive, send};

/// The name under which the program starts itself again in the background.
const PROCESS: &str = "tollgate-sandbox";

/// Starts a sandbox in the background and returns when it is ready.
///
/// # Errors
/// Why it did not start, with the kind that `tollgate run` ends with.
pub fn start(task: &Task) -> Result<Started, Failure> {
    let broken = |e: std::io::Error| Failure::new(Kind::Other, format!("the sandbox's process cannot be started: {e}"));
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(PROCESS).current_dir(&task.definition.workdir).envs(task.definition.passed.iter().cloned());
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
    let mut child = command.spawn().map_err(broken)?;
    // The command holds a copy of the socket, which would hide that the process has ended.
    drop(command);
    match send(&ours, task).and_then(|()| receive(&ours)) {
        Ok(Report::Started(started)) => Ok(started),
        Ok(Report::Failed { code, message }) => {
            let _ = child.wait();
            Err(Failure::new(Kind::of_code(code), message))
        }
        Err(_) => {
            let how = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
            Err(Failure::new(Kind::Other, format!("the sandbox's process ended before it was ready ({how})")))
        }
    }
}
