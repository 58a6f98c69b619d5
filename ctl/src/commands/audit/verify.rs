//! `tollgate audit verify`.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tollgate_audit::digest::unhex;
use tollgate_audit::{Extent, Summary, is_export, verify_export, verify_journal};

use super::{journals, other};
use crate::failure::Failure;
use crate::home::Home;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// A sandbox's name, or the file of a journal or an export, with a `/` or a `.` in its name; every journal if absent
    journal: Option<String>,
    /// The public key to verify with, 64 hexadecimal digits in a file; $TOLLGATE_HOME/journal.pub if absent
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Accept an export that begins in the middle of a journal, as --since makes it
    #[arg(long)]
    part: bool,
}

/// Verifies journals and says how each stands; fails when one does not hold.
pub fn verify(arguments: &VerifyArguments) -> Result<ExitCode, Failure> {
    let files = journals(arguments.journal.as_deref())?;
    let key = match &arguments.key {
        Some(key) => read_key(key)?,
        None => read_key(&Home::open()?.path().join("journal.pub"))?,
    };
    let extent = if arguments.part { Extent::Part } else { Extent::Whole };
    let mut broken = 0;
    for file in &files {
        match verify_file(file, &key, extent) {
            Ok(lines) => lines.iter().for_each(|line| println!("{}: {line}", file.display())),
            Err(flaw) => {
                broken += 1;
                eprintln!("tollgate: {}: {flaw}", file.display());
            }
        }
    }
    if broken > 0 {
        return Err(other(format!("{broken} of {} journals do not hold", files.len())));
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each journal in the file.
fn verify_file(path: &Path, key: &[u8], extent: Extent) -> Result<Vec<String>, String> {
    let unreadable = |e: std::io::Error| format!("it cannot be read: {e}");
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut first = Vec::new();
    (&mut file).take(MAX_FIRST_LINE_BYTES).read_until(b'\n', &mut first).map_err(unreadable)?;
    let export = is_export(&first);
    let whole = Cursor::new(first).chain(file);
    if export {
        let segments = verify_export(whole, key, extent).map_err(|flaw| flaw.to_string())?;
        return Ok(segments.iter().map(|(session, summary)| format!("{session}: {}", standing(summary))).collect());
    }
    let head = path.with_extension("head");
    let head = std::fs::read(&head).map_err(|e| format!("its signed head {} cannot be read: {e}", head.display()))?;
    verify_journal(whole, &head, key).map(|summary| vec![standing(&summary)]).map_err(|flaw| flaw.to_string())
}

fn standing(summary: &Summary) -> String {
    let end = match (summary.closed, summary.beyond_head) {
        (true, _) => "closed in order".to_owned(),
        (false, 0) => "not closed: the session runs, or was killed".to_owned(),
        (false, n) => format!("not closed, {n} records after the signed head: the session runs, or was killed"),
    };
    format!("intact, {} records, {end}, last hash {:.12}", summary.records, summary.last_hash)
}

/// A public key file, as `journal.pub`.
pub fn read_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| other(format!("the key {} cannot be used: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e.to_string()))?;
    unhex(text.trim()).filter(|key| key.len() == 32).ok_or_else(|| wrong("it is not 64 hexadecimal digits"))
}

/// As long as the first line of an export may be.
const MAX_FIRST_LINE_BYTES: u64 = 8 << 20;
