//! The one program of Tollgate: control, proxy, and, started again by itself, supervisor.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the supervisor must not inherit what the lines below set up.
    tollgate_supervisor::enter_if_supervisor();
    tollgate_ctl::main()
}
