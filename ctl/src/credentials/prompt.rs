//! Values from people: typed without being shown, from a pipe, from a file. Never from a command line, which others can read.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::fetch::{read_file, read_text, without_line_break};
use crate::failure::{Failure, Kind};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The terminal, or standard input where there is none.
    Asked,
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// Reads one value; a line break at its end is not part of it.
pub fn read_value(name: &str, input: &Input) -> Result<Zeroizing<String>, Failure> {
    match input {
        Input::File(path) => from_file(path),
        Input::Asked if std::io::stdin().is_terminal() => asked(name),
        Input::Asked | Input::Stdin => from_stdin(),
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read_file(path).map_err(|e| refused(e.to_string()))?;
    Ok(trimmed(&text))
}

fn from_stdin() -> Result<Zeroizing<String>, Failure> {
    let text = read_text(std::io::stdin().lock()).map_err(|e| refused(format!("standard input {e}")))?;
    Ok(trimmed(&text))
}

fn asked(name: &str) -> Result<Zeroizing<String>, Failure> {
    let unasked =
        |e: &dyn std::fmt::Display| refused(format!("the terminal cannot be asked: {e}; use --stdin or --file"));
    let silent = Silent::begin().map_err(|e| unasked(&e))?;
    eprint!("Value of {name}: ");
    std::io::stderr().flush().map_err(|e| unasked(&e))?;
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(silent);
    eprintln!();
    read.map_err(|e| unasked(&e))?;
    Ok(trimmed(&line))
}

fn trimmed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(without_line_break(text).expose_secret().to_owned())
}

fn refused(message: String) -> Failure {
    Failure::new(Kind::Credential, message)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> nix::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that has gone needs no echo.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
