//! `nemoclaw debug`: what helps to find out why something does not work, without secrets.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use tollgate_audit::Record;
use tollgate_wire::policy::Shown;
use tollgate_wire::status::Status;

use crate::agent_config::redact;
use crate::commands::Running;
use crate::commands::sandbox::{all, described};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, write_private};
use crate::operator::{POLICY, STATUS};

/// Arguments of `debug`.
#[derive(Debug, Args)]
pub struct DebugArguments {
    /// Without journals
    #[arg(long, short)]
    quick: bool,
    /// One sandbox alone
    #[arg(long, value_name = "NAME")]
    sandbox: Option<String>,
    /// A file to write it to, for its owner alone; else it is printed
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// So many of the last records of each journal.
const RECORDS: usize = 200;

/// Collects it.
pub fn debug(arguments: &DebugArguments) -> Result<(), Failure> {
    let home = Home::open()?;
    if let Some(name) = &arguments.sandbox {
        home.sandbox(name)?;
    }
    let mut text = format!("tollgate {}\nkernel {}\n", env!("CARGO_PKG_VERSION"), kernel());
    for sandbox in all()? {
        if arguments.sandbox.as_ref().is_none_or(|name| *name == sandbox.folder.name) {
            let _ = write!(text, "\n== sandbox {}\n{:#}\n", sandbox.folder.name, described(&sandbox));
            text.push_str(&of_running(&sandbox.folder.name));
            if !arguments.quick {
                text.push_str(&journal(&sandbox.folder));
            }
        }
    }
    let text = redact::text(&text);
    match &arguments.output {
        None => print!("{text}"),
        Some(path) => {
            let unwritten = |e| Failure::new(Kind::Other, format!("{} cannot be written: {e}", path.display()));
            write_private(path, text.as_bytes()).map_err(unwritten)?;
            eprintln!("✓ Wrote {}", path.display());
        }
    }
    Ok(())
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// What only one that runs can say, or why it does not.
fn of_running(name: &str) -> String {
    let asked = || -> Result<String, Failure> {
        let running = Running::find(Some(name.to_owned()))?;
        let status: Status = running.fetch(STATUS)?;
        let Shown { text, .. } = running.fetch(&format!("{POLICY}?text=base"))?;
        let status = serde_json::to_string_pretty(&status).unwrap_or_default();
        Ok(format!("-- status\n{status}\n-- policy\n{}", text.unwrap_or_default()))
    };
    asked().unwrap_or_else(|failure| format!("-- it says nothing: {}\n", failure.message()))
}

/// The last records of the newest segment.
fn journal(folder: &SandboxFolder) -> String {
    let segments = folder.segments();
    let newest = segments.segments().map(|mut found| found.pop());
    let text = match newest.and_then(|newest| newest.map(|newest| std::fs::read(segments.records(newest))).transpose())
    {
        Ok(Some(text)) => text,
        Ok(None) => return String::new(),
        Err(error) => return format!("-- journal: {error}\n"),
    };
    let records: Vec<_> = text.split(|byte| *byte == b'\n').filter_map(Record::parse).collect();
    let last = &records[records.len().saturating_sub(RECORDS)..];
    let lines: String = last.iter().map(|record| format!("{}\n", record.shorthand())).collect();
    format!("-- journal, the last records\n{lines}")
}
