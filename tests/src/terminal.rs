//! Programs at a terminal of the test's.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

/// A program whose three streams are a terminal of 111 columns and 33 rows.
pub struct AtTerminal {
    /// The program.
    pub child: Child,
    screen: BufReader<File>,
    keys: File,
    /// The program's side of the terminal.
    pub terminal: OwnedFd,
}

impl AtTerminal {
    /// Starts it there.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
        let both = openpty(&size, None).expect("a terminal");
        command.env("TERM", "vt100");
        let stream = || Stdio::from(both.slave.try_clone().expect("cloned"));
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("started");
        let screen = File::from(both.master.try_clone().expect("cloned"));
        Self { child, screen: BufReader::new(screen), keys: File::from(both.master), terminal: both.slave }
    }

    /// Whether keys go to the program as they are pressed.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).expect("a terminal").local_flags.contains(LocalFlags::ICANON)
    }

    /// Reads the screen up to a line that holds a text, and gives that line.
    #[track_caller]
    pub fn line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.screen.read_line(&mut line).expect("readable") > 0, "no line with {text:?}");
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("pressed");
    }

    /// Its exit code; the terminal is as it was.
    #[must_use]
    pub fn end(mut self) -> i32 {
        let status = self.child.wait().expect("ended");
        assert!(!self.is_raw(), "the terminal is as it was");
        status.code().unwrap_or(-1)
    }

    /// All that it writes to its end, and its exit code.
    #[must_use]
    pub fn watch(mut self) -> (String, i32) {
        drop(self.terminal);
        let mut seen = Vec::new();
        // Once nobody has the other side any more, reading fails (EIO).
        while let Ok(1..) = self.screen.by_ref().take(1 << 16).read_to_end(&mut seen) {}
        let status = self.child.wait().expect("ended");
        (String::from_utf8_lossy(&seen).into_owned(), status.code().unwrap_or(-1))
    }
}
