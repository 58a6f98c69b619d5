//! `openshell sandbox …`.

use std::process::ExitCode;

use clap::Subcommand;

use super::create::{Create, create};
use super::provider::{Format, Rest, missing};
use crate::commands::sandbox::{
    self as life, DownloadArguments, ExecOptions, GetArguments, Tty, UploadArguments, all, created, described,
    download, get, run_inside, running, shell, upload,
};
use crate::detached::{Phase, Sandbox};
use crate::failure::Failure;
use crate::output::{Output, print_json};

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
    Upload(UploadArguments),
    /// Copy files out of a sandbox
    Download(DownloadArguments),
    /// Settings for ssh
    SshConfig(Rest),
    /// Change the providers of a sandbox
    Provider(Rest),
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
        SandboxCommand::Upload(arguments) => upload(arguments)?,
        SandboxCommand::Download(arguments) => download(arguments)?,
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

/// Says what was done.
pub fn done(what: &str, name: &str) {
    eprintln!("✓ {what} sandbox {name}");
}

fn list(names: bool, output: Format) -> Result<(), Failure> {
    let all = all()?;
    match output {
        _ if names => all.iter().for_each(|sandbox| println!("{}", sandbox.folder.name)),
        Format::Table => table(&all),
        Format::Json | Format::Yaml => {
            // JSON is YAML.
            print_json(&all.iter().map(described).collect::<Vec<_>>());
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
