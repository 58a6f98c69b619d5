//! `sandbox exec` and `sandbox connect`: a program beside the agent, as if it ran here.
//!
//! Bytes are copied between our standard streams and the program's pipes, or its terminal; signals and the window's size are
//! passed on. When we end, however we end, the connection closes and the program is hung up on.

use std::io::{IsTerminal, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use nix::sys::signal::Signal;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tollgate_supervisor::{Ends, ExecError, Executing, LaunchError, Visit, window_size};
use tollgate_wire::exec::{Exec, WindowSize};

use super::running;
use super::streams::{PASSED_ON, copy};
use crate::commands::exit_code;
use crate::definition::variable;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::operator::{ClientError, check_socket};

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
    let connection = knock(sandbox)?;
    // Before any thread exists, so that each of them leaves signals to the one that passes them on.
    PASSED_ON.thread_block().map_err(|e| lost(&e))?;
    let Executing { visit, ends } = Executing::start(connection, &exec).map_err(refused)?;
    let visit = Arc::new(visit);
    let raw = matches!(ends, Ends::Terminal(_)).then(Raw::enter);
    let expired = timeout.map(|timeout| end_after(timeout, &visit));
    let (copies, done) = copy(ends, &visit).map_err(|e| lost(&e))?;
    let outcome = visit.wait();
    if expired.is_some_and(|expired| expired.load(Ordering::SeqCst)) {
        // Ended by the thread that looks at the clock, which says so and exits.
        loop {
            thread::park();
        }
    }
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

/// Connects to where programs beside the agent are asked for.
pub(super) fn knock(sandbox: &SandboxFolder) -> Result<UnixStream, Failure> {
    let socket = sandbox.visitors_socket();
    if let Err(error @ ClientError::Untrusted { .. }) = check_socket(&socket) {
        return Err(Failure::new(Kind::Other, format!("sandbox {}: {error}", sandbox.name)));
    }
    UnixStream::connect(socket).map_err(|e| not_running(sandbox, &e))
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

pub(super) fn refused(error: ExecError) -> Failure {
    let kind = match &error {
        ExecError::Refused(LaunchError::NotFound(_) | LaunchError::NotVisible { .. }) => Kind::NotFound,
        ExecError::Refused(LaunchError::NotExecutable { .. }) => Kind::NotExecutable,
        ExecError::Refused(LaunchError::BadOrder(_)) => Kind::Usage,
        _ => Kind::Other,
    };
    Failure::new(kind, error.to_string())
}

pub(super) fn lost(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Other, format!("the command cannot be looked after: {error}"))
}

/// Ends this process, and so the program, when it took too long; true from before the program hears of it.
fn end_after(timeout: Duration, visit: &Arc<Visit>) -> Arc<AtomicBool> {
    let (visit, expired) = (Arc::clone(visit), Arc::new(AtomicBool::new(false)));
    let expires = Arc::clone(&expired);
    thread::spawn(move || {
        thread::sleep(timeout);
        expires.store(true, Ordering::SeqCst);
        let _ = visit.signal(Signal::SIGTERM as i32);
        Raw::leave();
        eprintln!("tollgate: the command took longer than {} seconds and was ended", timeout.as_secs());
        std::process::exit(i32::from(Failure::new(Kind::TimedOut, "").code()))
    });
    expired
}

/// Our terminal, as it was before its keys went to the program.
struct Raw;

static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Raw {
    /// Every key goes to the program: interrupt, stop and end of file too.
    fn enter() -> Self {
        if let Ok(before) = tcgetattr(stdin()) {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            // A terminal that cannot be set shows keys twice, which is no reason to end.
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &raw);
        }
        Self
    }

    /// As it was.
    fn leave() {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
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
