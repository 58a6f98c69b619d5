//! The seam behind which every source stands, and the sources that need no network.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::store::Store;

/// A source of one credential: this process's environment, a file, and as well a vault or a cloud's secret manager.
pub trait Fetch: Send + Sync {
    /// Gets the value as it is now. Never called by two at once from one keeper.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>>;

    /// What changes when another fetch would give something else; nothing where that cannot be seen from here.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// True where the answer is there without waiting for another program or machine.
    fn is_instant(&self) -> bool {
        false
    }
}

/// A value, and for how long it is good by its source's word.
#[derive(Debug)]
pub struct Fetched {
    pub value: SecretString,
    pub life: Option<Duration>,
}

/// The state of a file, to see a change without reading it.
pub type Stamp = Option<(u64, i64, i64, u64)>;

/// Why a source gives no value. Never holds one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not set, or not text.
    #[error("the variable {0} is not set; set it or name another source, as NAME=file:PATH")]
    NoVariable(String),
    /// Neither in the environment nor in the store.
    #[error("it is neither in the environment nor in the store; export it or run: tollgate credential set {0}")]
    Nowhere(String),
    /// The file.
    #[error("the file {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// The command.
    #[error("its command {0}")]
    Command(String),
    /// The store itself.
    #[error("{0}")]
    Store(String),
    /// It may not be used any longer.
    #[error("it was revoked")]
    Revoked,
    /// The token endpoint.
    #[error("the token endpoint {endpoint} {reason}")]
    Endpoint {
        /// Its URL without a query.
        endpoint: String,
        /// What happened.
        reason: String,
    },
}

/// Reads a variable of this process.
pub struct Environment(pub String);

/// Reads the store, again whenever it has changed.
pub struct Stored {
    pub store: Store,
    pub name: String,
}

/// Reads a file; one line break at its end is not part of the value.
pub struct FromFile(pub PathBuf);

/// Runs `sh -c COMMAND` outside the sandbox. What it prints is the value, or JSON with `value` or `token` and `expires_in`.
pub struct FromCommand(pub String);

/// More than any slot takes.
const MAX_VALUE_BYTES: u64 = 64 * 1024;

/// A password manager that asks for a touch takes a while; one that hangs must not hang the start.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

fn ready<'a>(
    result: Result<Fetched, FetchError>,
) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + 'a>> {
    Box::pin(std::future::ready(result))
}

fn forever(value: SecretString) -> Fetched {
    Fetched { value, life: None }
}

impl Fetch for Environment {
    fn is_instant(&self) -> bool {
        true
    }

    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        let value = std::env::var(&self.0).map_err(|_| FetchError::NoVariable(self.0.clone()));
        ready(value.map(|value| forever(value.into())))
    }
}

impl Fetch for Stored {
    fn is_instant(&self) -> bool {
        true
    }

    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        ready(self.read().map(forever))
    }

    fn stamp(&self) -> Option<Stamp> {
        Some(stamp(self.store.path()))
    }
}

impl Stored {
    fn read(&self) -> Result<SecretString, FetchError> {
        let mut entries = self.store.read().map_err(|failure| FetchError::Store(failure.message().to_owned()))?;
        let entry = entries.0.remove(&self.name).ok_or_else(|| FetchError::Nowhere(self.name.clone()))?;
        if entry.revoked {
            return Err(FetchError::Revoked);
        }
        let value = entry.value.ok_or_else(|| FetchError::Nowhere(self.name.clone()))?;
        Ok(SecretString::from(value.as_str()))
    }
}

impl Fetch for FromFile {
    fn is_instant(&self) -> bool {
        true
    }

    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        ready(read_file(&self.0).map(|text| forever(without_line_break(&text))))
    }

    fn stamp(&self) -> Option<Stamp> {
        Some(stamp(&self.0))
    }
}

impl Fetch for FromCommand {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        let command = self.0.clone();
        Box::pin(async move {
            let ran = tokio::task::spawn_blocking(move || run(&command)).await;
            ran.unwrap_or_else(|_| Err(FetchError::Command("was broken off".to_owned())))
        })
    }
}

/// The state of a file; nothing where it cannot be looked at.
pub fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
}

/// A file with a secret in it.
pub fn read_file(path: &Path) -> Result<Zeroizing<String>, FetchError> {
    let refused = |reason: String| FetchError::File(path.to_owned(), reason);
    let file = File::open(path).map_err(|e| refused(e.to_string()))?;
    read_text(file).map_err(refused)
}

fn run(command: &str) -> Result<Fetched, FetchError> {
    // The agent is told why its credential is missing; what the operator runs is not its business.
    let failed = FetchError::Command;
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
    let text = reader.join().map_err(|_| failed("could not be read".to_owned()))?.map_err(failed)?;
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(format!("failed with {status}")));
    }
    printed(&text).ok_or_else(|| failed("printed JSON without `value` or `token`".to_owned()))
}

/// What credential helpers print.
#[derive(Deserialize)]
struct Printed {
    #[serde(alias = "token", alias = "access_token", alias = "password")]
    value: Zeroizing<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

fn printed(text: &str) -> Option<Fetched> {
    if !text.trim_start().starts_with('{') {
        return Some(forever(without_line_break(text)));
    }
    let Printed { value, expires_in } = serde_json::from_str(text).ok()?;
    Some(Fetched { value: SecretString::from(value.as_str()), life: expires_in.map(Duration::from_secs) })
}

pub fn read_text(from: impl Read) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_VALUE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err(format!("gives more than {MAX_VALUE_BYTES} bytes"));
    }
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| "gives no UTF-8 text".to_owned())
}

pub fn without_line_break(text: &str) -> SecretString {
    let text = text.strip_suffix('\n').unwrap_or(text);
    SecretString::from(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
