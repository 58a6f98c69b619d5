//! What was set, kept outside: the agent's home is in memory and new at every start.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::file;
use crate::credentials::Store;
use crate::definition::{Definition, Options};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, write_private};

/// The configuration as it was when it was set last, and the credentials that its tokens became.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    document: Map<String, Value>,
    credentials: Vec<String>,
}

/// One writer at a time, until this is dropped.
pub fn lock(sandbox: &SandboxFolder) -> Result<File, Failure> {
    let path = path(sandbox).with_extension("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
    lock.map_err(|e| unusable(&path, &e))
}

/// Keeps a configuration for the next start, and the credentials with what the sandbox is started by.
pub fn keep(
    sandbox: &SandboxFolder,
    document: &Map<String, Value>,
    credentials: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    let mut kept = load(sandbox)?;
    kept.document.clone_from(document);
    kept.credentials.extend(credentials);
    kept.credentials.sort();
    kept.credentials.dedup();
    if let Some(mut definition) = Definition::load(sandbox)? {
        let given = kept.credentials.iter().map(|name| format!("{name}=store"));
        let missing: Vec<_> = given.filter(|secret| !definition.options.secrets.contains(secret)).collect();
        definition.options.secrets.extend(missing);
        definition.save(sandbox)?;
    }
    let path = path(sandbox);
    let written = serde_json::to_vec_pretty(&kept).map_err(std::io::Error::from);
    written.and_then(|text| write_private(&path, &text)).map_err(|e| unusable(&path, &e))
}

/// What the agent gets at the next start; empty where nothing was set.
pub fn document(sandbox: &SandboxFolder) -> Result<Map<String, Value>, Failure> {
    load(sandbox).map(|kept| kept.document)
}

/// Leaves out what tokens of the configuration became and the store holds no longer, and gives the names: the agent's references
/// to them are refused until they are set anew, and the rest of the sandbox starts.
pub fn leave_out_reset(home: &Home, sandbox: &SandboxFolder, options: &mut Options) -> Result<Vec<String>, Failure> {
    let Kept { credentials, .. } = load(sandbox)?;
    let entries = Store::of(home).read()?;
    let gone: Vec<_> = credentials.into_iter().filter(|name| !entries.0.contains_key(name)).collect();
    options.secrets.retain(|secret| !gone.iter().any(|name| *secret == format!("{name}=store")));
    Ok(gone)
}

/// Gives a sandbox that was started again what was kept of its agent's configuration.
pub fn restore(sandbox: &SandboxFolder) -> Result<(), Failure> {
    let Kept { document, .. } = load(sandbox)?;
    if document.is_empty() {
        return Ok(());
    }
    file::write(sandbox, &document)
}

/// Removes the credentials that tokens of a sandbox became, when it is deleted.
pub fn forget(home: &Home, sandbox: &SandboxFolder) -> Result<(), Failure> {
    let Kept { credentials, .. } = load(sandbox)?;
    if credentials.is_empty() {
        return Ok(());
    }
    Store::of(home).change(|entries| {
        entries.0.retain(|name, _| !credentials.contains(name));
        Ok(())
    })
}

fn load(sandbox: &SandboxFolder) -> Result<Kept, Failure> {
    let path = path(sandbox);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(e) => Err(unusable(&path, &e)),
        Ok(text) => serde_json::from_slice(&text).map_err(|e| unusable(&path, &e)),
    }
}

fn path(sandbox: &SandboxFolder) -> PathBuf {
    sandbox.path.join("agent-config.json")
}

fn unusable(path: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::State, format!("the agent's configuration in {} cannot be kept: {error}", path.display()))
}
