//! `openshell sandbox …`, `openshell logs`, `openshell forward`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::provider::{Format, Rest, missing, plain};
use crate::commands::sandbox::{
    self as life, ExecOptions, GetArguments, Tty, all, created, described, get, run_inside, running, shell,
};
use crate::definition::Options;
use crate::detached::{Phase, Sandbox};
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// What to do with sandboxes.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Make a sandbox, and run a command or a shell in it
    Create(Box<Create>),
    /// Show all sandboxes
    List {
        /// Names alone
        #[arg(long)]
        names: bool,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show one sandbox
    Get {
        /// The sandbox; the one that runs if absent
        name: Option<String>,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run a command in a sandbox
    Exec {
        /// The sandbox; the one that runs if absent
        #[arg(short, long)]
        name: Option<String>,
        #[command(flatten)]
        options: ExecOptions,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Open a shell in a sandbox
    Connect {
        /// The sandbox; the one that runs if absent
        name: Option<String>,
    },
    /// End what runs in sandboxes
    Stop {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Start sandboxes again
    Start {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// End sandboxes and remove them
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Copy files into a sandbox
    Upload(Rest),
    /// Copy files out of a sandbox
    Download(Rest),
    /// Settings for ssh
    SshConfig(Rest),
    /// Change the providers of a sandbox
    Provider(Rest),
}

/// A new sandbox.
#[derive(Debug, Args)]
pub struct Create {
    /// A name; drawn if absent
    #[arg(long)]
    name: Option<String>,
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A provider whose credentials it gets
    #[arg(long = "provider", value_name = "NAME")]
    providers: Vec<String>,
    /// Lead a port of this machine into it
    #[arg(long, value_name = "[HOST:]PORT")]
    forward: Vec<String>,
    /// A variable
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// Give the command a terminal
    #[arg(long, conflicts_with = "no_tty")]
    tty: bool,
    /// Give the command no terminal
    #[arg(long)]
    no_tty: bool,
    /// Remove the sandbox when the command has ended
    #[arg(long, conflicts_with = "detach")]
    no_keep: bool,
    /// Make the command the sandbox's own, and return
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// The command and its arguments; a shell if absent, where there is a terminal
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a sandbox of this machine has no use for: taken to say so.
#[derive(Debug, Args)]
struct Elsewhere {
    #[arg(long, hide = true)]
    from: Option<String>,
    #[arg(long, hide = true)]
    upload: Vec<String>,
    #[arg(long, hide = true)]
    gpu: bool,
    #[arg(long, hide = true)]
    editor: Option<String>,
    #[arg(long, hide = true)]
    cpu: Option<String>,
    #[arg(long, hide = true)]
    memory: Option<String>,
    #[arg(long, hide = true)]
    driver_config_json: Option<String>,
    #[arg(long, hide = true)]
    approval_mode: Option<String>,
    #[arg(long = "label", hide = true)]
    labels: Vec<String>,
    #[arg(long, hide = true)]
    no_git_ignore: bool,
    #[arg(long, hide = true)]
    auto_providers: bool,
    #[arg(long, hide = true)]
    no_credential_warnings: bool,
}

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
    #[arg(long, hide = true)]
    source: Option<String>,
    #[arg(long, hide = true)]
    level: Option<String>,
    #[arg(long, hide = true)]
    since: Option<String>,
}

/// What to do with forwarded ports.
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// Show them
    List,
    /// Begin
    Start(Rest),
    /// End
    Stop(Rest),
}

/// Does it.
pub fn sandbox(command: SandboxCommand) -> Result<ExitCode, Failure> {
    match command {
        SandboxCommand::Create(arguments) => return create(*arguments),
        SandboxCommand::List { names, output } => list(names, output)?,
        SandboxCommand::Get { name, output } => {
            let output = if output == Format::Table { Output::Text } else { Output::Json };
            get(&GetArguments { name, output })?;
        }
        SandboxCommand::Exec { name, options, command } => {
            let tty = options.wants_tty();
            return run_inside(&running(name)?, tty, options.command(command)?);
        }
        SandboxCommand::Connect { name } => return run_inside(&running(name)?, Tty::Always, shell()),
        SandboxCommand::Stop { names } => life::each(&names, |name| life::stop(name).map(|_| done("Stopped", name)))?,
        SandboxCommand::Start { names } => life::each(&names, |name| life::start(name).map(|_| done("Started", name)))?,
        SandboxCommand::Delete { names } => {
            life::each(&names, |name| life::delete(name).map(|()| done("Deleted", name)))?
        }
        SandboxCommand::Upload(_) | SandboxCommand::Download(_) => {
            return Err(missing("sandbox upload and download", FILES));
        }
        SandboxCommand::SshConfig(_) => {
            return Err(missing(
                "sandbox ssh-config",
                "no ssh is needed: `openshell sandbox connect NAME` opens a shell",
            ));
        }
        SandboxCommand::Provider(_) => {
            return Err(missing("sandbox provider", "providers are named when a sandbox is created: --provider NAME"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

const FILES: &str = "the sandbox's working directory is the folder that it was created in; put files there";

fn done(what: &str, name: &str) {
    eprintln!("✓ {what} sandbox {name}");
}

/// Without `--detach` a command runs beside an idle sandbox, which stays for `connect` and `exec` when the command has ended.
fn create(arguments: Create) -> Result<ExitCode, Failure> {
    let Create { name, policy, providers, forward, environment, tty, no_tty, no_keep, detach, elsewhere, command } =
        arguments;
    elsewhere.check()?;
    let policy = policy.ok_or_else(|| {
        let message = "name a policy with --policy FILE: there are no images here that bring one; `tollgate provider policy PROFILE` prints one to begin with";
        Failure::new(Kind::Other, message)
    })?;
    let options = Options { policy, providers, forwards: forward, environment, ..Options::default() };
    let (own, beside) = if detach { (command, Vec::new()) } else { (Vec::new(), command) };
    let (name, _) = life::create(name, options, own).map_err(plain)?;
    done("Created", &name);
    let here =
        std::io::IsTerminal::is_terminal(&std::io::stdin()) && std::io::IsTerminal::is_terminal(&std::io::stdout());
    if detach || (beside.is_empty() && !tty && !here) {
        println!("{name}");
        return Ok(ExitCode::SUCCESS);
    }
    let tty = match (tty || beside.is_empty(), no_tty) {
        (true, _) => Tty::Always,
        (_, true) => Tty::Never,
        _ => Tty::AsHere,
    };
    let ran = run_inside(&running(Some(name.clone()))?, tty, life::plainly(beside));
    if no_keep {
        life::delete(&name)?;
        done("Deleted", &name);
    }
    ran
}

impl Elsewhere {
    /// What would be missed is refused; what only saves trouble is taken.
    fn check(&self) -> Result<(), Failure> {
        let images = "a sandbox here is this machine's own file tree, as far as the policy grants it, so nothing is built or pulled";
        let cgroups = "it takes a delegated cgroup, which sandboxes do not use yet; start the command under `systemd-run --user --scope -p …`";
        let asked = [
            (self.from.is_some(), "--from", images),
            (!self.upload.is_empty(), "--upload", FILES),
            (self.gpu, "--gpu", "it takes the device files of the GPU, which no sandbox is given"),
            (self.editor.is_some(), "--editor", "open the folder that the sandbox was created in with your editor"),
            (self.cpu.is_some(), "--cpu", cgroups),
            (self.memory.is_some(), "--memory", cgroups),
            (self.driver_config_json.is_some(), "--driver-config-json", images),
            (
                self.approval_mode.is_some(),
                "--approval-mode",
                "there are no proposals; edit the policy and `openshell policy set` it",
            ),
        ];
        match asked.iter().find(|(asked, ..)| *asked) {
            Some((_, option, instead)) => Err(missing(&format!("sandbox create {option}"), instead)),
            None => Ok(()),
        }
    }
}

fn list(names: bool, output: Format) -> Result<(), Failure> {
    let all = all()?;
    match output {
        _ if names => all.iter().for_each(|sandbox| println!("{}", sandbox.folder.name)),
        Format::Table => table(&all),
        Format::Json | Format::Yaml => {
            // JSON is YAML.
            println!("{:#}", Value::from(all.iter().map(described).collect::<Vec<_>>()));
        }
    }
    Ok(())
}

fn table(all: &[Sandbox]) {
    if all.is_empty() {
        println!("No sandboxes found.");
        return;
    }
    let width = all.iter().map(|sandbox| sandbox.folder.name.len()).max().unwrap_or(0).max(4);
    println!("{:<width$}  {:<20}  PHASE", "NAME", "CREATED");
    for sandbox in all {
        println!("{:<width$}  {:<20}  {}", sandbox.folder.name, created(sandbox), phase(sandbox.phase));
    }
}

/// The words that users of this command line know.
fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "Starting",
        Phase::Ready => "Ready",
        Phase::Stopped => "Stopped",
        Phase::Ended | Phase::Dead => "Error",
    }
}

/// Shows a log.
pub fn logs(arguments: LogsArguments) -> Result<(), Failure> {
    let LogsArguments { name, lines, tail, source, level, since } = arguments;
    if source.is_some() || level.is_some() || since.is_some() {
        let instead = "the log is what the agent printed, as it printed it; what the gate decided is in the journal that `openshell sandbox get` names";
        return Err(missing("logs with --source, --level or --since", instead));
    }
    let name = running_or_named(name)?;
    life::logs(&life::LogsArguments { name, follow: tail, lines: Some(lines) })
}

fn running_or_named(name: Option<String>) -> Result<String, Failure> {
    name.map_or_else(|| running(None).map(|folder| folder.name), Ok)
}

/// Shows forwarded ports.
pub fn forward(command: ForwardCommand) -> Result<(), Failure> {
    match command {
        ForwardCommand::List => {
            for sandbox in all()? {
                let ports = sandbox.status.map(|status| status.forwards).unwrap_or_default();
                ports
                    .iter()
                    .for_each(|port| println!("{}  127.0.0.1:{}", sandbox.folder.name, port.replace(':', " -> ")));
            }
            Ok(())
        }
        ForwardCommand::Start(_) | ForwardCommand::Stop(_) => {
            Err(missing("forward start and stop", "ports are named when a sandbox is created: --forward PORT"))
        }
    }
}
