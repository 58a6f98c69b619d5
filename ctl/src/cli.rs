//! The command line.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::definition::Options;
use crate::output::Output;

/// Egress proxy and credential broker for AI agents.
///
/// Runs an agent in a Linux sandbox whose only way out is a proxy. The proxy lets through what a YAML policy allows,
/// swaps placeholder tokens for real secrets on the way, and writes a journal that can be verified afterwards.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run COMMAND in a sandbox whose only way out is the gate
    Run(Box<RunArguments>),
    /// Run the gate alone, in front of agents that run elsewhere
    Proxy(Box<commands::ProxyArguments>),
    /// Show the sandboxes and proxies that run, what is in force and what is not
    Status(StatusArguments),
    /// Try every protection on this machine, and say what to do where one is missing
    Doctor(commands::DoctorArguments),
    /// Keep sandboxes that stay: create, list, get, exec, connect, stop, start, delete, logs
    #[command(visible_alias = "sb")]
    Sandbox {
        #[command(subcommand)]
        command: Box<commands::SandboxCommand>,
    },
    /// Ask a policy what it says, and change the one of a running sandbox
    Policy {
        #[command(subcommand)]
        command: commands::PolicyCommand,
    },
    /// Keep credentials: set, list, rotate, revoke, reset, test, import
    Credential {
        #[command(subcommand)]
        command: commands::CredentialCommand,
    },
    /// Keep sets of credentials by the profile of their service
    Provider {
        #[command(subcommand)]
        command: commands::ProviderCommand,
    },
    /// Lead ports of this machine into sandboxes
    Forward {
        #[command(subcommand)]
        command: commands::ForwardCommand,
    },
    /// Show what the gate decided, or what the agent printed
    Logs(Box<commands::logs::LogsArguments>),
    /// Verify, export and show journals
    Audit {
        #[command(subcommand)]
        command: commands::AuditCommand,
    },
    /// Print a script that completes these commands in a shell
    Completions(commands::CompletionsArguments),
    /// Write a manual page for each command
    Man(commands::ManArguments),
    /// Show it all in a minute: an agent, a service, allowed and denied requests, an exchanged token, a proof
    Demo,
    /// The small agent of the demo
    #[command(hide = true)]
    DemoAgent {
        /// Which of its programs to be
        #[arg(value_enum)]
        role: crate::demo::Role,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// A name for the sandbox; drawn if absent
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
    /// The agent and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct StatusArguments {
    /// One sandbox or proxy; all that run if absent
    name: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 other failure, 2 usage, 3 policy or configuration, 4 isolation unavailable, 5 credential, \
6 state folder or journal, 124 a wait was too long, 126 COMMAND cannot be run, 127 COMMAND not found. `run` otherwise ends with the exit code of \
COMMAND, or with 128+n if signal n ended it.";

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = crate::detached::run_if_asked() {
        return code;
    }
    let cli = Cli::parse();
    start_tracing();
    crate::session::forbid_core_dumps();
    if cli.command.holds_secrets() {
        crate::session::hide_memory();
    }
    let done = match cli.command {
        Command::Run(arguments) => {
            let RunArguments { name, options, quiet, command } = *arguments;
            options.order(name, command).and_then(|order| commands::run(order, quiet))
        }
        Command::Sandbox { command } => commands::sandbox(*command),
        Command::Proxy(arguments) => commands::proxy(*arguments),
        Command::Status(arguments) => commands::status(arguments.name.as_deref(), arguments.output),
        Command::Doctor(arguments) => commands::doctor(&arguments),
        Command::Policy { command } => commands::policy(command),
        Command::Credential { command } => commands::credential(command),
        Command::Provider { command } => commands::provider(command),
        Command::Forward { command } => commands::forward(command).map(|()| ExitCode::SUCCESS),
        Command::Logs(arguments) => commands::logs::logs(*arguments).map(|()| ExitCode::SUCCESS),
        Command::Audit { command } => commands::audit(command),
        Command::Completions(arguments) => {
            commands::completions::<Cli>("tollgate", arguments).map(|()| ExitCode::SUCCESS)
        }
        Command::Man(arguments) => commands::man::<Cli>(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Demo => crate::demo::run(),
        Command::DemoAgent { role } => crate::demo::play(role),
    };
    done.unwrap_or_else(|failure| failure.report())
}

impl Command {
    /// True where values of credentials come into this process. `run` and the demo hide them themselves.
    fn holds_secrets(&self) -> bool {
        matches!(self, Self::Proxy(_) | Self::Credential { .. } | Self::Provider { .. })
    }
}

/// `TOLLGATE_LOG=debug` and the like show what the proxy does, on stderr.
pub fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TOLLGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Commands that print nothing of their own that a program would read, and why.
    const WITHOUT: &[(&str, &str)] = &[
        ("run", "its output is the agent's"),
        ("sandbox exec", "its output is that of the command"),
        ("sandbox connect", "a terminal"),
        ("completions", "a script for a shell"),
        ("man", "files for man(1)"),
        ("demo", "a story for people; its exit code says the rest"),
        ("audit export", "every line is JSON already"),
    ];

    fn leaves(command: &clap::Command, name: &str, found: &mut Vec<(String, bool)>) {
        let shown: Vec<_> = command.get_subcommands().filter(|one| !one.is_hide_set()).collect();
        if shown.is_empty() {
            found.push((name.to_owned(), command.get_arguments().any(|one| one.get_short() == Some('o'))));
        }
        for one in shown {
            leaves(one, format!("{name} {}", one.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_that_says_something_says_it_to_programs_too() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        let silent: Vec<_> = found.iter().filter(|(_, has_output)| !has_output).map(|(name, _)| &**name).collect();
        let mut expected: Vec<_> = WITHOUT.iter().map(|(name, _)| *name).collect();
        expected.sort_by_key(|name| silent.iter().position(|other| other == name));
        assert_eq!(silent, expected);
        assert!(found.len() > 40, "{}", found.len());
    }
}
