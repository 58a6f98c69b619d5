//! `tollgate audit`: journals verified, exported and shown.

mod export;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use verify::read_key;

use super::logs::{self, LogsArguments, LogsOptions, Source};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify journals or what was exported: the chain of the records and the signature of its end
    Verify(verify::VerifyArguments),
    /// Print journals for another system, in lines that `verify` can check there
    Export(export::ExportArguments),
    /// Show the last records
    Tail(TailArguments),
}

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// The sandbox or proxy; the one that runs if absent
    name: Option<String>,
    /// How many records
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10)]
    lines: usize,
    /// Go on until the sandbox ends
    #[arg(long, short)]
    follow: bool,
}

/// Does what the command says.
pub fn audit(command: AuditCommand) -> Result<ExitCode, Failure> {
    match command {
        AuditCommand::Verify(arguments) => verify::verify(&arguments),
        AuditCommand::Export(arguments) => export::export(&arguments).map(|()| ExitCode::SUCCESS),
        AuditCommand::Tail(TailArguments { name, lines, follow }) => {
            let options = LogsOptions { follow, lines: Some(lines), ..LogsOptions::default() };
            logs::logs(LogsArguments { name, source: Source::Gate, options }).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// The journal files that an argument means: there is at least one.
fn journals(argument: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
    let found: Vec<PathBuf> = match argument {
        // The name of a sandbox has neither.
        Some(path) if path.contains(['/', '.']) => vec![PathBuf::from(path)],
        Some(name) => {
            check_name(name)?;
            let found: Vec<_> = folders()?.into_iter().filter(|folder| folder.name == name).collect();
            if found.is_empty() {
                let message = format!("there is no sandbox or proxy {name}; `tollgate sandbox list` shows sandboxes");
                return Err(other(message));
            }
            found.iter().flat_map(files).collect()
        }
        None => folders()?.iter().flat_map(files).collect(),
    };
    if found.is_empty() { Err(other("there is no journal yet")) } else { Ok(found) }
}

/// Everything that keeps a journal.
fn folders() -> Result<Vec<SandboxFolder>, Failure> {
    let home = Home::open()?;
    Ok(home.sandboxes().into_iter().chain(home.proxies()).collect())
}

fn files(folder: &SandboxFolder) -> Vec<PathBuf> {
    folder.segments().iter().map(|segment| folder.journal().join(format!("{segment}.jsonl"))).collect()
}

fn other(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Other, message)
}
