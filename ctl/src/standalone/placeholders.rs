//! Placeholders that outlive a restart: agents of a stand-alone proxy are given theirs once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tollgate_audit::digest::sha256;
use tollgate_secrets::{PLACEHOLDER_RANDOM_BYTES, Secret, Vault, shape};

use super::config::AgentConfig;
use super::private;
use crate::failure::{Failure, Kind};
use crate::home::{SandboxFolder, random, write_private};

/// Agent, name of the secret, placeholder.
type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The placeholders of all agents of one proxy, locked until it is dropped: `tollgate proxy env` and a running proxy
/// must not both draw one.
pub struct Placeholders {
    path: PathBuf,
    table: Table,
    changed: bool,
    _lock: File,
}

impl Placeholders {
    /// Reads the file in the proxy's state folder.
    pub fn open(folder: &SandboxFolder) -> Result<Self, Failure> {
        let path = folder.path.join("placeholders.json");
        let unusable = |why: String| Failure::new(Kind::State, format!("the placeholders: {why}"));
        let lock = lock(&folder.path.join("placeholders.lock")).map_err(|e| unusable(e.to_string()))?;
        let table = match path.exists() {
            false => Table::new(),
            true => {
                let text = private::read(&path).map_err(unusable)?;
                serde_json::from_str(&text).map_err(|e| unusable(format!("{}: {e}", path.display())))?
            }
        };
        Ok(Self { path, table, changed: false, _lock: lock })
    }

    /// Reads an agent's secrets and gives each its placeholder, the one that it always had. The digest beside the vault
    /// changes when a value does.
    pub fn vault(&mut self, agent: &AgentConfig) -> Result<(Vault, [u8; 32]), Failure> {
        let (mut secrets, mut digests) = (Vec::new(), Vec::new());
        for secret in &agent.secrets {
            let refused = |why: &dyn std::fmt::Display| {
                Failure::new(Kind::Credential, format!("agent {}: secret {}: {why}", agent.name, secret.name))
            };
            let value = secret.source.read().map_err(|e| refused(&e))?;
            let placeholder = self.placeholder(&agent.name, secret.name.as_str(), value.expose_secret())?;
            digests.extend(sha256(secret.name.as_str().as_bytes()));
            digests.extend(sha256(value.expose_secret().as_bytes()));
            secrets.push(Secret::new(secret.name.clone(), value, placeholder).map_err(|e| refused(&e))?);
        }
        Ok((Vault::new(secrets), sha256(&digests)))
    }

    /// Writes what was drawn.
    pub fn save(&self) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&self.table).expect("a table of text always serialises");
        write_private(&self.path, &text)
            .map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", self.path.display())))
    }

    fn placeholder(&mut self, agent: &str, name: &str, value: &str) -> Result<String, Failure> {
        let own = self.table.entry(agent.to_owned()).or_default();
        if let Some(known) = own.get(name) {
            return Ok(known.clone());
        }
        let random: [u8; PLACEHOLDER_RANDOM_BYTES] = random()?;
        let placeholder = shape(value, &random);
        own.insert(name.to_owned(), placeholder.clone());
        self.changed = true;
        Ok(placeholder)
    }
}

fn lock(path: &Path) -> std::io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    Ok(file)
}
