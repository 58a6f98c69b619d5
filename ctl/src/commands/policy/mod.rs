//! `tollgate policy`: what a policy says, asked without running anything, and the policy of a running sandbox.
//!
//! Every answer comes from the functions that decide at run time; these commands read files, ask the sandbox, and print.

mod check;
mod diff;
mod explain;
mod live;
mod show;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tollgate_policy::document::{Imported, import};
use tollgate_policy::{Diagnostics, Policy};

pub use live::{LiveCommand, Running, live, only_one, report};

use crate::failure::{Failure, Kind};
use crate::output::Output;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Validate policies, in any dialect: every mistake at once, with line and column
    Check(CheckArguments),
    /// Say what a policy answers to one request, why, and what would have to change
    Explain(Box<ExplainArguments>),
    /// Ask a policy a list of cases and compare with what they expect
    Test(TestArguments),
    /// Say what changed in meaning from one policy to another
    Diff(DiffArguments),
    /// Print a policy in its canonical form
    Show(ShowArguments),
    #[command(flatten)]
    Live(LiveCommand),
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The policies
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warn of what loads and is probably wider than meant
    #[arg(long)]
    lint: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The host that is asked for
    #[arg(long)]
    host: String,
    /// Its port
    #[arg(long, default_value_t = 443)]
    port: u16,
    /// The program that asks; an unknown one if absent
    #[arg(long, value_name = "PATH")]
    binary: Option<String>,
    /// The programs that started it, parent first
    #[arg(long = "ancestor", value_name = "PATH")]
    ancestors: Vec<String>,
    /// The method; WEBSOCKET_TEXT for a text message. With neither method nor path only the connection is asked for
    #[arg(long)]
    method: Option<String>,
    /// The path, with or without a query
    #[arg(long)]
    path: Option<String>,
    /// The query, without its `?`
    #[arg(long)]
    query: Option<String>,
    /// A file with the request's body, taken for JSON
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The agent, for entries with `when:`
    #[arg(long)]
    agent: Option<String>,
    /// The user, for entries with `when:`
    #[arg(long)]
    user: Option<String>,
    /// The label of the data, for entries with `when:`
    #[arg(long)]
    sensitivity: Option<String>,
    /// The time, as 2026-05-04T09:00:00Z, for entries with `when:`; now if absent
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The cases: a YAML or JSON list of {name?, host, port?, binary?, ancestors?, method?, path?, body?, expect, rule?}
    #[arg(value_name = "CASES")]
    cases: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The policy before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The policy after
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Ask both the requests of this journal as well
    #[arg(long, value_name = "JOURNAL")]
    requests: Option<PathBuf>,
    /// End with 1 when anything differs
    #[arg(long)]
    exit_code: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Does what a subcommand says.
pub fn policy(command: PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Check(arguments) => check::check(&arguments),
        PolicyCommand::Explain(arguments) => explain::explain(*arguments),
        PolicyCommand::Test(arguments) => test::test(&arguments),
        PolicyCommand::Diff(arguments) => diff::diff(&arguments),
        PolicyCommand::Show(arguments) => show::show(&arguments),
        PolicyCommand::Live(command) => live(command).map(|()| ExitCode::SUCCESS),
    }
}

/// Larger files are refused before they are read.
const MAX_FILE_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> Result<String, Failure> {
    let unreadable =
        |e: &dyn std::fmt::Display| Failure::new(Kind::Policy, format!("{} cannot be read: {e}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| unreadable(&e))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(&format!("it has {size} bytes, more than {MAX_FILE_BYTES}")));
    }
    std::fs::read_to_string(path).map_err(|e| unreadable(&e))
}

/// Reads a policy in any dialect.
fn document(path: &Path) -> Result<Imported, Failure> {
    import(&read(path)?).map_err(|diagnostics| not_valid(path, &diagnostics))
}

fn load(path: &Path) -> Result<Policy, Failure> {
    Policy::compile(document(path)?.document).map_err(|diagnostics| not_valid(path, &diagnostics))
}

fn not_valid(path: &Path, diagnostics: &Diagnostics) -> Failure {
    Failure::new(Kind::Policy, format!("not valid:\n{}", lines(path, diagnostics)))
}

/// One mistake a line, as compilers print them.
fn lines(path: &Path, diagnostics: &Diagnostics) -> String {
    let lines: Vec<_> = diagnostics.iter().map(|d| format!("{}:{d}", path.display())).collect();
    lines.join("\n")
}
