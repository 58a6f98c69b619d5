//! A front door for the command lines that OpenShell's users know: the same code behind them, their words and exit codes.
//!
//! 0 is done, 1 any failure, 2 the command line, 124 a wait that was too long. What is found goes to stdout, what was done and what failed to stderr. A
//! command that is not behind this door says what to use in its place.

mod create;
mod logs;
mod place;
mod policy;
mod provider;
mod sandbox;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::{CompletionsArguments, ForwardCommand, completions, forward};
use crate::failure::{Failure, Kind};
use crate::suggestion::unrecognized;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "openshell",
    version,
    about = "Tollgate behind the command line of OpenShell",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where their gateway is. There is none here, one process serves each sandbox, so these are taken and mean nothing.
#[derive(Debug, Args)]
struct Place {
    #[arg(short, long, global = true, hide = true)]
    gateway: Option<String>,
    #[arg(long, global = true, hide = true)]
    gateway_endpoint: Option<String>,
    #[arg(long, global = true, hide = true)]
    gateway_insecure: bool,
    #[arg(long, global = true, hide = true)]
    workspace: Option<String>,
    #[arg(short, long, global = true, action = clap::ArgAction::Count, hide = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep providers: sets of credentials by the profile of their service
    Provider {
        #[command(subcommand)]
        command: Option<provider::ProviderCommand>,
    },
    /// Look at the policy of a running sandbox, change it, go back
    #[command(visible_alias = "pol")]
    Policy {
        #[command(subcommand)]
        command: Option<policy::PolicyCommand>,
    },
    /// Keep sandboxes: create, list, get, exec, connect, stop, start, delete
    #[command(visible_alias = "sb")]
    Sandbox {
        #[command(subcommand)]
        command: Option<Box<sandbox::SandboxCommand>>,
    },
    /// Show what the gate of a sandbox decided, or with --source agent what its agent printed
    Logs(logs::LogsArguments),
    /// Lead ports of this machine into sandboxes: list, start, stop
    Forward {
        #[command(subcommand)]
        command: Option<ForwardCommand>,
    },
    /// Show what runs on this machine
    Status(place::Shown),
    /// Show the gateway, which is this machine
    Gateway {
        #[command(subcommand)]
        command: Option<place::GatewayCommand>,
    },
    /// Show how a sandbox is set up
    Settings {
        #[command(subcommand)]
        command: Option<place::SettingsCommand>,
    },
    /// Say whose sandboxes these are
    Whoami,
    /// Print a script that completes these commands in a shell
    Completions(CompletionsArguments),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Commands that are known and not behind this door: their names, and what to use in their place.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["rule", "rl"],
        "edit the policy and `openshell policy set` it; `tollgate policy explain` says what would have to be in it",
    ),
    (&["doctor"], "use `tollgate doctor`"),
    (
        &["workspace"],
        "nothing is needed: each sandbox has a process of its own; another state folder ($TOLLGATE_HOME) keeps things apart",
    ),
    (&["inference"], "say it in the policy file of the sandbox"),
    (&["term", "service", "ssh-proxy"], "there is nothing in its place"),
];

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = crate::detached::run_if_asked() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Its code is 2 for a mistake and 0 for help; a pipe that is gone has nobody to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    crate::cli::start_tracing();
    crate::session::forbid_core_dumps();
    crate::session::hide_memory();
    let done = match cli.command {
        None => help(&[]),
        Some(Command::Provider { command: None }) => help(&["provider"]),
        Some(Command::Provider { command: Some(command) }) => provider::provider(command),
        Some(Command::Policy { command: None }) => help(&["policy"]),
        Some(Command::Policy { command: Some(command) }) => policy::policy(command),
        Some(Command::Sandbox { command: None }) => help(&["sandbox"]),
        Some(Command::Sandbox { command: Some(command) }) => {
            return sandbox::sandbox(*command).unwrap_or_else(|failure| report(&failure));
        }
        Some(Command::Logs(arguments)) => logs::logs(arguments),
        Some(Command::Forward { command: None }) => help(&["forward"]),
        Some(Command::Forward { command: Some(command) }) => forward(command).map_err(provider::plain),
        Some(Command::Status(shown)) => place::status(&shown),
        Some(Command::Gateway { command: None }) => help(&["gateway"]),
        Some(Command::Gateway { command: Some(command) }) => place::gateway(command),
        Some(Command::Settings { command: None }) => help(&["settings"]),
        Some(Command::Settings { command: Some(command) }) => place::settings(command),
        Some(Command::Whoami) => {
            place::whoami();
            Ok(())
        }
        Some(Command::Completions(arguments)) => completions::<Cli>("openshell", arguments),
        Some(Command::Other(words)) => Err(elsewhere(&words)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("Error:   × {}", failure.message());
    failure.front_door_code()
}

/// A command that has subcommands, without one.
fn help(path: &[&str]) -> Result<(), Failure> {
    let mut command = Cli::command();
    let found = path.iter().try_fold(&mut command, |command, name| command.find_subcommand_mut(name));
    if let Some(command) = found {
        println!("{}", command.render_help());
    }
    Ok(())
}

fn elsewhere(words: &[OsString]) -> Failure {
    let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    match ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str())) {
        Some((_, instead)) => Failure::new(Kind::Other, format!("`openshell {name}` is not here: {instead}")),
        None => {
            let others: Vec<_> = ELSEWHERE.iter().flat_map(|(names, _)| names.iter().copied()).collect();
            let said = unrecognized(&name, &Cli::command(), &others, "openshell --help");
            Failure::new(Kind::Usage, said)
        }
    }
}
