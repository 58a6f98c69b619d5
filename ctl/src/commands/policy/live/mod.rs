//! `policy set|get|list|rollback`: the policy of a running sandbox, asked and changed over its control socket.
//!
//! Behind both `tollgate policy` and `openshell policy`, in the layout that users of the latter know: what is found goes to
//! stdout, what was done to stderr. When a change is reported it is in force for every new request.

mod print;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tollgate_wire::policy::{Applied, Problem, Replacement, Revisions, Rollback, Shown};

use print::{described, mistake, print_shown, report, summary, table};

use super::read;
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};
use crate::operator::{ClientError, POLICY, REVISIONS, ROLLBACK, fetch, send};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum LiveCommand {
    /// Put a policy in force in a running sandbox
    Set(SetArguments),
    /// Show the policy of a running sandbox, or an earlier one of it
    Get(GetArguments),
    /// Show the policies that a running sandbox had, newest first
    List(ListArguments),
    /// Put an earlier policy of a running sandbox in force again
    Rollback(RollbackArguments),
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub struct SetArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    change: ChangeArguments,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// The revision to go back to, as `list` numbers them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rev: u64,
    #[command(flatten)]
    change: ChangeArguments,
}

/// What every change takes.
#[derive(Debug, Args)]
struct ChangeArguments {
    /// Say that it is in force; it always is when this command returns
    #[arg(long)]
    wait: bool,
    /// The longest to wait; ends with 124
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_SECONDS))]
    timeout: u64,
    /// Change nothing unless the policy in force has this hash, of which 12 digits are enough
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    #[command(flatten)]
    scope: Scope,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// A revision, as `list` numbers them; 0 is the one in force
    #[arg(long, value_name = "N", default_value_t = 0)]
    rev: u64,
    /// Print the policy as well, with what providers bring
    #[arg(long, conflicts_with = "base")]
    full: bool,
    /// Print the policy as well, without what providers bring
    #[arg(long)]
    base: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    scope: Scope,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    scope: Scope,
}

/// One policy for every sandbox is taken as an argument to say that there is none.
#[derive(Debug, Args)]
struct Scope {
    #[arg(long, hide = true)]
    global: bool,
    #[arg(long, hide = true)]
    yes: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines and columns.
    #[default]
    Table,
    /// JSON.
    Json,
}

/// A day.
const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// Does what a subcommand says.
pub fn live(command: LiveCommand) -> Result<(), Failure> {
    match command {
        LiveCommand::Set(arguments) => set(arguments),
        LiveCommand::Rollback(arguments) => roll_back(arguments),
        LiveCommand::Get(arguments) => get(&arguments),
        LiveCommand::List(arguments) => list(&arguments),
    }
}

fn set(arguments: SetArguments) -> Result<(), Failure> {
    let SetArguments { name, policy, change } = arguments;
    let sandbox = Sandbox::find(name, &change.scope)?;
    let body = Replacement { text: read(&policy)?, expected: change.expect.clone() };
    let shown = policy.display().to_string();
    report(&sandbox.change((Method::PUT, POLICY), &body, &change, &shown)?, change.wait);
    Ok(())
}

fn roll_back(arguments: RollbackArguments) -> Result<(), Failure> {
    let RollbackArguments { name, rev, change } = arguments;
    let sandbox = Sandbox::find(name, &change.scope)?;
    let body = Rollback { revision: rev, expected: change.expect.clone() };
    let shown = format!("revision {rev}");
    report(&sandbox.change((Method::POST, ROLLBACK), &body, &change, &shown)?, change.wait);
    Ok(())
}

fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let GetArguments { name, rev, full, base, output, scope } = arguments;
    let sandbox = Sandbox::find(name.clone(), scope)?;
    let mut query = Vec::new();
    query.extend((*rev > 0).then(|| format!("revision={rev}")));
    query.extend(full.then(|| "text=effective".to_owned()));
    query.extend(base.then(|| "text=base".to_owned()));
    let shown: Shown = sandbox.fetch(&format!("{POLICY}?{}", query.join("&")))?;
    match output {
        Format::Json => println!("{:#}", described(&sandbox.name, &shown, *rev > 0, *full || *base)),
        Format::Table => print_shown(&shown, *rev > 0),
    }
    Ok(())
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let sandbox = Sandbox::find(arguments.name.clone(), &arguments.scope)?;
    let Revisions { active, revisions } = sandbox.fetch(REVISIONS)?;
    let shown = || revisions.iter().take(arguments.limit);
    if arguments.output == Format::Json {
        let all: Vec<_> = shown().map(summary).collect();
        println!("{:#}", json!({ "sandbox": sandbox.name, "active_version": active, "revisions": all }));
        return Ok(());
    }
    table(shown());
    Ok(())
}

/// A sandbox that is asked.
struct Sandbox {
    name: String,
    folder: SandboxFolder,
    runtime: tokio::runtime::Runtime,
}

impl Sandbox {
    fn find(name: Option<String>, scope: &Scope) -> Result<Self, Failure> {
        if scope.global {
            let message =
                "there is no policy for all sandboxes here: each has its own, so name the sandbox in place of --global";
            return Err(Failure::new(Kind::Other, message));
        }
        let home = Home::open()?;
        let name = name.map_or_else(|| only_one(&home), Ok)?;
        check_name(&name)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))?;
        if let Some(folder) = home.sandboxes().into_iter().find(|folder| folder.name == name) {
            return Ok(Self { name, folder, runtime });
        }
        let message = match home.proxies().iter().any(|folder| folder.name == name) {
            true => format!("{name} is a proxy: edit the policy files of its agents, which are followed"),
            false => format!(
                "there is no sandbox {name} in {}; `tollgate status` shows those that run",
                home.path().display()
            ),
        };
        Err(Failure::new(Kind::Other, message))
    }

    fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.runtime.block_on(fetch(&self.folder.socket(), path)).map_err(|error| self.failure(error, ""))
    }

    fn change(
        &self,
        to: (Method, &str),
        body: &impl Serialize,
        change: &ChangeArguments,
        shown: &str,
    ) -> Result<Applied, Failure> {
        let timeout = Duration::from_secs(change.timeout);
        let sent = self.runtime.block_on(send(&self.folder.socket(), to, body, timeout));
        sent.map_err(|error| match error {
            ClientError::TimedOut => {
                let (name, seconds) = (&self.name, change.timeout);
                let message = format!(
                    "Timeout waiting for the sandbox {name} to load the policy, {seconds} seconds; `policy get {name}` says what is in force"
                );
                Failure::new(Kind::TimedOut, message)
            }
            other => self.failure(other, shown),
        })
    }

    fn failure(&self, error: ClientError, shown: &str) -> Failure {
        match error {
            ClientError::Refused(http::StatusCode::UNPROCESSABLE_ENTITY, Problem { message, mistakes }) => {
                let lines: Vec<_> = mistakes.iter().map(|one| mistake(one, shown)).collect();
                Failure::new(Kind::Policy, format!("{message}:\n{}", lines.join("\n")))
            }
            ClientError::Refused(_, problem) => Failure::new(Kind::Other, problem.message),
            other => Failure::new(Kind::Other, format!("sandbox {}: {other}", self.name)),
        }
    }
}

/// The sandbox that is meant where none is named.
pub fn only_one(home: &Home) -> Result<String, Failure> {
    let runs = |folder: &SandboxFolder| std::os::unix::net::UnixStream::connect(folder.socket()).is_ok();
    let running: Vec<_> = home.sandboxes().into_iter().filter(runs).map(|folder| folder.name).collect();
    match running.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(Kind::Other, "no sandbox is running")),
        many => {
            let message = format!("{} sandboxes are running, so name one: {}", many.len(), many.join(", "));
            Err(Failure::new(Kind::Other, message))
        }
    }
}
