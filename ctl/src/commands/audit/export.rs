//! `tollgate audit export`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::Path;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tollgate_audit::Export;

use super::{Kept, journals};
use crate::commands::logs::{since, whole_line};
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// A sandbox's name, or a journal's folder or one file of it, with a `/` or a `.` in its name; every journal if absent
    journal: Option<String>,
    /// As what
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// From the first record on that is not older: 30s, 5m, 2h, 1d, or a time as 2026-05-04T09:00:00Z; `verify --part` checks such an export
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
}

/// What is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// An OCSF event a record, with the record in `raw_data` and the chain in `unmapped`
    #[default]
    Ocsf,
    /// The records as they are, behind the signed head of their journal
    Jsonl,
}

/// Prints journals; what is no record ends it.
pub fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let mut out = BufWriter::new(stdout().lock());
    let journals = journals(arguments.journal.as_deref())?;
    let mut progress = Progress::of_output("exporting", journals.iter().map(Kept::bytes).sum());
    for journal in &journals {
        journal.files()?.iter().try_for_each(|file| export_file(file, arguments, &mut out, &mut progress))?;
    }
    out.flush().map_err(unwritten)
}

fn export_file(
    path: &Path,
    arguments: &ExportArguments,
    out: &mut impl Write,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Kind::State, format!("{} cannot be exported: {why}", path.display()));
    let format = match arguments.format {
        Format::Ocsf => tollgate_audit::Format::Ocsf,
        Format::Jsonl => tollgate_audit::Format::Jsonl,
    };
    let head = path.with_extension("head");
    // Read before the records, so that it names one of them however fast they come.
    let head = std::fs::read(&head).map_err(|e| failed(format!("its signed head {}: {e}", head.display())))?;
    let since = arguments.since.map(Timestamp::as_microsecond);
    let mut export = Export::new(&head, format, since).map_err(|e| failed(e.to_string()))?;
    let mut journal = BufReader::new(File::open(path).map_err(|e| failed(e.to_string()))?);
    let mut number = 0;
    while let Some(line) = whole_line(&mut journal).map_err(|e| failed(e.to_string()))? {
        number += 1;
        progress.add(line.len() as u64);
        let record = line.strip_suffix(b"\n").and_then(|line| export.take(line));
        let text = record.ok_or_else(|| failed(format!("line {number} is no record; see `tollgate audit verify`")))?;
        out.write_all(text.as_bytes()).map_err(unwritten)?;
    }
    Ok(())
}

fn unwritten(e: std::io::Error) -> Failure {
    Failure::new(Kind::Other, format!("the export cannot be written: {e}"))
}
