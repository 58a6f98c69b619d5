//! `openshell logs`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tollgate_audit::Severity;

use super::provider::missing;
use crate::commands::logs::{Filter, Style, Wanted, show_agent, show_journal, since};
use crate::commands::sandbox::running;
use crate::failure::Failure;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// The last lines
    #[arg(short = 'n', value_name = "NUMBER", default_value_t = 200)]
    lines: usize,
    /// Go on until the sandbox ends
    #[arg(long)]
    tail: bool,
    /// Only what happened since: 30s, 5m, 2h, 1d ago, or a time as 2026-05-04T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Whose log
    #[arg(long, value_enum, default_value_t)]
    source: Source,
    /// At least so grave
    #[arg(long, value_enum, default_value_t)]
    level: Level,
}

/// Whose log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Source {
    /// What the gate of the sandbox decided.
    Sandbox,
    /// The same: there is nothing else here that decides.
    #[default]
    All,
    /// Of a gateway, of which there is none here.
    #[value(hide = true)]
    Gateway,
    /// What the agent printed.
    Agent,
}

/// How grave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Level {
    /// A protection that did not hold.
    Error,
    /// And everything that was refused.
    Warn,
    /// And everything else.
    #[default]
    Info,
    /// The same.
    Debug,
    /// The same.
    Trace,
}

/// Shows a log.
pub fn logs(arguments: LogsArguments) -> Result<(), Failure> {
    let LogsArguments { name, lines, tail, since, source, level } = arguments;
    if source == Source::Gateway {
        let instead = "there is no gateway here, each sandbox has a process of its own; leave --source out";
        return Err(missing("logs --source gateway", instead));
    }
    let folder = running(name)?;
    if source == Source::Agent {
        return show_agent(&folder, Some(lines), tail);
    }
    let least = match level {
        Level::Error => Some(Severity::High),
        Level::Warn => Some(Severity::Medium),
        Level::Info | Level::Debug | Level::Trace => None,
    };
    let filter = Filter { since, least, ..Filter::default() };
    show_journal(&folder, &Wanted { filter, lines: Some(lines), follow: tail, style: Style::Sourced })
}
