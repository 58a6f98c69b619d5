//! The front door for the command lines of NemoClaw; see `tollgate_ctl::nemoclaw`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // As in `tollgate`: what starts a sandbox starts itself again as its supervisor.
    tollgate_supervisor::enter_if_supervisor();
    tollgate_ctl::nemoclaw()
}
