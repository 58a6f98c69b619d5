//! Placeholders that outlive a restart: agents of a stand-alone proxy are given theirs once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use tollgate_secrets::SecretName;

use super::config::AgentConfig;
use super::private;
use crate::credentials::{Access, Keeper, Network, Store, draw};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, write_private};

/// Agent, name of the secret, placeholder.
type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The placeholders of all agents of one proxy, locked until it is dropped: `tollgate proxy env` and a running proxy
/// must not both draw one.
pub struct Placeholders {
    path: PathBuf,
    table: Table,
    access: Access,
    changed: bool,
    _lock: File,
}

impl Placeholders {
    /// Reads the file in the proxy's state folder.
    pub fn open(home: &Home, folder: &SandboxFolder, network: Network) -> Result<Self, Failure> {
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
        let access = Access { store: Store::of(home), network };
        Ok(Self { path, table, access, changed: false, _lock: lock })
    }

    /// Reads an agent's secrets and gives each its placeholder, the one that it always had.
    pub fn keeper(&mut self, agent: &AgentConfig) -> Result<Keeper, Failure> {
        let access = self.access.clone();
        Keeper::open(&agent.secrets, access, |name, value| self.placeholder(&agent.name, name, value))
            .map_err(|failure| Failure::new(Kind::Credential, format!("agent {}: {}", agent.name, failure.message())))
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

    fn placeholder(&mut self, agent: &str, name: &SecretName, value: &str) -> Result<String, Failure> {
        let own = self.table.entry(agent.to_owned()).or_default();
        if let Some(known) = own.get(name.as_str()) {
            return Ok(known.clone());
        }
        let placeholder = draw(name, value)?;
        own.insert(name.to_string(), placeholder.clone());
        self.changed = true;
        Ok(placeholder)
    }
}

fn lock(path: &Path) -> std::io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    Ok(file)
}
