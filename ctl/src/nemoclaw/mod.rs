//! A front door for the command lines that NemoClaw's users know: the same code behind them, the sandbox's name first.
//!
//! 0 is done, 1 any failure, 2 the command line. What is found goes to stdout, what was done and what failed to stderr. A command
//! that is not behind this door says what to use in its place.

mod config;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::sandbox::{ListArguments, Tty, list, run_inside, running, shell};
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// The command line without a sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "nemoclaw",
    version,
    about = "Tollgate behind the command line of NemoClaw",
    after_help = "With a sandbox: nemoclaw NAME COMMAND; see `nemoclaw NAME --help`.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all sandboxes
    List,
    #[command(external_subcommand)]
    Named(Vec<OsString>),
}

/// The command line with a sandbox.
#[derive(Debug, Parser)]
#[command(name = "nemoclaw NAME", about = "One sandbox", disable_help_subcommand = true)]
struct OneCli {
    #[command(subcommand)]
    command: Option<OneCommand>,
}

#[derive(Debug, Subcommand)]
enum OneCommand {
    /// Open a shell in it
    Connect,
    /// Read or set the configuration of its agent
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = crate::detached::run_if_asked() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return said(&error),
    };
    crate::cli::start_tracing();
    crate::session::forbid_core_dumps();
    crate::session::hide_memory();
    let done = match cli.command {
        None => help(&mut Cli::command()),
        Some(Command::List) => list(&ListArguments { names: false, output: Output::Text }).map(|()| ExitCode::SUCCESS),
        Some(Command::Named(words)) => named(&words),
    };
    done.unwrap_or_else(|failure| report(&failure))
}

fn said(error: &clap::Error) -> ExitCode {
    // Its code is 2 for a mistake and 0 for help; a pipe that is gone has nobody to be told.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("nemoclaw: {}", failure.message());
    failure.front_door_code()
}

fn help(command: &mut clap::Command) -> Result<ExitCode, Failure> {
    println!("{}", command.render_help());
    Ok(ExitCode::SUCCESS)
}

/// `nemoclaw NAME …`, or a command that is known and not behind this door.
fn named(words: &[OsString]) -> Result<ExitCode, Failure> {
    let (name, rest) =
        words.split_first().map_or_else(Default::default, |(name, rest)| (name.to_string_lossy().into_owned(), rest));
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str())) {
        return Err(Failure::new(Kind::Other, format!("`nemoclaw {name}` is not here: {instead}")));
    }
    let own = std::iter::once(OsString::from(format!("nemoclaw {name}"))).chain(rest.iter().cloned());
    match OneCli::try_parse_from(own) {
        Ok(cli) => one(&name, cli.command),
        Err(error) => Ok(said(&error)),
    }
}

fn one(name: &str, command: Option<OneCommand>) -> Result<ExitCode, Failure> {
    let Some(command) = command else { return help(&mut OneCli::command()) };
    match command {
        OneCommand::Connect => return run_inside(&running(Some(name.to_owned()))?, Tty::Always, shell()),
        OneCommand::Config { command } => config::config(name, command)?,
        OneCommand::Other(words) => return Err(other(name, &words)),
    }
    Ok(ExitCode::SUCCESS)
}

/// A word after a sandbox's name that is no command here.
fn other(name: &str, words: &[OsString]) -> Failure {
    let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    match ELSEWHERE_NAMED.iter().find(|(names, _)| names.contains(&word.as_str())) {
        Some((_, instead)) => Failure::new(Kind::Other, format!("`nemoclaw {name} {word}` is not here: {instead}")),
        None => Failure::new(Kind::Usage, format!("unrecognized subcommand '{word}'; see `nemoclaw {name} --help`")),
    }
}

/// Commands without a sandbox that are known and not behind this door, and what to use in their place.
const ELSEWHERE: &[(&[&str], &str)] =
    &[(&["onboard", "setup"], "make a sandbox with `tollgate sandbox create --policy FILE -- COMMAND`")];

/// The same with a sandbox.
const ELSEWHERE_NAMED: &[(&[&str], &str)] = &[(&["shields"], "change the policy, as with `openshell policy set`")];
