//! `logs`: what the gate decided, from the journal, or what the agent printed. Behind `tollgate logs`, `tollgate sandbox logs` and
//! the front doors.

mod agent;
mod filter;
mod journal;

use clap::{Args, ValueEnum};

pub use filter::{Filter, since};
pub use journal::{Style, Wanted, show as show_journal, whole_line};

use super::policy::only_one;
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};
use crate::output::Output;

/// Arguments of `tollgate logs`.
#[derive(Debug, Args)]
pub struct LogsArguments {
    /// The sandbox or proxy; the one that runs if absent
    pub name: Option<String>,
    /// What to show
    #[arg(long, value_enum, default_value_t)]
    pub source: Source,
    #[command(flatten)]
    pub options: LogsOptions,
}

/// Arguments of `tollgate sandbox logs`.
#[derive(Debug, Args)]
pub struct SandboxLogsArguments {
    /// The sandbox
    name: String,
    /// What to show
    #[arg(long, value_enum, default_value_t = Source::Agent)]
    source: Source,
    #[command(flatten)]
    options: LogsOptions,
}

/// What is shown of it and how.
#[derive(Debug, Clone, Default, Args)]
pub struct LogsOptions {
    /// Go on until the sandbox ends
    #[arg(long, short)]
    pub follow: bool,
    /// The last lines alone
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub lines: Option<usize>,
    #[command(flatten)]
    pub filter: Filter,
    /// How to print: a line for people, or an OCSF event a line
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// What the gate saw and decided: the journal.
    #[default]
    Gate,
    /// What the agent printed.
    Agent,
}

/// `tollgate logs`.
pub fn logs(arguments: LogsArguments) -> Result<(), Failure> {
    let LogsArguments { name, source, options } = arguments;
    let home = Home::open()?;
    let name = name.map_or_else(|| only_one(&home), Ok)?;
    show(&find(&home, &name)?, source, options)
}

/// `tollgate sandbox logs`.
pub fn sandbox_logs(arguments: SandboxLogsArguments) -> Result<(), Failure> {
    let SandboxLogsArguments { name, source, options } = arguments;
    show(&Home::open()?.sandbox(&name)?, source, options)
}

/// A sandbox or a proxy.
fn find(home: &Home, name: &str) -> Result<SandboxFolder, Failure> {
    check_name(name)?;
    match home.proxies().into_iter().find(|folder| folder.name == name) {
        Some(proxy) => Ok(proxy),
        None => home.sandbox(name),
    }
}

fn show(folder: &SandboxFolder, source: Source, options: LogsOptions) -> Result<(), Failure> {
    let LogsOptions { follow, lines, filter, output } = options;
    match source {
        Source::Gate => {
            let style = if output == Output::Json { Style::Ocsf } else { Style::Line };
            show_journal(folder, &Wanted { filter, lines, follow, style })
        }
        Source::Agent if output == Output::Json || filter.is_set() => {
            let message = "what the agent printed is text without a form: filters and -o json are for --source gate";
            Err(Failure::new(Kind::Usage, message))
        }
        Source::Agent => agent::show(folder, lines, follow),
    }
}

/// What the agent of a sandbox has printed.
pub fn show_agent(folder: &SandboxFolder, lines: Option<usize>, follow: bool) -> Result<(), Failure> {
    agent::show(folder, lines, follow)
}
