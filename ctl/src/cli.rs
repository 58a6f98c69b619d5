//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tollgate_proxy::{LimitSetting, Pin};
use tollgate_wire::cell::Feature;

use crate::commands;
use crate::credentials::SecretArgument;
use crate::output::Output;
use crate::session::{ExtraFiles, Isolation, Order};

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
    /// Check journals
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
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
    /// The policy; edits take effect while the agent runs
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// A secret: NAME=env:VAR, NAME=store, NAME=file:PATH, NAME=cmd:COMMAND, NAME=oauth:FILE, or NAME alone for the variable
    /// of that name, else the store. The agent finds a placeholder in its variable NAME
    #[arg(long = "secret", value_name = "NAME[=SOURCE]")]
    secrets: Vec<String>,
    /// All credentials of a provider, bound to the endpoints of the policy that its profile is for, or that name it in
    /// `credential_binding`
    #[arg(long = "provider", value_name = "NAME")]
    providers: Vec<String>,
    /// A name for the sandbox; drawn if absent
    #[arg(long)]
    name: Option<String>,
    /// Pin a name to an address, which may be private or loopback
    #[arg(long = "resolve", value_name = "NAME:PORT:ADDRESS")]
    pins: Vec<Pin>,
    /// Trust the authorities in this PEM file for upstream certificates as well
    #[arg(long = "upstream-ca", value_name = "FILE")]
    upstream_cas: Vec<PathBuf>,
    /// Set a bound of the proxy, for example streams=64; `status -o json` shows all of them
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<LimitSetting>,
    /// Let the agent read and execute this path as well
    #[arg(long, value_name = "PATH")]
    read_only: Vec<PathBuf>,
    /// Let the agent change this path as well
    #[arg(long, value_name = "PATH")]
    read_write: Vec<PathBuf>,
    /// Pass a variable of yours to the agent, or set one
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// Run although this protection is missing; shown in `status` and in the journal
    #[arg(long, value_name = "FEATURE")]
    allow_degraded: Vec<FeatureArgument>,
    #[command(flatten)]
    isolation: Isolation,
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

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify a journal: the chain of its records and the signature of its end
    Verify {
        /// A sandbox's name, or a journal file ending in .jsonl; every journal if absent
        journal: Option<String>,
        /// The public key to verify with, 64 hexadecimal digits in a file; $TOLLGATE_HOME/journal.pub if absent
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FeatureArgument {
    Landlock,
    Seccomp,
    Nftables,
    Cgroup,
}

impl From<FeatureArgument> for Feature {
    fn from(argument: FeatureArgument) -> Self {
        match argument {
            FeatureArgument::Landlock => Self::Landlock,
            FeatureArgument::Seccomp => Self::Seccomp,
            FeatureArgument::Nftables => Self::Nftables,
            FeatureArgument::Cgroup => Self::Cgroup,
        }
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 other failure, 2 usage, 3 policy or configuration, 4 isolation unavailable, 5 credential, \
6 state folder or journal, 124 a wait was too long, 126 COMMAND cannot be run, 127 COMMAND not found. `run` otherwise ends with the exit code of \
COMMAND, or with 128+n if signal n ended it.";

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_tracing();
    crate::session::forbid_core_dumps();
    if cli.command.holds_secrets() {
        crate::session::hide_memory();
    }
    let done = match cli.command {
        Command::Run(arguments) => arguments.order().and_then(|(order, quiet)| commands::run(order, quiet)),
        Command::Proxy(arguments) => commands::proxy(*arguments),
        Command::Status(arguments) => commands::status(arguments.name.as_deref(), arguments.output),
        Command::Doctor(arguments) => commands::doctor(&arguments),
        Command::Policy { command } => commands::policy(command),
        Command::Credential { command } => commands::credential(command),
        Command::Provider { command } => commands::provider(command),
        Command::Audit { command: AuditCommand::Verify { journal, key } } => {
            commands::verify(journal.as_deref(), key.as_deref())
        }
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

impl RunArguments {
    fn order(self) -> Result<(Order, bool), crate::failure::Failure> {
        let secrets = self.secrets.iter().map(|text| secret(text)).collect::<Result<_, _>>()?;
        let environment = self.environment.iter().map(|text| variable(text)).collect::<Result<_, _>>()?;
        let absolute = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>();
        let files = ExtraFiles { read_only: absolute(&self.read_only)?, read_write: absolute(&self.read_write)? };
        let order = Order {
            home: None,
            workdir: None,
            name: self.name,
            policy: self.policy,
            secrets,
            providers: self.providers,
            pins: self.pins,
            limits: self.limits,
            upstream_cas: self.upstream_cas,
            allow_degraded: self.allow_degraded.into_iter().map(Feature::from).collect(),
            isolation: self.isolation,
            environment,
            files,
            command: self.command,
        };
        Ok((order, self.quiet))
    }
}

/// Read here and not by the argument parser, whose message would repeat what was typed: it may be the secret itself.
fn secret(text: &str) -> Result<SecretArgument, crate::failure::Failure> {
    text.parse().map_err(|error| {
        crate::failure::Failure::new(crate::failure::Kind::Usage, format!("--secret NAME[=SOURCE]: {error}"))
    })
}

fn variable(text: &str) -> Result<(String, String), crate::failure::Failure> {
    let usage = |message| crate::failure::Failure::new(crate::failure::Kind::Usage, message);
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(usage(format!("--env {text}: the variable has no name"))),
        None => {
            let value = std::env::var(text).map_err(|_| usage(format!("--env {text}: the variable is not set")))?;
            Ok((text.to_owned(), value))
        }
    }
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, crate::failure::Failure> {
    path.canonicalize().map_err(|e| {
        crate::failure::Failure::new(crate::failure::Kind::Usage, format!("{} cannot be granted: {e}", path.display()))
    })
}

/// `TOLLGATE_LOG=debug` and the like show what the proxy does, on stderr.
pub fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TOLLGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
