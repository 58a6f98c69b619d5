//! The agent: finding its program, starting it, waiting for it.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, pipe2, read, setsid};
use tollgate_wire::cell::Cell;

use crate::error::{At, LaunchError};
use crate::handover::Outcome;
use crate::sys::{self, Fork};
use crate::terminal;

/// A program that can be started, with everything that starting it takes.
pub(crate) struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    workdir: PathBuf,
    shown: String,
}

/// The standard streams of a program.
pub(crate) enum Streams {
    /// Those of process 1.
    Inherited,
    /// Pipes, in a session of its own: standard input, output and error.
    Pipes([OwnedFd; 3]),
    /// A terminal that controls a session of its own.
    Terminal(OwnedFd),
}

/// Starting a program takes milliseconds, from a slow disk seconds. The agent may have stopped it before it began.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where COMMAND was found on the host, before the host's tree was left.
pub(crate) fn find_on_host(cell: &Cell) -> Option<PathBuf> {
    cell.command.first().and_then(|command| find(cell, command, |path| path.is_file()))
}

impl Program {
    /// Finds COMMAND in the sandbox's own tree.
    pub(crate) fn resolve(cell: &Cell, on_host: Option<&Path>) -> Result<Self, LaunchError> {
        let command = cell.command.first().ok_or_else(|| LaunchError::BadOrder("there is no COMMAND".to_owned()))?;
        let executable = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let Some(path) = find(cell, command, executable) else {
            return Err(missing(cell, command, on_host));
        };
        let text =
            |text: &str| CString::new(text).map_err(|_| LaunchError::BadOrder("COMMAND holds a NUL byte".to_owned()));
        Ok(Self {
            path: CString::new(path.as_os_str().as_bytes()).at("name the program")?,
            arguments: cell.command.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?,
            environment: cell
                .environment
                .iter()
                .map(|(name, value)| text(&format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            workdir: cell.workdir.clone(),
            shown: command.clone(),
        })
    }

    /// Starts it. Returns once it runs, or with the reason why it does not.
    pub(crate) fn start(&self, streams: Streams) -> Result<Pid, LaunchError> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).at("make a pipe")?;
        match sys::fork().at("start the program")? {
            Fork::Child => self.exec(write, streams),
            Fork::Parent(child) => {
                drop((write, streams));
                let reason = hear(read).inspect_err(|_| end(child)).at("hear of the program's start")?;
                if reason.is_empty() {
                    return Ok(child);
                }
                Err(LaunchError::NotExecutable { command: self.shown.clone(), reason })
            }
        }
    }

    /// Never returns: becomes the agent or says why not.
    fn exec(&self, report: OwnedFd, streams: Streams) -> ! {
        let reason = match self.take(streams).and_then(|()| self.prepare(report.as_raw_fd())) {
            Ok(()) => match execve(&self.path, &self.arguments, &self.environment) {
                Err(error) => explain(error).to_owned(),
                Ok(never) => match never {},
            },
            Err(reason) => reason,
        };
        // If nobody hears it the exit code still says that it did not start.
        let _ = nix::unistd::write(&report, reason.as_bytes());
        std::process::exit(126)
    }

    /// Takes its place and its streams, if they are not those of process 1.
    fn take(&self, streams: Streams) -> Result<(), String> {
        let text = |error: Errno| error.desc().to_owned();
        chdir(&self.workdir).map_err(|e| format!("its working directory {}: {}", self.workdir.display(), e.desc()))?;
        let [input, output, error] = match &streams {
            Streams::Inherited => return terminal::leave().map_err(text),
            Streams::Pipes([input, output, error]) => [input, output, error],
            Streams::Terminal(terminal) => [terminal; 3],
        };
        setsid().map_err(text)?;
        if let Streams::Terminal(terminal) = &streams {
            sys::control(terminal.as_fd()).map_err(|e| e.to_string())?;
        }
        dup2_stdin(input).and_then(|()| dup2_stdout(output)).and_then(|()| dup2_stderr(error)).map_err(text)?;
        // What is left of them is closed with everything else.
        std::mem::forget(streams);
        Ok(())
    }

    /// What a fresh process expects: ordinary signals, and no descriptors but the first three and the report.
    fn prepare(&self, report: i32) -> Result<(), String> {
        let text = |error: Errno| error.desc().to_owned();
        SigSet::all().thread_unblock().map_err(text)?;
        sys::reset_signals(&SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty()), &[Signal::SIGPIPE])
            .map_err(text)?;
        sys::close_between(3, report).and_then(|()| sys::close_from(report + 1)).map_err(|e| e.to_string())
    }
}

/// What execve(2) means by its errors for a file that is there and has the permission.
fn explain(error: Errno) -> &'static str {
    match error {
        Errno::ENOENT => {
            "the interpreter or loader that it asks for is not visible in the sandbox; grant its folder with --read-only"
        }
        Errno::ENOEXEC => "it is neither a program for this machine nor a script with a #! line",
        Errno::EACCES => "its interpreter, or the file system that it lies on, may not be executed",
        Errno::E2BIG => "its arguments and environment are too long",
        other => other.desc(),
    }
}

/// What a program that starts says on its pipe: nothing once it runs.
fn hear(report: OwnedFd) -> Result<String, Errno> {
    let (mut reason, mut part) = (Vec::new(), [0; 256]);
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(report.as_fd(), PollFlags::POLLIN)], left)? == 0 {
            return Err(Errno::ETIMEDOUT);
        }
        match read(&report, &mut part)? {
            0 => return Ok(String::from_utf8_lossy(&reason).into_owned()),
            length => reason.extend_from_slice(&part[..length]),
        }
    }
}

/// One that has not begun must not begin later.
fn end(child: Pid) {
    let _ = kill(child, Signal::SIGKILL);
}

/// Waits for a child that has ended, without blocking; says which it was and how.
pub(crate) fn reap() -> Option<(Pid, Outcome)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                return Some((pid, Outcome::Exited(u8::try_from(code).unwrap_or(u8::MAX))));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Some((pid, Outcome::Signalled(signal as i32))),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

fn find(cell: &Cell, command: &str, fits: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if command.contains('/') {
        return Some(cell.workdir.join(command)).filter(|path| fits(path));
    }
    let path = cell.environment.iter().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, path)| path);
    std::env::split_paths(path).map(|folder| cell.workdir.join(folder).join(command)).find(|path| fits(path))
}

fn missing(cell: &Cell, command: &str, on_host: Option<&Path>) -> LaunchError {
    let command = command.to_owned();
    if let Some(path) = find(cell, &command, Path::exists) {
        let reason = if path.is_dir() { "it is a folder" } else { "it has no execute permission" };
        return LaunchError::NotExecutable { command, reason: reason.to_owned() };
    }
    match on_host {
        Some(host) => LaunchError::NotVisible { command, host: host.display().to_string() },
        None => LaunchError::NotFound(command),
    }
}
