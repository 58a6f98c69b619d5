//! Where secrets come from: `env:VAR`, `file:PATH`, `cmd:COMMAND`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tollgate_secrets::SecretName;
use zeroize::Zeroizing;

/// `NAME` or `NAME=SOURCE` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretArgument {
    /// The secret's name, and the agent's variable that holds the placeholder.
    pub name: SecretName,
    /// Where its value is.
    pub source: Source,
}

/// Where a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A variable of this process.
    Environment(String),
    /// A file; one line break at its end is not part of the value.
    File(PathBuf),
    /// What `sh -c COMMAND` prints; one line break at its end is not part of the value. It runs outside the sandbox.
    Command(String),
}

/// Why a secret could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Not set, or not text.
    #[error("the variable {0} is not set; set it or name another source, as NAME=file:PATH")]
    NoVariable(String),
    /// The file.
    #[error("the file {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// The command.
    #[error("its command {0}")]
    Command(String),
}

/// More than any slot takes.
const MAX_VALUE_BYTES: u64 = 64 * 1024;

/// A password manager that asks for a touch takes a while; one that hangs must not hang the start.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

impl FromStr for SecretArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, source) = text.split_once('=').map_or((text, None), |(name, source)| (name, Some(source)));
        let parsed = SecretName::parse(name).map_err(|e| e.to_string())?;
        let source = match source.map(|s| s.split_once(':')) {
            None => Source::Environment(name.to_owned()),
            Some(Some(("env", variable))) if !variable.is_empty() => Source::Environment(variable.to_owned()),
            Some(Some(("file", path))) if !path.is_empty() => Source::File(path.into()),
            Some(Some(("cmd", command))) if !command.is_empty() => Source::Command(command.to_owned()),
            // What stands here may be the secret itself, so it is not repeated.
            Some(_) => {
                return Err("the source must be env:VAR, file:PATH or cmd:COMMAND, never the value itself".to_owned());
            }
        };
        Ok(Self { name: parsed, source })
    }
}

impl Source {
    /// Reads the value.
    pub fn read(&self) -> Result<SecretString, SourceError> {
        match self {
            Self::Environment(variable) => {
                let value = std::env::var(variable).map_err(|_| SourceError::NoVariable(variable.clone()))?;
                Ok(SecretString::from(value))
            }
            Self::File(path) => read_file(path),
            Self::Command(command) => run(command),
        }
    }

    /// The file, where the value is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Environment(_) | Self::Command(_) => None,
        }
    }
}

fn read_file(path: &Path) -> Result<SecretString, SourceError> {
    let refused = |reason: String| SourceError::File(path.to_owned(), reason);
    let file = std::fs::File::open(path).map_err(|e| refused(e.to_string()))?;
    let text = read_text(file).map_err(refused)?;
    Ok(without_line_break(&text))
}

fn run(command: &str) -> Result<SecretString, SourceError> {
    let failed = |reason: String| SourceError::Command(format!("`{command}` {reason}"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("could not be started: {e}")))?;
    let output = child.stdout.take().expect("stdout is piped");
    let reader = std::thread::spawn(move || read_text(output));
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    if !reader.is_finished() {
        // It may have ended meanwhile; either way it is gone after this.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(format!("did not end within {} seconds", COMMAND_TIMEOUT.as_secs())));
    }
    let text = reader.join().map_err(|_| failed("could not be read".to_owned()))?.map_err(&failed)?;
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(format!("failed with {status}")));
    }
    Ok(without_line_break(&text))
}

fn read_text(from: impl Read) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_VALUE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err(format!("gives more than {MAX_VALUE_BYTES} bytes"));
    }
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| "gives no UTF-8 text".to_owned())
}

fn without_line_break(text: &str) -> SecretString {
    let text = text.strip_suffix('\n').unwrap_or(text);
    SecretString::from(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[track_caller]
    fn check(text: &str, expected: Option<Source>) {
        assert_eq!(text.parse::<SecretArgument>().ok().map(|a| a.source), expected, "{text}");
    }

    #[test]
    fn arguments() {
        check("TOKEN", Some(Source::Environment("TOKEN".to_owned())));
        check("TOKEN=env:OTHER", Some(Source::Environment("OTHER".to_owned())));
        check("TOKEN=file:/a=b", Some(Source::File("/a=b".into())));
        check("TOKEN=cmd:pass show x", Some(Source::Command("pass show x".to_owned())));
        for bad in ["", "1A", "TO KEN", "TOKEN=", "TOKEN=ghp_value", "TOKEN=env:", "TOKEN=vault:x"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_value_on_the_command_line_is_not_repeated() {
        let error = "TOKEN=ghp_real".parse::<SecretArgument>().expect_err("a value");
        assert!(!error.contains("ghp_real"), "{error}");
    }

    #[test]
    fn commands_and_files() {
        let read = |source: &str| source.parse::<SecretArgument>().expect("valid").source.read();
        let value = |source: &str| read(source).map(|s| s.expose_secret().to_owned());
        assert_eq!(value("A=cmd:printf 'abc\\n'"), Ok("abc".to_owned()));
        assert_eq!(value("A=cmd:printf 'a\\n\\n'"), Ok("a\n".to_owned()), "one line break only");
        assert!(value("A=cmd:exit 3").expect_err("fails").to_string().contains("exit status: 3"));
        assert!(value("A=file:/nonexistent").expect_err("missing").to_string().contains("/nonexistent"));
        assert!(value("A=env:TOLLGATE_TEST_UNSET").expect_err("unset").to_string().contains("TOLLGATE_TEST_UNSET"));
        assert!(value("A=cmd:head -c 70000 /dev/zero").expect_err("huge").to_string().contains("more than"));
    }
}
