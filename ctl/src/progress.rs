//! How far long work is, on a terminal.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// A line that is written over itself while work goes on; nothing where standard error is no terminal.
pub struct Progress {
    what: String,
    done: u64,
    total: Option<u64>,
    unit: Unit,
    shown: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Steps,
}

/// Faster than this nobody reads.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Characters of a bar.
const WIDTH: u64 = 30;

impl Progress {
    /// Of something that has so many bytes, where that is known.
    pub fn new(what: &str, total: Option<u64>) -> Self {
        Self::of(Unit::Bytes, what, total)
    }

    /// Of work that prints its bytes: nothing where they go to the terminal themselves.
    pub fn of_output(what: &str, total: u64) -> Self {
        let mut progress = Self::new(what, Some(total));
        progress.shown = progress.shown.filter(|_| !stdout().is_terminal());
        progress
    }

    /// Of so many steps, each with a name.
    pub fn of_steps(total: usize) -> Self {
        Self::of(Unit::Steps, "", u64::try_from(total).ok())
    }

    fn of(unit: Unit, what: &str, total: Option<u64>) -> Self {
        // Something short is done before anybody looks.
        let shown = stderr().is_terminal().then(Instant::now);
        Self { what: what.to_owned(), done: 0, total: total.filter(|total| *total > 0), unit, shown }
    }

    /// So many more bytes have passed.
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.shown.is_some_and(|shown| shown.elapsed() >= SHOW_EVERY) {
            self.show();
        }
    }

    /// Another step begins.
    pub fn step(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.done += 1;
        if self.shown.is_some() {
            self.show();
        }
    }

    fn show(&mut self) {
        self.shown = Some(Instant::now());
        // A terminal that is gone needs no bar.
        let _ = write!(stderr(), "\r{}\x1b[K", self.line());
    }

    fn line(&self) -> String {
        let amount = |done: u64| match self.unit {
            Unit::Bytes => format!("{:.1} MiB", done as f64 / f64::from(1 << 20)),
            Unit::Steps => done.to_string(),
        };
        let Some(total) = self.total else { return format!("{}  {}", self.what, amount(self.done)) };
        let done = (self.done.min(total) * WIDTH / total) as usize;
        let (done, left) = ("=".repeat(done), " ".repeat(WIDTH as usize - done));
        format!("{}  [{done}{left}]  {} of {}", self.what, amount(self.done), amount(total))
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
        fn check(done: u64, total: Option<u64>, expected: &str) {
            let progress = Progress { what: "data".to_owned(), done, total, unit: Unit::Bytes, shown: None };
            assert_eq!(progress.line(), expected);
        }
        check(3 << 20, None, "data  3.0 MiB");
        check(1 << 20, Some(2 << 20), "data  [===============               ]  1.0 MiB of 2.0 MiB");
        check(9 << 20, Some(2 << 20), "data  [==============================]  9.0 MiB of 2.0 MiB");
        let mut steps = Progress::of_steps(3);
        steps.shown = None;
        steps.step("Go");
        steps.step("Java");
        assert_eq!(steps.line(), "Java  [====================          ]  2 of 3");
    }
}
