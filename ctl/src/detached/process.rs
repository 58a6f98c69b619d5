//! The process of a sandbox in the background.

use std::fs::File;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::unistd::{dup2_stderr, dup2_stdin, pipe2, setsid};

use super::report::{Report, Started, Task, receive, send};
use super::{End, Log, PROCESS};
use crate::commands::{Signals, exit_code, runtime, wait_for};
use crate::definition::Definition;
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home};
use crate::session::{Detached, Running, Session, forbid_core_dumps};

/// Becomes the process of a sandbox if this process was started as one. To be called first in `main`.
pub fn run_if_asked() -> Option<ExitCode> {
    if std::env::args().next().as_deref() != Some(PROCESS) {
        return None;
    }
    crate::cli::start_tracing();
    forbid_core_dumps();
    Some(match take_order() {
        Ok((asker, task)) => serve(&asker, task),
        Err(error) => {
            Failure::new(Kind::Other, format!("this is started by `tollgate sandbox` alone: {error}")).report()
        }
    })
}

/// Takes what stands in place of standard input, and leaves the terminal and the session of the command.
fn take_order() -> std::io::Result<(UnixStream, Task)> {
    let asker = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let task = receive(&asker)?;
    dup2_stdin(File::open("/dev/null")?)?;
    setsid()?;
    Ok((asker, task))
}

fn serve(asker: &UnixStream, task: Task) -> ExitCode {
    match prepare(task).and_then(|prepared| run(asker, prepared)) {
        Ok(code) => code,
        Err(failure) => {
            let report = Report::Failed { code: failure.code(), message: failure.message().to_owned() };
            // One that is ready says what happens from then on in its log, which standard error leads to.
            if send(asker, &report).is_err() {
                return failure.report();
            }
            ExitCode::from(failure.code())
        }
    }
}

/// A sandbox that stands, and what it takes to keep it.
struct Prepared {
    session: Session,
    definition: Definition,
    /// The folder was not there before, so that a failure removes it.
    is_new: bool,
    /// The pipe that the log is fed by: its end for reading and its end for writing.
    output: (OwnedFd, OwnedFd),
}

fn prepare(task: Task) -> Result<Prepared, Failure> {
    let home = Home::open()?;
    let Task { name, definition, exists } = task;
    let is_new = !exists && home.sandbox(&name).is_err();
    let claim = home.claim(&name)?;
    if !exists && claim.folder.definition().exists() {
        let message =
            format!("the sandbox {name} exists already; `tollgate sandbox delete {name}` makes room for another");
        return Err(Failure::new(Kind::Usage, message));
    }
    if exists && !claim.folder.definition().exists() {
        return Err(Failure::new(Kind::Other, format!("the sandbox {name} was deleted")));
    }
    let folder = claim.folder.clone();
    let (read, write) =
        pipe2(OFlag::O_CLOEXEC).map_err(|e| Failure::new(Kind::Other, format!("no log can be written: {e}")))?;
    let prepared = enter(claim, definition, exists, &write);
    match prepared {
        Ok((session, definition)) => Ok(Prepared { session, definition, is_new, output: (read, write) }),
        Err(failure) => {
            if is_new {
                // It is ours until this process ends.
                let _ = std::fs::remove_dir_all(&folder.path);
            }
            Err(failure)
        }
    }
}

fn enter(
    claim: Claim,
    definition: Definition,
    resumes: bool,
    output: &OwnedFd,
) -> Result<(Session, Definition), Failure> {
    let name = claim.folder.name.clone();
    let output = output.try_clone().map_err(|e| Failure::new(Kind::Other, format!("no log can be written: {e}")))?;
    let order = definition.options.clone().order(Some(name), definition.command.clone())?;
    let session = Session::prepare_as(order, Some(Detached { claim, output, resumes }))?;
    Ok((session, definition))
}

fn run(asker: &UnixStream, prepared: Prepared) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    let folder = prepared.session.folder().clone();
    let is_new = prepared.is_new;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        let running = begin(asker, prepared).await.inspect_err(|_| {
            if is_new {
                let _ = std::fs::remove_dir_all(&folder.path);
            }
        })?;
        look_after(running, signals).await
    });
    runtime.shutdown_background();
    ended
}

/// Starts the agent, keeps the definition, says that it is ready.
async fn begin(asker: &UnixStream, prepared: Prepared) -> Result<Running, Failure> {
    let Prepared { session, definition, output: (read, write), .. } = prepared;
    let started = Started {
        pid: std::process::id(),
        journal: session.journal_path().display().to_string(),
        degraded: session.degraded().to_vec(),
    };
    let lost = |e: &dyn std::fmt::Display| Failure::new(Kind::Other, format!("no log can be written: {e}"));
    Log::create(session.folder())?.pump(read)?;
    let running = session.start().await?;
    definition.save(running.folder())?;
    End::forget(running.folder())?;
    // From here on what this process has to say is in the log as well, and the command's standard error is free.
    dup2_stderr(&write).map_err(|e| lost(&e))?;
    send(asker, &Report::Started(started)).map_err(|e| lost(&e))?;
    Ok(running)
}

/// To its end, which is noted.
async fn look_after(mut running: Running, mut signals: Signals) -> Result<ExitCode, Failure> {
    let outcome = wait_for(&mut running, &mut signals).await;
    let end = End::of(&outcome, running.was_stopped());
    let folder = running.folder().clone();
    let noted = end.save(&folder);
    running.close(&outcome).await.and(noted)?;
    Ok(exit_code(&outcome))
}
