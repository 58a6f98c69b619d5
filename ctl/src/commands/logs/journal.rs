//! The journal of a sandbox or proxy, shown as it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Seek, SeekFrom, Write, stdout};
use std::time::Duration;

use jiff::Timestamp;
use tollgate_audit::{Record, Severity};
use tollgate_proxy::JournalFolder;

use super::Filter;
use crate::commands::asking_runtime;
use crate::commands::audit::numbers;
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
    let mut reader = Reader { folder: folder.segments(), segment: None };
    // Watched before it is read, so that nothing falls between.
    match wanted.follow.then(|| watch(folder)).transpose()? {
        None => show_kept(folder, &mut reader, wanted),
        Some(watch) => {
            show_kept(folder, &mut reader, wanted)?;
            go_on(folder, &mut reader, wanted, watch)
        }
    }
}

/// What is there already.
fn show_kept(folder: &SandboxFolder, reader: &mut Reader, wanted: &Wanted) -> Result<(), Failure> {
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
fn go_on(folder: &SandboxFolder, reader: &mut Reader, wanted: &Wanted, mut watch: Watch) -> Result<(), Failure> {
    let runtime = asking_runtime()?;
    loop {
        let ended = !runs(folder);
        let before = reader.number();
        reader.more(|record| match wanted.filter.takes(record) {
            true => print(folder, record, wanted.style),
            false => Ok(()),
        })?;
        if ended {
            return Ok(());
        }
        if reader.number() != before {
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
    let current = numbers(&folder.segments())?.pop().unwrap_or(0);
    Watch::start(&[current, current.saturating_add(1)].map(|number| folder.segments().records(number)))
}

/// Reads a journal as it grows, segment after segment.
struct Reader {
    folder: JournalFolder,
    segment: Option<(u32, BufReader<File>)>,
}

impl Reader {
    fn number(&self) -> Option<u32> {
        self.segment.as_ref().map(|(number, _)| *number)
    }

    /// Every whole record that was not read yet.
    fn more(&mut self, mut take: impl FnMut(&Record) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            // Looked for first: when there is another segment, nothing more comes into this one.
            let segments = numbers(&self.folder)?;
            self.rest(&mut take)?;
            let next = segments.into_iter().find(|number| self.number().is_none_or(|read| *number > read));
            let Some(next) = next else { return Ok(()) };
            match File::open(self.folder.records(next)) {
                Ok(file) => self.segment = Some((next, BufReader::new(file))),
                // It was removed meanwhile, being too old; the one after it is next.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(unreadable(&self.folder, next, &e)),
            }
        }
    }

    /// What is left of the segment. What is no record is said and passed over.
    fn rest(&mut self, take: &mut impl FnMut(&Record) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some((number, segment)) = &mut self.segment else { return Ok(()) };
        while let Some(line) = whole_line(segment).map_err(|e| unreadable(&self.folder, *number, &e))? {
            match Record::parse(&line) {
                Some(record) => take(&record)?,
                None => {
                    let path = self.folder.records(*number);
                    eprintln!("tollgate: warning: a line of {} is no record", path.display());
                }
            }
        }
        Ok(())
    }
}

fn unreadable(folder: &JournalFolder, number: u32, error: &std::io::Error) -> Failure {
    let path = folder.records(number);
    Failure::new(Kind::State, format!("the journal {} cannot be read: {error}", path.display()))
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
