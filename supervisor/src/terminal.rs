//! The terminal, if there is one, goes back to those who had it.
//!
//! An interactive agent makes its own process group the terminal's foreground. When the sandbox ends abruptly, or cannot
//! name a group that lies outside its process namespace, nobody inside gives it back, and the caller's next read from
//! the terminal would stop it.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use nix::unistd::{Pid, getpgrp, setsid, tcgetpgrp, tcsetpgrp};
use tollgate_wire::cell::Control;

/// A foreground that this process's group had.
pub(crate) struct Foreground(Option<Pid>);

impl Foreground {
    /// Remembers it.
    pub(crate) fn of_now() -> Self {
        let group = getpgrp();
        Self(Some(group).filter(|group| terminal_group(std::io::stdin()) == Some(*group)))
    }

    /// Gives it back. `SIGTTOU` must be blocked (tcsetpgrp(3)).
    pub(crate) fn restore(self) {
        if let Some(group) = self.0 {
            // The terminal may be gone; then there is nothing to give back.
            let _ = tcsetpgrp(std::io::stdin(), group);
        }
    }
}

/// True where the agent is given a terminal by one of its standard streams.
fn is_given() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}

/// An agent that is given no terminal gets a session of its own: else `/dev/tty` would lead it to its caller's, where it
/// could read what is typed. To be called in the agent's process before it runs.
pub(crate) fn leave() -> nix::Result<()> {
    if is_given() { Ok(()) } else { setsid().map(drop) }
}

/// How it stands.
pub(crate) fn control() -> Control {
    let detail = if is_given() {
        "the caller's, by its standard streams; typing into it (TIOCSTI) is refused"
    } else {
        "none, and a session of its own"
    };
    Control { name: "terminal".to_owned(), enforced: true, detail: detail.to_owned() }
}

fn terminal_group(stream: impl AsFd) -> Option<Pid> {
    tcgetpgrp(stream).ok()
}
