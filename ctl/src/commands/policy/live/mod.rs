//! `policy set|get|list|rollback`: the policy of a running sandbox, asked and changed over its control socket.
//!
//! Behind both `tollgate policy` and `openshell policy`, in the layout that users of the latter know: what is found goes to
//! stdout, what was done to stderr. When a change is reported it is in force for every new request.

mod print;
mod running;
mod update;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use tollgate_wire::policy::{Applied, Replacement, Revisions, Rollback, Shown};

pub use print::report;
use print::{changed, described, print_shown, summary, table};
pub use running::Running;
use update::{UpdateArguments, update};

use super::read;
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};
use crate::operator::{POLICY, REVISIONS, ROLLBACK};
use crate::output::print_json;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum LiveCommand {
    /// Put a policy in force in a running sandbox
    Set(SetArguments),
    /// Change single endpoints and rules of a running sandbox; nobody else's change is lost
    Update(Box<UpdateArguments>),
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
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
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

impl ChangeArguments {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
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
        LiveCommand::Update(arguments) => update(*arguments),
        LiveCommand::Rollback(arguments) => roll_back(arguments),
        LiveCommand::Get(arguments) => get(&arguments),
        LiveCommand::List(arguments) => list(&arguments),
    }
}

fn set(arguments: SetArguments) -> Result<(), Failure> {
    let SetArguments { name, policy, change } = arguments;
    let sandbox = find(name, &change.scope)?;
    let body = Replacement { text: read(&policy)?, expected: change.expect.clone() };
    let shown = policy.display().to_string();
    let applied = sandbox.change((Method::PUT, POLICY), &body, change.patience(), &shown)?;
    tell(&sandbox.name, &applied, change.wait, change.output);
    Ok(())
}

/// What a change came to.
fn tell(sandbox: &str, applied: &Applied, wait: bool, output: Format) {
    match output {
        Format::Table => report(applied, wait),
        Format::Json => print_json(&changed(sandbox, applied)),
    }
}

fn roll_back(arguments: RollbackArguments) -> Result<(), Failure> {
    let RollbackArguments { name, rev, change } = arguments;
    let sandbox = find(name, &change.scope)?;
    let body = Rollback { revision: rev, expected: change.expect.clone() };
    let shown = format!("revision {rev}");
    let applied = sandbox.change((Method::POST, ROLLBACK), &body, change.patience(), &shown)?;
    tell(&sandbox.name, &applied, change.wait, change.output);
    Ok(())
}

fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let GetArguments { name, rev, full, base, output, scope } = arguments;
    if scope.global {
        return no_history();
    }
    let sandbox = find(name.clone(), scope)?;
    let mut query = Vec::new();
    query.extend((*rev > 0).then(|| format!("revision={rev}")));
    query.extend(full.then(|| "text=effective".to_owned()));
    query.extend(base.then(|| "text=base".to_owned()));
    let shown: Shown = sandbox.fetch(&format!("{POLICY}?{}", query.join("&")))?;
    match output {
        Format::Json => print_json(&described(&sandbox.name, &shown, *rev > 0, *full || *base)),
        Format::Table => print_shown(&shown, *rev > 0),
    }
    Ok(())
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    if arguments.scope.global {
        return no_history();
    }
    let sandbox = find(arguments.name.clone(), &arguments.scope)?;
    let Revisions { active, revisions } = sandbox.fetch(REVISIONS)?;
    let shown = || revisions.iter().take(arguments.limit);
    if arguments.output == Format::Json {
        let all: Vec<_> = shown().map(summary).collect();
        print_json(&json!({ "sandbox": sandbox.name, "active_version": active, "revisions": all }));
        return Ok(());
    }
    table(shown());
    Ok(())
}

/// Asked about the policy of all sandboxes, of which there never is one.
fn no_history() -> Result<(), Failure> {
    eprintln!("No global policy history found");
    Ok(())
}

fn find(name: Option<String>, scope: &Scope) -> Result<Running, Failure> {
    if scope.global {
        let message =
            "there is no policy for all sandboxes here: each has its own, so name the sandbox in place of --global";
        return Err(Failure::new(Kind::Other, message));
    }
    Running::find(name)
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
