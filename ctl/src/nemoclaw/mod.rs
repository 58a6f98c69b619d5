//! A front door for the command lines that NemoClaw's users know: the same code behind them, the sandbox's name first.
//!
//! 0 is done, 1 any failure, 2 the command line. What is found goes to stdout, what was done and what failed to stderr. A command
//! that is not behind this door says what to use in its place.

mod config;
mod debug;
mod policy;

use std::ffi::OsString;
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use tollgate_policy::diagnostic::closest;

use crate::commands::logs::{Filter, Style, Wanted, show_journal, since};
use crate::commands::sandbox::{
    self as life, DownloadArguments, GetArguments, ListArguments, Tty, UploadArguments, run_inside, running, shell,
};
use crate::commands::{CompletionsArguments, CredentialCommand, completions, credential, status};
use crate::detached::Sandbox;
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::output::Output;
use crate::suggestion::{subcommands, unrecognized};

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
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show what runs and what is in force
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show or forget the credentials of the store
    Credentials {
        #[command(subcommand)]
        command: CredentialsCommand,
    },
    /// Collect what helps to find a fault, without secrets
    Debug(debug::DebugArguments),
    /// Print a script that completes these commands in a shell
    Completion(CompletionsArguments),
    #[command(external_subcommand)]
    Named(Vec<OsString>),
}

#[derive(Debug, Subcommand)]
enum CredentialsCommand {
    /// Show the names of all credentials, never a value
    List,
    /// Forget a credential
    Reset {
        /// Its name
        name: String,
        #[arg(long, hide = true)]
        yes: bool,
    },
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
    /// Show how it stands
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Open a shell in it
    Connect,
    /// Show what its gate decided
    Logs(LogsArguments),
    /// Read or set the configuration of its agent
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    /// Change its policy by presets and hosts, or show which it has
    Policy {
        #[command(subcommand)]
        command: policy::PolicyCommand,
    },
    #[command(hide = true)]
    PolicyAdd(policy::Add),
    #[command(hide = true)]
    PolicyRemove(policy::Remove),
    #[command(hide = true)]
    PolicyList(policy::List),
    /// End it and remove everything of it
    Destroy {
        /// Ask nothing
        #[arg(long, visible_alias = "force")]
        yes: bool,
        #[arg(long, hide = true)]
        cleanup_gateway: bool,
    },
    /// Copy a file or folder of this machine into it
    Upload {
        /// The file or folder
        local: PathBuf,
        /// The folder inside; the agent's working directory if absent
        remote: Option<PathBuf>,
    },
    /// Copy a file or folder out of it
    Download {
        /// The file or folder inside
        remote: PathBuf,
        /// The folder of this machine; the working directory if absent
        local: Option<PathBuf>,
    },
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
struct LogsArguments {
    /// Go on until the sandbox ends
    #[arg(long, short)]
    follow: bool,
    /// The last lines
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 200)]
    tail: usize,
    /// Only what happened since: 30s, 5m, 2h, 1d ago, or a time as 2026-05-04T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
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
        Some(command) => all(command),
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
    let sandboxes = Home::open()?.sandboxes();
    let names: Vec<_> = sandboxes.iter().map(|folder| folder.name.as_str()).collect();
    let own = subcommands(&Cli::command());
    // A command, rather than a sandbox of another name.
    let is_near =
        closest(&name, own.iter().map(String::as_str)).is_some() && closest(&name, names.iter().copied()).is_none();
    if !names.contains(&name.as_str()) && (rest.is_empty() || is_near) {
        let said = unrecognized(&name, &Cli::command(), &names, "nemoclaw --help");
        return Err(Failure::new(Kind::Usage, format!("{said}; no sandbox is called so either")));
    }
    let own = std::iter::once(OsString::from(format!("nemoclaw {name}"))).chain(rest.iter().cloned());
    match OneCli::try_parse_from(own) {
        Ok(cli) => one(&name, cli.command),
        Err(error) => Ok(said(&error)),
    }
}

/// What is about no single sandbox.
fn all(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List { json } => life::list(&ListArguments { names: false, output: output(json) })?,
        Command::Status { json } => return status(None, output(json)),
        Command::Credentials { command: CredentialsCommand::List } => {
            return credential(CredentialCommand::List { output: Output::Text });
        }
        Command::Credentials { command: CredentialsCommand::Reset { name, .. } } => {
            return credential(CredentialCommand::Reset { name, output: Output::Text });
        }
        Command::Debug(arguments) => debug::debug(&arguments)?,
        Command::Completion(arguments) => completions::<Cli>("nemoclaw", arguments)?,
        Command::Named(words) => return named(&words),
    }
    Ok(ExitCode::SUCCESS)
}

fn one(name: &str, command: Option<OneCommand>) -> Result<ExitCode, Failure> {
    let Some(command) = command else { return help(&mut OneCli::command()) };
    match command {
        OneCommand::Status { json: true } => status_json(name)?,
        OneCommand::Status { json: false } => {
            life::get(&GetArguments { name: Some(name.to_owned()), output: Output::Text })?;
        }
        OneCommand::Connect => return run_inside(&running(Some(name.to_owned()))?, Tty::Always, shell()),
        OneCommand::Logs(LogsArguments { follow, tail, since }) => {
            let filter = Filter { since, ..Filter::default() };
            let wanted = Wanted { filter, lines: Some(tail), follow, style: Style::Sourced };
            show_journal(&running(Some(name.to_owned()))?, &wanted)?;
        }
        OneCommand::Config { command } => config::config(name, command)?,
        OneCommand::Policy { command } => policy::policy(name, command)?,
        OneCommand::PolicyAdd(arguments) => policy::policy(name, policy::PolicyCommand::Add(arguments))?,
        OneCommand::PolicyRemove(arguments) => policy::policy(name, policy::PolicyCommand::Remove(arguments))?,
        OneCommand::PolicyList(arguments) => policy::policy(name, policy::PolicyCommand::List(arguments))?,
        OneCommand::Destroy { yes, .. } => destroy(name, yes)?,
        OneCommand::Upload { local, remote } => {
            life::upload(UploadArguments { name: name.to_owned(), local, remote, output: Output::Text })?
        }
        OneCommand::Download { remote, local } => {
            life::download(DownloadArguments { name: name.to_owned(), remote, local, output: Output::Text })?;
        }
        OneCommand::Other(words) => return Err(other(name, &words)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What programs read, also of a sandbox that is not there.
fn status_json(name: &str) -> Result<(), Failure> {
    let folder = Home::open()?.sandbox(name);
    let looked = folder.map(|folder| crate::commands::asking_runtime()?.block_on(Sandbox::look(folder)));
    let mut shown = match &looked {
        Ok(Ok(sandbox)) => life::described(sandbox),
        _ => json!({ "name": name }),
    };
    shown["schemaVersion"] = 1.into();
    shown["found"] = looked.is_ok().into();
    println!("{shown:#}");
    looked?.map(drop)
}

fn output(json: bool) -> Output {
    if json { Output::Json } else { Output::Text }
}

/// Asks first, where there is somebody to ask.
fn destroy(name: &str, yes: bool) -> Result<(), Failure> {
    let folder = running(Some(name.to_owned()))?;
    if !yes && !stdin().is_terminal() {
        let message =
            format!("{name} would be gone with its journal, and there is no terminal to confirm it at; say --yes");
        return Err(Failure::new(Kind::Other, message));
    }
    if !yes {
        eprint!("Remove the sandbox {name} with its policies and its journal? [y/N] ");
        let mut answer = String::new();
        let read = stdin().read_line(&mut answer);
        if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Failure::new(Kind::Other, format!("{name} stays as it is")));
        }
    }
    life::delete(&folder.name)?;
    eprintln!("✓ Destroyed {name}");
    Ok(())
}

/// A word after a sandbox's name that is no command here.
fn other(name: &str, words: &[OsString]) -> Failure {
    let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    match ELSEWHERE_NAMED.iter().find(|(names, _)| names.contains(&word.as_str())) {
        Some((_, instead)) => Failure::new(Kind::Other, format!("`nemoclaw {name} {word}` is not here: {instead}")),
        None => {
            let others: Vec<_> = ELSEWHERE_NAMED.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            let help = format!("nemoclaw {name} --help");
            Failure::new(Kind::Usage, unrecognized(&word, &OneCli::command(), &others, &help))
        }
    }
}

/// Commands without a sandbox that are known and not behind this door, and what to use in their place.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["onboard", "setup", "setup-spark", "deploy"],
        "it comes with a later version; make a sandbox with `tollgate sandbox create --policy FILE -- COMMAND`",
    ),
    (
        &["start", "stop"],
        "there is nothing beside the sandboxes that could be started; use `tollgate sandbox start NAME`",
    ),
    (&["uninstall", "update", "upgrade-sandboxes"], "it is one program: remove it, or put another one in its place"),
    (
        &["inference"],
        "say in the policy of the sandbox which services its agent may use, and keep their keys with `tollgate credential set`",
    ),
    (&["doctor", "resources"], "use `tollgate doctor`"),
    (&["gc", "backup-all"], "everything that is kept lies in the state folder, ~/.tollgate"),
    (&["help"], "use `nemoclaw --help`"),
];

/// The same with a sandbox.
const ELSEWHERE_NAMED: &[(&[&str], &str)] = &[
    (&["shields", "quarantine"], "put a narrower policy in force with `openshell policy set`; `rollback` goes back"),
    (&["exec"], "use `openshell sandbox exec -n NAME -- COMMAND`"),
    (&["stop", "start", "recover"], "use `tollgate sandbox stop NAME` and `tollgate sandbox start NAME`"),
    (&["mcp"], "set `mcp.servers` with `config set`; tokens in it become credentials"),
    (&["channels"], "add the preset of the service with `policy-add`, and its token with `tollgate credential set`"),
    (&["policy-get"], "use `openshell policy get NAME --base`"),
    (&["policy-explain"], "use `tollgate policy explain`"),
    (
        &["snapshot", "rebuild"],
        "a sandbox is made of this machine's files: keep those; `tollgate sandbox get NAME` names its folder",
    ),
    (&["share"], "the sandbox's working directory is the folder that it was created in; put files there"),
    (&["doctor"], "use `tollgate doctor --inside`"),
    (&["inference"], "say in the policy which services its agent may use"),
    (
        &["hosts-add", "hosts-list", "hosts-remove"],
        "pin a name when the sandbox is created, with --resolve NAME:PORT:ADDRESS",
    ),
    (&["gateway-token", "dashboard-url"], "there is no control interface of its own"),
];
