//! How commands print what they found.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;

/// As the standard library's, but whoever stops reading ends the command and not in a panic, as with `| head`.
macro_rules! println {
    ($($what:tt)*) => { $crate::output::print_text(format_args!("{}\n", format_args!($($what)*))) };
}

/// As [`println`], without a line's end.
macro_rules! print {
    ($($what:tt)*) => { $crate::output::print_text(format_args!($($what)*)) };
}

/// As the standard library's, but a line is written at once: whoever follows a log is woken once for it, and lines of several
/// processes do not mix.
macro_rules! eprintln {
    () => { $crate::output::say(format_args!("\n")) };
    ($($what:tt)*) => { $crate::output::say(format_args!("{}\n", format_args!($($what)*))) };
}

/// How a program ends that SIGPIPE ends.
const READER_GONE: i32 = 128 + 13;

/// Writes to standard output, or ends the process.
pub fn print_text(text: Arguments<'_>) {
    let Err(error) = std::io::stdout().lock().write_fmt(text) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
    eprintln!("tollgate: standard output cannot be written: {error}");
    std::process::exit(1);
}

/// Writes to standard error; where nobody reads that, there is nobody to tell.
pub fn say(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Output {
    /// Tells what was done: a sentence to people, an object to programs.
    pub fn done(self, object: &impl Serialize, say: impl FnOnce()) {
        match self {
            Self::Text => say(),
            Self::Json => print_json(object),
        }
    }
}

/// Prints a value for programs.
pub fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("results are text and numbers"));
}
