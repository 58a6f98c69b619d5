//! The terminal, if there is one, goes back to those who had it.
//!
//! An interactive agent makes its own process group the terminal's foreground. When the sandbox ends abruptly, or cannot
//! name a group that lies outside its process namespace, nobody inside gives it back, and the caller's next read from
//! the terminal would stop it.

use std::os::fd::AsFd;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

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

fn terminal_group(stream: impl AsFd) -> Option<Pid> {
    tcgetpgrp(stream).ok()
}
