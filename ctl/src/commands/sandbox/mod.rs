//! `tollgate sandbox`: sandboxes that stay. Behind `openshell sandbox` as well.

mod capture;
mod exec;
mod show;
mod streams;
mod transfer;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;
use serde_json::json;

pub use capture::capture;
pub use exec::{ExecArguments, ExecOptions, Tty, exec, plainly, run_inside, shell};
pub use show::{GetArguments, ListArguments, all, created, described, get, list};
pub use transfer::{DownloadArguments, UploadArguments, download, upload};

use crate::agent_config;
use crate::commands::logs::{SandboxLogsArguments, sandbox_logs};
use crate::commands::policy::only_one;
use crate::definition::{Definition, Options};
use crate::detached::{self, Started, Task};
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home, SandboxFolder, check_name};
use crate::operator::{ClientError, STOP, ask};
use crate::output::Output;
use crate::revisions::now_ms;
use crate::session::{STOP_GRACE, draw_name, passed};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Make a sandbox that stays, and return when it is ready
    Create(Box<CreateArguments>),
    /// Show all sandboxes and how they stand
    List(ListArguments),
    /// Show one sandbox
    Get(GetArguments),
    /// Run a command in a sandbox, under the restrictions of its agent, and end as it ends
    Exec(ExecArguments),
    /// Open a shell in a sandbox
    Connect {
        /// The sandbox; the one that runs if absent
        name: Option<String>,
    },
    /// End what runs in sandboxes; `start` brings them back
    Stop {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// How to print; an object for each
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Start sandboxes that were stopped or have ended, with the policy that was in force last
    Start {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// How to print; an object for each
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// End sandboxes and remove them: definition, log, policies, journal
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// How to print; an object for each
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Copy a file or folder of this machine into a sandbox
    Upload(UploadArguments),
    /// Copy a file or folder out of a sandbox; links that lead out of it, devices and the like are left out
    Download(DownloadArguments),
    /// Show what the agent of a sandbox has printed, or with --source gate what the gate decided
    Logs(SandboxLogsArguments),
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// A name for the sandbox; drawn if absent
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    options: Options,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The agent and its arguments; without one the sandbox waits for `exec` and `connect`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Does what a subcommand says.
pub fn sandbox(command: SandboxCommand) -> Result<ExitCode, Failure> {
    match command {
        SandboxCommand::Create(arguments) => {
            let CreateArguments { name, options, output, command } = *arguments;
            let (name, started) = create(name, options, command)?;
            say_started("created", &name, &started, output);
            if output == Output::Text {
                println!("{name}");
            }
        }
        SandboxCommand::List(arguments) => list(&arguments)?,
        SandboxCommand::Get(arguments) => get(&arguments)?,
        SandboxCommand::Exec(arguments) => return exec(arguments),
        SandboxCommand::Connect { name } => return run_inside(&running(name)?, Tty::Always, shell()),
        SandboxCommand::Stop { names, output } => {
            each(&names, |name| stop(name).map(|_| say_ended("stopped", name, output)))?;
        }
        SandboxCommand::Start { names, output } => {
            each(&names, |name| start(name).map(|started| say_started("started", name, &started, output)))?;
        }
        SandboxCommand::Delete { names, output } => {
            each(&names, |name| delete(name).map(|()| say_ended("deleted", name, output)))?;
        }
        SandboxCommand::Upload(arguments) => upload(arguments)?,
        SandboxCommand::Download(arguments) => download(arguments)?,
        SandboxCommand::Logs(arguments) => sandbox_logs(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does all of it, says of each what failed, and fails with the last failure.
pub fn each(names: &[String], act: impl Fn(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut failures: Vec<_> = names.iter().filter_map(|name| act(name).err()).collect();
    let last = failures.pop();
    for failure in &failures {
        failure.report();
    }
    last.map_or(Ok(()), Err)
}

fn say_started(what: &str, name: &str, started: &Started, output: Output) {
    let Started { pid, journal, degraded } = started;
    output.done(&json!({ "name": name, "pid": pid, "journal": journal, "degraded": degraded }), || {
        for feature in degraded {
            eprintln!("tollgate: running WITHOUT {feature}, as allowed by --allow-degraded");
        }
        eprintln!("tollgate: {name} is {what} and ready, pid {pid}, journal {journal}");
    });
}

fn say_ended(what: &str, name: &str, output: Output) {
    output.done(&json!({ "name": name, what: true }), || eprintln!("tollgate: {name} is {what}"));
}

/// Makes a sandbox and gives its name.
pub fn create(name: Option<String>, options: Options, command: Vec<String>) -> Result<(String, Started), Failure> {
    let name = name.map_or_else(draw_name, Ok)?;
    check_name(&name)?;
    let workdir = std::env::current_dir()
        .map_err(|e| Failure::new(Kind::Usage, format!("the working directory cannot be found: {e}")))?;
    let definition = Definition {
        created_at_ms: now_ms(),
        workdir,
        passed: passed().collect(),
        options: options.with_values()?,
        command,
    };
    let started = detached::start(&Task { name: name.clone(), definition, exists: false })?;
    Ok((name, started))
}

/// Starts a sandbox that was made before.
pub fn start(name: &str) -> Result<Started, Failure> {
    let home = Home::open()?;
    let folder = home.sandbox(name)?;
    if folder.is_held() {
        return Err(Failure::new(Kind::Other, format!("the sandbox {name} runs already")));
    }
    let mut definition = Definition::load(&folder)?.ok_or_else(|| not_kept(name))?;
    for reset in agent_config::leave_out_reset(&home, &folder, &mut definition.options)? {
        eprintln!(
            "tollgate: warning: {reset}, a token of the agent's configuration, was reset: requests with it are refused until it is set \
             anew with `nemoclaw {name} config set`"
        );
    }
    let started = detached::start(&Task { name: name.to_owned(), definition, exists: true })?;
    if let Err(failure) = agent_config::restore(&folder) {
        eprintln!("tollgate: warning: the agent's configuration is not what was set: {}", failure.message());
    }
    Ok(started)
}

fn not_kept(name: &str) -> Failure {
    let message = format!(
        "the sandbox {name} ran for as long as its command and left its journal; `tollgate sandbox create` makes one that stays"
    );
    Failure::new(Kind::Other, message)
}

/// Ends a sandbox, and gives its folder.
pub fn stop(name: &str) -> Result<Claim, Failure> {
    let home = Home::open()?;
    let folder = home.sandbox(name)?;
    if !folder.is_held() {
        return Err(Failure::new(Kind::Other, format!("the sandbox {name} does not run")));
    }
    match crate::commands::asking_runtime()?.block_on(ask::<u32>(&folder.socket(), Method::POST, STOP)) {
        Ok(_) => {}
        Err(ClientError::NotRunning) => {
            let message = format!("the sandbox {name} is starting; try again in a moment");
            return home.claim_within(name, ENDING).map_err(|_| Failure::new(Kind::Other, message));
        }
        Err(error @ ClientError::Untrusted { .. }) => {
            return Err(Failure::new(Kind::Other, format!("sandbox {name}: {error}")));
        }
        Err(error) => {
            eprintln!("tollgate: the sandbox {name}: {error}; it is killed");
            kill_process(&folder)?;
        }
    }
    // What is asked to end is ended after its grace; the rest is the journal's last words.
    home.claim_within(name, STOP_GRACE * 2)
}

/// A process that was killed answers nobody, and holds its folder until the kernel has taken it apart.
const ENDING: Duration = Duration::from_secs(1);

/// A process that holds the folder and does not answer is ended by who listens on its socket.
fn kill_process(folder: &SandboxFolder) -> Result<(), Failure> {
    let killed = std::os::unix::net::UnixStream::connect(folder.socket()).and_then(|socket| {
        let peer = getsockopt(&socket, PeerCredentials)?;
        Ok(kill(Pid::from_raw(peer.pid()), Signal::SIGKILL)?)
    });
    killed.map_err(|e| Failure::new(Kind::Other, format!("the sandbox {} cannot be ended: {e}", folder.name)))
}

/// Ends a sandbox if it runs, and removes it.
pub fn delete(name: &str) -> Result<(), Failure> {
    let home = Home::open()?;
    let claim = if home.sandbox(name)?.is_held() { stop(name)? } else { home.claim(name)? };
    agent_config::forget(&home, &claim.folder)?;
    claim.remove()
}

/// The folder of a sandbox that runs: the one that is named, or the only one.
pub fn running(name: Option<String>) -> Result<SandboxFolder, Failure> {
    let home = Home::open()?;
    let name = name.map_or_else(|| only_one(&home), Ok)?;
    home.sandbox(&name)
}
