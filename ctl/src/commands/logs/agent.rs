//! What the agent of a sandbox has printed.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::commands::asking_runtime;
use crate::detached::{Log, MAX_LOG_BYTES};
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::watch::Watch;

/// Shows it, and what the gate says beside it.
pub fn show(folder: &SandboxFolder, lines: Option<usize>, follow: bool) -> Result<(), Failure> {
    if !folder.definition().exists() {
        let message = format!(
            "what the agent of {0} prints goes where it was started and is not kept; `tollgate logs {0}` shows what the gate decided",
            folder.name
        );
        return Err(Failure::new(Kind::Other, message));
    }
    let unreadable =
        |e: std::io::Error| Failure::new(Kind::State, format!("the log of {} cannot be read: {e}", folder.name));
    // Watched before it is read, so that nothing falls between.
    let runtime = asking_runtime()?;
    let watch = match follow {
        true => Some(runtime.block_on(async { Watch::start(&[folder.log(), folder.end(), folder.socket()]) })?),
        false => None,
    };
    let mut reader = Reader::new(folder.log());
    let mut text = reader.before().and_then(|mut before| {
        before.extend(reader.more()?);
        Ok(before)
    });
    if let Some(lines) = lines {
        text = text.map(|text| last_lines(&text, lines).to_vec());
    }
    print(&text.map_err(unreadable)?)?;
    match watch {
        None => Ok(()),
        Some(watch) => runtime.block_on(go_on(folder, &mut reader, &watch)),
    }
}

async fn go_on(folder: &SandboxFolder, reader: &mut Reader, watch: &Watch) -> Result<(), Failure> {
    loop {
        let ended = !folder.is_held();
        let more = reader.more();
        print(
            &more.map_err(|e| Failure::new(Kind::State, format!("the log of {} cannot be read: {e}", folder.name)))?,
        )?;
        if ended {
            return Ok(());
        }
        // A process that is killed changes no file; so it is looked at now and then as well.
        let _ = tokio::time::timeout(LOOK_AGAIN, watch.changed()).await;
    }
}

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads a log as it grows, over the turn to a new file.
struct Reader {
    path: PathBuf,
    file: Option<File>,
}

impl Reader {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The whole log before this one.
    fn before(&mut self) -> std::io::Result<Vec<u8>> {
        match std::fs::read(Log::before(&self.path)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// What is there and was not read yet.
    fn more(&mut self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            if let Some(file) = &mut self.file {
                file.take(2 * MAX_LOG_BYTES).read_to_end(&mut text)?;
            }
            match next(&self.path, self.file.as_ref())? {
                Some(file) => self.file = Some(file),
                None => return Ok(text),
            }
        }
    }
}

/// The file of that name, where it is another one than this.
fn next(path: &Path, current: Option<&File>) -> std::io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let id = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    if let Some(current) = current
        && id(current)? == id(&file)?
    {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(Some(file))
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let whole = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = whole.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    match lines.checked_sub(1).and_then(|before| ends.nth(before)) {
        Some(at) => &text[at + 1..],
        None if lines == 0 => &[],
        None => text,
    }
}

/// An agent must not move the cursor of who reads its log: on a terminal, control characters are shown and not sent.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = stdout().lock();
    let written = match stdout.is_terminal() {
        true => stdout.write_all(visible(&String::from_utf8_lossy(text)).as_bytes()),
        false => stdout.write_all(text),
    };
    written
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::new(Kind::Other, format!("the log cannot be shown: {e}")))
}

fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.replace("\r\n", "\n").chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        #[track_caller]
        fn check(text: &str, lines: usize, expected: &str) {
            assert_eq!(last_lines(text.as_bytes(), lines), expected.as_bytes(), "{text:?} {lines}");
        }
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\nc\n", 9, "a\nb\nc\n");
        check("a\n", 1, "a\n");
        check("a\n", 0, "");
        check("", 3, "");
        check("\n\n", 1, "\n");
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(visible("\u{1b}[2J\u{9b}1m\ta\r\nb\u{7}\n"), "\\u{1b}[2J\\u{9b}1m\ta\nb\\u{7}\n");
    }
}
