//! What passes between our standard streams and those of a program beside the agent: bytes, signals, the window's size.

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{pipe2, read};
use tollgate_supervisor::{Ends, Visit, set_window_size, window_size};

/// Starts what copies: threads that end with the program, and the pipe that tells them of its end when it is dropped.
pub fn copy(ends: Ends, visit: &Arc<Visit>) -> std::io::Result<(Vec<JoinHandle<()>>, OwnedFd)> {
    let (over, done) = pipe2(OFlag::O_CLOEXEC)?;
    let over = Arc::new(over);
    let outputs = match ends {
        Ends::Pipes { input, output, error } => {
            pass_signals_on(visit, None);
            thread::spawn(move || feed(&mut File::from(input)));
            let (output, error, also) = (File::from(output), File::from(error), Arc::clone(&over));
            vec![
                thread::spawn(move || drain(output, &mut stdout(), &over)),
                thread::spawn(move || drain(error, &mut stderr(), &also)),
            ]
        }
        Ends::Terminal(terminal) => {
            let (mut keys, screen) = (File::from(terminal.try_clone()?), File::from(terminal.try_clone()?));
            pass_signals_on(visit, Some(terminal));
            thread::spawn(move || feed_terminal(&mut keys));
            vec![thread::spawn(move || drain(screen, &mut stdout(), &over))]
        }
    };
    Ok((outputs, done))
}

/// Copies standard input until it ends, and then ends the program's.
fn feed(input: &mut File) {
    let mut part = vec![0; PART_BYTES];
    // Unbuffered: what is read here is passed on.
    while let Ok(length @ 1..) = read_some(stdin(), &mut part) {
        if input.write_all(&part[..length]).is_err() {
            return;
        }
    }
}

/// A terminal has no end of its own: it is told by a key.
fn feed_terminal(keys: &mut File) {
    feed(keys);
    if !stdin().is_terminal() {
        let _ = keys.write_all(END_OF_FILE);
    }
}

/// Control-D, as terminals are set when they are made (termios(3), VEOF).
const END_OF_FILE: &[u8] = b"\x04";

/// Copies what the program writes until it closes it; once the program has ended, only what is there already.
fn drain(mut from: File, to: &mut dyn Write, over: &OwnedFd) {
    let mut part = vec![0; PART_BYTES];
    let mut left = MAX_PIPE_BYTES;
    while left > 0 {
        let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN), PollFd::new(over.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let [readable, is_over] = ready.map(|fd| fd.any().unwrap_or(true));
        // Nothing to read, and the program has ended.
        if !readable {
            return;
        }
        // A terminal that nobody holds any more answers with an error (EIO).
        let Ok(length @ 1..) = from.read(&mut part) else { return };
        if is_over {
            left = left.saturating_sub(length);
        }
        if to.write_all(&part[..length]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn read_some(from: impl AsFd, part: &mut [u8]) -> nix::Result<usize> {
    loop {
        match read(&from, part) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// What a program may be told by signals. A stop (`SIGTSTP`) is for us: the program is another session's.
pub static PASSED_ON: LazyLock<SigSet> = LazyLock::new(|| {
    let all = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
    ];
    all.into_iter().collect()
});

/// Passes signals on, and the window's size where there is a terminal.
fn pass_signals_on(visit: &Arc<Visit>, terminal: Option<OwnedFd>) {
    let visit = Arc::clone(visit);
    thread::spawn(move || {
        while let Ok(signal) = PASSED_ON.wait() {
            match (signal, &terminal) {
                (Signal::SIGWINCH, Some(terminal)) => {
                    // A window that is gone has no size.
                    let _ = window_size(stdin()).and_then(|size| set_window_size(terminal, size));
                }
                (Signal::SIGWINCH, None) => {}
                (signal, _) => {
                    // The program may have ended in this moment.
                    let _ = visit.signal(signal as i32);
                }
            }
        }
    });
}

/// At most this is copied at once: what a pipe holds.
const PART_BYTES: usize = 64 << 10;

/// More than a pipe may hold (pipe(7), pipe-max-size): what comes after it was not the program's.
const MAX_PIPE_BYTES: usize = 2 << 20;
