//! The journal of a sandbox or proxy, shown as it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Seek, SeekFrom, Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tollgate_audit::{Record, Severity};

use super::Filter;
use crate::commands::runtime;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::watch::Watch;

/// What is to be shown and how.
pub struct Wanted {
    /// Which records.
    pub filter: Filter,
    /// The last ones alone.
    pub lines: Option<usize>,
    /// Go on until the sandbox ends.
    pub follow: bool,
    /// How to print.
    pub style: Style,
}

/// How a record is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `TIME CLASS:ACTIVITY [SEVERITY] …`.
    Line,
    /// The same as users of another command know it: `[SECONDS] [sandbox] [OCSF ] [ocsf] …`.
    Sourced,
    /// One OCSF event a line.
    Ocsf,
}

/// A process that is killed changes no file; so it is looked at now and then as well.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Longer than any record that is written.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Shows the records of a folder.
pub fn show(folder: &SandboxFolder, wanted: &Wanted) -> Result<(), Failure> {
    let mut reader = Reader { folder, segment: None };
    // Watched before it is read, so that nothing falls between.
    match wanted.follow.then(|| watch(folder)).transpose()? {
        None => show_kept(&mut reader, wanted),
        Some(watch) => {
            show_kept(&mut reader, wanted)?;
            go_on(&mut reader, wanted, watch)
        }
    }
}

/// What is there already.
fn show_kept(reader: &mut Reader<'_>, wanted: &Wanted) -> Result<(), Failure> {
    let folder = reader.folder;
    let mut last = VecDeque::new();
    reader.more(|record| match wanted.lines {
        _ if !wanted.filter.takes(record) => Ok(()),
        None => print(folder, record, wanted.style),
        Some(lines) => {
            last.push_back(record.clone());
            if last.len() > lines {
                last.pop_front();
            }
            Ok(())
        }
    })?;
    last.iter().try_for_each(|record| print(folder, record, wanted.style))
}

/// What comes, until nothing writes any more.
fn go_on(reader: &mut Reader<'_>, wanted: &Wanted, mut watch: Watch) -> Result<(), Failure> {
    let (runtime, folder) = (runtime()?, reader.folder);
    loop {
        let ended = !runs(folder);
        let before = reader.name();
        reader.more(|record| match wanted.filter.takes(record) {
            true => print(folder, record, wanted.style),
            false => Ok(()),
        })?;
        if ended {
            return Ok(());
        }
        if reader.name() != before {
            watch = self::watch(folder)?;
        }
        let _ = runtime.block_on(async { tokio::time::timeout(LOOK_AGAIN, watch.changed()).await });
    }
}

/// A sandbox's folder is held by its process; a proxy answers on its socket.
fn runs(folder: &SandboxFolder) -> bool {
    folder.is_held() || std::os::unix::net::UnixStream::connect(folder.socket()).is_ok()
}

/// The segment that is written, and the one that may come.
fn watch(folder: &SandboxFolder) -> Result<Watch, Failure> {
    let current = folder.segments().pop();
    let names = current.into_iter().chain([folder.next_segment()]);
    Watch::start(&names.map(|name| path(folder, &name)).collect::<Vec<_>>())
}

fn path(folder: &SandboxFolder, segment: &str) -> PathBuf {
    folder.journal().join(format!("{segment}.jsonl"))
}

/// Reads a journal as it grows, segment after segment.
struct Reader<'a> {
    folder: &'a SandboxFolder,
    segment: Option<(String, BufReader<File>)>,
}

impl Reader<'_> {
    fn name(&self) -> Option<String> {
        self.segment.as_ref().map(|(name, _)| name.clone())
    }

    /// Every whole record that was not read yet. What is no record is said and passed over.
    fn more(&mut self, mut take: impl FnMut(&Record) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            if let Some((name, segment)) = &mut self.segment {
                let unreadable = |e: std::io::Error| {
                    let message = format!("the journal {} cannot be read: {e}", path(self.folder, name).display());
                    Failure::new(Kind::State, message)
                };
                while let Some(line) = whole_line(segment).map_err(unreadable)? {
                    match Record::parse(&line) {
                        Some(record) => take(&record)?,
                        None => {
                            eprintln!("tollgate: warning: a line of {} is no record", path(self.folder, name).display())
                        }
                    }
                }
            }
            let next = self.folder.segments().into_iter().find(|name| self.name().is_none_or(|read| *name > read));
            let Some(next) = next else { return Ok(()) };
            let path = path(self.folder, &next);
            let file = File::open(&path).map_err(|e| {
                Failure::new(Kind::State, format!("the journal {} cannot be read: {e}", path.display()))
            })?;
            self.segment = Some((next, BufReader::new(file)));
        }
    }
}

/// The next line, if all of it is there; else the reader stays before it.
pub fn whole_line(segment: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = std::io::Read::take(&mut *segment, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") || length as u64 == MAX_LINE_BYTES {
        return Ok(Some(line));
    }
    segment.seek(SeekFrom::Current(-i64::try_from(length).unwrap_or_default()))?;
    Ok(None)
}

/// On a terminal, unless its user does not want any (no-color.org).
fn has_colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Of what stands out (ECMA-48, SGR): yellow, red, red and bold.
fn colour(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Informational => None,
        Severity::Low => Some("33"),
        Severity::Medium => Some("31"),
        Severity::High => Some("1;31"),
    }
}

fn print(folder: &SandboxFolder, record: &Record, style: Style) -> Result<(), Failure> {
    let time = record.time().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let line = match style {
        Style::Ocsf => record.ocsf(&folder.name).to_string(),
        Style::Line => {
            let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"));
            format!("{time} {}", record.shorthand())
        }
        Style::Sourced => {
            let (seconds, millis) = time.map_or((0, 0), |time| (time.as_second(), time.subsec_millisecond()));
            format!("[{seconds}.{millis:03}] [sandbox] [OCSF ] [ocsf] {}", record.shorthand())
        }
    };
    let line = match colour(record.severity()).filter(|_| style == Style::Line && has_colours()) {
        Some(colour) => format!("\u{1b}[{colour}m{line}\u{1b}[0m"),
        None => line,
    };
    writeln!(stdout(), "{line}").map_err(|e| Failure::new(Kind::Other, format!("the log cannot be shown: {e}")))
}
