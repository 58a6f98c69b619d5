//! `sandbox exec` and `sandbox connect`: a program beside the agent, as if it ran here.
//!
//! Bytes are copied between our standard streams and the program's pipes, or its terminal; signals and the window's size are
//! passed on. When we end, however we end, the connection closes and the program is hung up on.

use std::fs::File;
use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{pipe2, read};
use tollgate_supervisor::{Ends, ExecError, Executing, LaunchError, Visit, set_window_size, window_size};
use tollgate_wire::exec::{Exec, WindowSize};

use super::running;
use crate::commands::exit_code;
use crate::definition::variable;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct ExecArguments {
    /// The sandbox
    name: String,
    #[command(flatten)]
    options: ExecOptions,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct ExecOptions {
    /// The working directory, as seen inside; the agent's if absent
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Pass a variable of yours, or set one
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub environment: Vec<String>,
    /// End it after so many seconds, with 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Give it a terminal even where standard input or output is none
    #[arg(long, short, conflicts_with = "no_tty")]
    pub tty: bool,
    /// Give it pipes even where both are a terminal
    #[arg(long, short = 'T')]
    pub no_tty: bool,
}

/// Whether a program gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tty {
    /// It does.
    Always,
    /// It does where standard input and output are one.
    AsHere,
    /// It does not.
    Never,
}

/// What is to be run, and for how long at most.
#[derive(Debug)]
pub struct Command {
    exec: Exec,
    timeout: Option<Duration>,
}

/// At most this is copied at once: what a pipe holds.
const PART_BYTES: usize = 64 << 10;

/// More than a pipe may hold (pipe(7), pipe-max-size): what comes after it was not the program's.
const MAX_PIPE_BYTES: usize = 2 << 20;

/// Where no terminal tells its size.
const USUAL_SIZE: WindowSize = WindowSize { rows: 24, columns: 80 };

impl ExecOptions {
    /// Whether it gets a terminal.
    pub fn wants_tty(&self) -> Tty {
        match (self.tty, self.no_tty) {
            (true, _) => Tty::Always,
            (_, true) => Tty::Never,
            _ => Tty::AsHere,
        }
    }

    /// With what is to be run.
    pub fn command(self, command: Vec<String>) -> Result<Command, Failure> {
        let environment = self.environment.iter().map(|text| variable(text)).collect::<Result<_, _>>()?;
        let exec = Exec { command, environment, workdir: self.workdir, terminal: None };
        Ok(Command { exec, timeout: self.timeout.map(Duration::from_secs) })
    }
}

/// A command with nothing more to say of it.
pub fn plainly(command: Vec<String>) -> Command {
    Command { exec: Exec { command, ..Exec::default() }, timeout: None }
}

/// A shell.
pub fn shell() -> Command {
    Command { exec: Exec::default(), timeout: None }
}

/// Runs a command in a sandbox.
pub fn exec(arguments: ExecArguments) -> Result<ExitCode, Failure> {
    let ExecArguments { name, options, command } = arguments;
    let tty = options.wants_tty();
    run_inside(&running(Some(name))?, tty, options.command(command)?)
}

/// Runs a command in a sandbox to its end, and ends as it ends.
pub fn run_inside(sandbox: &SandboxFolder, tty: Tty, command: Command) -> Result<ExitCode, Failure> {
    let Command { mut exec, timeout } = command;
    if tty == Tty::Always || (tty == Tty::AsHere && stdin().is_terminal() && stdout().is_terminal()) {
        exec.terminal = Some(window_size(stdin()).unwrap_or(USUAL_SIZE));
        exec.environment.extend(std::env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)));
    }
    let connection = UnixStream::connect(sandbox.visitors_socket()).map_err(|e| not_running(sandbox, &e))?;
    // Before any thread exists, so that each of them leaves signals to the one that passes them on.
    PASSED_ON.thread_block().map_err(|e| lost(&e))?;
    let Executing { visit, ends } = Executing::start(connection, &exec).map_err(refused)?;
    let visit = Arc::new(visit);
    let raw = matches!(ends, Ends::Terminal(_)).then(Raw::enter);
    timeout.map(|timeout| end_after(timeout, &visit));
    let (copies, done) = copy(ends, &visit).map_err(|e| lost(&e))?;
    let outcome = visit.wait();
    drop(done);
    // What it wrote is in its pipes; what others of the sandbox write there later is not waited for.
    copies.into_iter().for_each(|copy| drop(copy.join()));
    drop(raw);
    match outcome {
        Ok(outcome) => Ok(exit_code(&outcome)),
        Err(_) => {
            Err(Failure::new(Kind::Other, format!("the sandbox {} has ended, and the command with it", sandbox.name)))
        }
    }
}

fn not_running(sandbox: &SandboxFolder, error: &std::io::Error) -> Failure {
    let name = &sandbox.name;
    let message = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => format!(
            "the sandbox {name} is not running; `tollgate sandbox get {name}` says how it stands, `tollgate sandbox start {name}` starts it"
        ),
        _ => format!("the sandbox {name} cannot be reached: {error}"),
    };
    Failure::new(Kind::Other, message)
}

fn refused(error: ExecError) -> Failure {
    let kind = match &error {
        ExecError::Refused(LaunchError::NotFound(_) | LaunchError::NotVisible { .. }) => Kind::NotFound,
        ExecError::Refused(LaunchError::NotExecutable { .. }) => Kind::NotExecutable,
        ExecError::Refused(LaunchError::BadOrder(_)) => Kind::Usage,
        _ => Kind::Other,
    };
    Failure::new(kind, error.to_string())
}

fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Other, format!("the command cannot be looked after: {error}"))
}

/// Starts what copies: threads that end with the program, and the pipe that tells them of its end when it is dropped.
fn copy(ends: Ends, visit: &Arc<Visit>) -> std::io::Result<(Vec<JoinHandle<()>>, OwnedFd)> {
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
static PASSED_ON: std::sync::LazyLock<SigSet> = std::sync::LazyLock::new(|| {
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

/// Ends this process, and so the program, when it took too long.
fn end_after(timeout: Duration, visit: &Arc<Visit>) {
    let visit = Arc::clone(visit);
    thread::spawn(move || {
        thread::park_timeout(timeout);
        let _ = visit.signal(Signal::SIGTERM as i32);
        Raw::leave();
        eprintln!("tollgate: the command took longer than {} seconds and was ended", timeout.as_secs());
        std::process::exit(i32::from(Failure::new(Kind::TimedOut, "").code()))
    });
}

/// Our terminal, as it was before its keys went to the program.
struct Raw;

static BEFORE: std::sync::Mutex<Option<Termios>> = std::sync::Mutex::new(None);

impl Raw {
    /// Every key goes to the program: interrupt, stop and end of file too.
    fn enter() -> Self {
        if let Ok(before) = tcgetattr(stdin()) {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            *BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(before);
            // A terminal that cannot be set shows keys twice, which is no reason to end.
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &raw);
        }
        Self
    }

    /// As it was.
    fn leave() {
        let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(before) = before {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &before);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        Self::leave();
    }
}
