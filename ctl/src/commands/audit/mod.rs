//! `tollgate audit`: journals verified, exported and shown.

mod export;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tollgate_proxy::JournalFolder;

pub use verify::read_key;

use super::logs::{self, LogsArguments, LogsOptions, Source};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};
use crate::output::Output;

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
    /// How to print: a line for people, or an OCSF event a line
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Does what the command says.
pub fn audit(command: AuditCommand) -> Result<ExitCode, Failure> {
    match command {
        AuditCommand::Verify(arguments) => verify::verify(&arguments),
        AuditCommand::Export(arguments) => export::export(&arguments).map(|()| ExitCode::SUCCESS),
        AuditCommand::Tail(TailArguments { name, lines, follow, output }) => {
            let options = LogsOptions { follow, lines: Some(lines), output, ..LogsOptions::default() };
            logs::logs(LogsArguments { name, source: Source::Gate, options }).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// What an argument of these commands means.
enum Kept {
    /// A journal with all its segments.
    Folder(JournalFolder),
    /// One of its segments, or an export.
    File(PathBuf),
}

impl Kept {
    /// How much there is to read; what cannot be looked at is told when it is read.
    fn bytes(&self) -> u64 {
        let length = |path: &PathBuf| path.metadata().map_or(0, |found| found.len());
        self.files().iter().flatten().map(length).sum()
    }

    /// Its files, in the order of what they tell.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        match self {
            Self::File(path) => Ok(vec![path.clone()]),
            Self::Folder(folder) => Ok(numbers(folder)?.into_iter().map(|number| folder.records(number)).collect()),
        }
    }
}

/// The journals that an argument means: there is at least one.
fn journals(argument: Option<&str>) -> Result<Vec<Kept>, Failure> {
    let found: Vec<Kept> = match argument {
        // The name of a sandbox has neither.
        Some(path) if path.contains(['/', '.']) => {
            let path = PathBuf::from(path);
            match path.is_dir() {
                true => vec![Kept::Folder(any_of(JournalFolder::new(&path))?)],
                false => vec![Kept::File(path)],
            }
        }
        Some(name) => {
            check_name(name)?;
            let found: Vec<_> = folders()?.into_iter().filter(|folder| folder.name == name).collect();
            if found.is_empty() {
                let message = format!("there is no sandbox or proxy {name}; `tollgate sandbox list` shows sandboxes");
                return Err(other(message));
            }
            begun(&found)?
        }
        None => begun(&folders()?)?,
    };
    if found.is_empty() { Err(other("there is no journal yet")) } else { Ok(found) }
}

/// Everything that keeps a journal.
fn folders() -> Result<Vec<SandboxFolder>, Failure> {
    let home = Home::open()?;
    Ok(home.sandboxes().into_iter().chain(home.proxies()).collect())
}

/// Journals of which anything is there, or was.
fn begun(folders: &[SandboxFolder]) -> Result<Vec<Kept>, Failure> {
    let mut found = Vec::new();
    for folder in folders.iter().map(SandboxFolder::segments) {
        if folder.path().is_dir() && has_begun(&folder)? {
            found.push(Kept::Folder(folder));
        }
    }
    Ok(found)
}

fn has_begun(folder: &JournalFolder) -> Result<bool, Failure> {
    Ok(folder.latest().exists() || !numbers(folder)?.is_empty())
}

/// A folder that holds no journal at all is not one that holds.
fn any_of(folder: JournalFolder) -> Result<JournalFolder, Failure> {
    match has_begun(&folder)? {
        true => Ok(folder),
        false => Err(other(format!(
            "no journal is in {}: neither a segment, as {}, nor {}",
            folder.path().display(),
            named(&folder.records(1)),
            named(&folder.latest())
        ))),
    }
}

fn named(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The segments of a journal.
pub fn numbers(folder: &JournalFolder) -> Result<Vec<u32>, Failure> {
    let unreadable = |e| format!("the journal {} cannot be read: {e}", folder.path().display());
    folder.segments().map_err(|e| Failure::new(Kind::State, unreadable(e)))
}

fn other(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Other, message)
}
