//! How far a transfer is, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// A line that is written over itself while bytes pass; nothing where standard error is no terminal.
pub struct Progress {
    what: String,
    bytes: u64,
    total: Option<u64>,
    shown: Option<Instant>,
}

/// Faster than this nobody reads.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Characters of a bar.
const WIDTH: u64 = 30;

impl Progress {
    /// Of something that has so many bytes, where that is known.
    pub fn new(what: &str, total: Option<u64>) -> Self {
        // Something short is done before anybody looks.
        let shown = stderr().is_terminal().then(Instant::now);
        Self { what: what.to_owned(), bytes: 0, total: total.filter(|total| *total > 0), shown }
    }

    /// So many more have passed.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.shown.is_some_and(|shown| shown.elapsed() >= SHOW_EVERY) {
            self.shown = Some(Instant::now());
            // A terminal that is gone needs no bar.
            let _ = write!(stderr(), "\r{}\x1b[K", self.line());
        }
    }

    fn line(&self) -> String {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let Some(total) = self.total else { return format!("{}  {}", self.what, mebibytes(self.bytes)) };
        let done = (self.bytes.min(total) * WIDTH / total) as usize;
        let (done, left) = ("=".repeat(done), " ".repeat(WIDTH as usize - done));
        format!("{}  [{done}{left}]  {} of {}", self.what, mebibytes(self.bytes), mebibytes(total))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        #[track_caller]
        fn check(bytes: u64, total: Option<u64>, expected: &str) {
            let progress = Progress { what: "data".to_owned(), bytes, total, shown: None };
            assert_eq!(progress.line(), expected);
        }
        check(3 << 20, None, "data  3.0 MiB");
        check(1 << 20, Some(2 << 20), "data  [===============               ]  1.0 MiB of 2.0 MiB");
        check(9 << 20, Some(2 << 20), "data  [==============================]  9.0 MiB of 2.0 MiB");
    }
}
