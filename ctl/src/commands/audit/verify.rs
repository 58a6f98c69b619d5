//! `tollgate audit verify`.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tollgate_audit::digest::unhex;
use tollgate_audit::{Extent, Follows, Summary, is_export, verify_export, verify_journal};
use tollgate_proxy::{JournalFolder, Told};

use super::{Kept, journals, other};
use crate::failure::Failure;
use crate::home::Home;
use crate::output::{Output, print_json};
use crate::progress::Progress;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// A sandbox's name, or a journal's folder or one file of it, or an export, with a `/` or a `.` in its name; every journal if
    /// absent
    journal: Option<String>,
    /// The public key to verify with, 64 hexadecimal digits in a file; $TOLLGATE_HOME/journal.pub if absent
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Accept an export that begins in the middle of a journal, as --since makes it
    #[arg(long)]
    part: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How a journal or an export stands.
#[derive(Debug, Serialize)]
struct Report {
    /// Its folder or file.
    journal: String,
    /// True where nothing is wrong.
    holds: bool,
    /// What is wrong with it as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    flaw: Option<String>,
    /// The segment before the first one here, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<Before>,
    segments: Vec<Segment>,
}

/// A segment that is not here.
#[derive(Debug, Clone, Serialize)]
struct Before {
    session: String,
    records: u64,
    last_hash: String,
}

/// How one segment stands.
#[derive(Debug, Serialize)]
struct Segment {
    /// Its file, or in an export its session.
    segment: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    flaw: Option<String>,
    #[serde(flatten)]
    standing: Option<Standing>,
}

/// What is known of a segment that holds.
#[derive(Debug, Serialize)]
struct Standing {
    records: u64,
    /// True where nothing may follow.
    closed: bool,
    /// Records after the signed head.
    unsigned: u64,
    last_hash: String,
}

/// A segment, and what it is or what is wrong with it.
type Found = (String, Result<Summary, String>);

/// Verifies journals and says how each stands; fails when one does not hold.
pub fn verify(arguments: &VerifyArguments) -> Result<ExitCode, Failure> {
    let journals = journals(arguments.journal.as_deref())?;
    let key = match &arguments.key {
        Some(key) => read_key(key)?,
        None => read_key(&Home::open()?.path().join("journal.pub"))?,
    };
    let extent = if arguments.part { Extent::Part } else { Extent::Whole };
    let reports = report(&journals, &key, extent);
    match arguments.output {
        Output::Json => print_json(&reports),
        Output::Text => reports.iter().for_each(Report::print),
    }
    match reports.iter().filter(|report| !report.holds).count() {
        0 => Ok(ExitCode::SUCCESS),
        broken => Err(other(format!("{broken} of {} journals do not hold", reports.len()))),
    }
}

fn report(journals: &[Kept], key: &[u8], extent: Extent) -> Vec<Report> {
    let mut progress = Progress::new("verifying", Some(journals.iter().map(Kept::bytes).sum()));
    journals.iter().map(|journal| Report::of(journal, key, extent, &mut |bytes| progress.add(bytes))).collect()
}

impl Report {
    fn of(journal: &Kept, key: &[u8], extent: Extent, read: &mut dyn FnMut(u64)) -> Self {
        match journal {
            Kept::Folder(folder) => Self::of_folder(folder, key, read),
            Kept::File(path) => Self::new(path, verify_file(path, key, extent, read)),
        }
    }

    fn new(journal: &Path, found: Result<Vec<Found>, String>) -> Self {
        let (found, flaw) = found.map_or_else(|flaw| (Vec::new(), Some(flaw)), |found| (found, None));
        let holds = flaw.is_none() && found.iter().all(|(_, found)| found.is_ok());
        let first = found.first().and_then(|(_, found)| found.as_ref().ok()?.follows.clone());
        let follows = first.map(|Follows { session, end, .. }| Before {
            session,
            records: end.records,
            last_hash: end.last_hash,
        });
        let segments = found.into_iter().map(|(segment, found)| match found {
            Ok(summary) => Segment { segment, flaw: None, standing: Some(summary.into()) },
            Err(flaw) => Segment { segment, flaw: Some(flaw), standing: None },
        });
        Self { journal: journal.display().to_string(), holds, flaw, follows, segments: segments.collect() }
    }

    fn of_folder(folder: &JournalFolder, key: &[u8], read: &mut dyn FnMut(u64)) -> Self {
        let verified = match folder.verify(key, read) {
            Ok(verified) => verified,
            Err(error) => return Self::new(folder.path(), Err(format!("it cannot be read: {error}"))),
        };
        let file = |number| folder.records(number).display().to_string();
        let segments = verified.segments.into_iter();
        let segments = segments.map(|(number, found)| (file(number), found.map_err(|flaw| flaw.to_string())));
        let mut report = Self::new(folder.path(), Ok(segments.collect()));
        report.flaw = verified.order.and_then(Result::err).map(|gap| gap.to_string());
        report.holds &= report.flaw.is_none();
        report
    }

    fn print(&self) {
        for Segment { segment, flaw, standing } in &self.segments {
            if let Some(standing) = standing {
                println!("{segment}: {}", standing.line());
            }
            if let Some(flaw) = flaw {
                eprintln!("tollgate: {segment}: {flaw}");
            }
        }
        if let Some(flaw) = &self.flaw {
            eprintln!("tollgate: {}: {flaw}", self.journal);
        }
        if let (true, Some(Before { session, records, last_hash })) = (self.holds, &self.follows) {
            let journal = &self.journal;
            println!(
                "{journal}: it follows {session} ({records} records, last hash {last_hash:.12}), which is not kept here"
            );
        }
    }
}

/// Each journal in the file.
fn verify_file(path: &Path, key: &[u8], extent: Extent, read: &mut dyn FnMut(u64)) -> Result<Vec<Found>, String> {
    let unreadable = |e: std::io::Error| format!("it cannot be read: {e}");
    let mut file = BufReader::new(Told { from: File::open(path).map_err(unreadable)?, read });
    let mut first = Vec::new();
    (&mut file).take(MAX_FIRST_LINE_BYTES).read_until(b'\n', &mut first).map_err(unreadable)?;
    let export = is_export(&first);
    let whole = Cursor::new(first).chain(file);
    if export {
        let segments = verify_export(whole, key, extent).map_err(|flaw| flaw.to_string())?;
        let named = |(session, summary)| (format!("{}: {session}", path.display()), Ok(summary));
        return Ok(segments.into_iter().map(named).collect());
    }
    let head = path.with_extension("head");
    let head = std::fs::read(&head).map_err(|e| format!("its signed head {} cannot be read: {e}", head.display()))?;
    let summary = verify_journal(whole, &head, key).map_err(|flaw| flaw.to_string())?;
    Ok(vec![(path.display().to_string(), Ok(summary))])
}

impl From<Summary> for Standing {
    fn from(summary: Summary) -> Self {
        let Summary { records, closed, beyond_head: unsigned, last_hash, .. } = summary;
        Self { records, closed, unsigned, last_hash }
    }
}

impl Standing {
    fn line(&self) -> String {
        let end = match (self.closed, self.unsigned) {
            (true, _) => "closed in order".to_owned(),
            (false, 0) => "not closed: the session runs, or was killed".to_owned(),
            (false, n) => format!("not closed, {n} records after the signed head: the session runs, or was killed"),
        };
        format!("intact, {} records, {end}, last hash {:.12}", self.records, self.last_hash)
    }
}

/// A public key file, as `journal.pub`.
pub fn read_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| other(format!("the key {} cannot be used: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e.to_string()))?;
    unhex(text.trim()).filter(|key| key.len() == 32).ok_or_else(|| wrong("it is not 64 hexadecimal digits"))
}

/// As long as the first line of an export may be.
const MAX_FIRST_LINE_BYTES: u64 = 8 << 20;
