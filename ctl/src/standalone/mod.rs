//! The stand-alone proxy: one process in front of many agents that run anywhere.
//!
//! `config` is the file as written; [`Fresh`] is everything that it names, read and found valid, at the start and at each
//! reload; `running` is what is in force. There is no sandbox here, so no program behind a connection is known: agents
//! are told apart by a token or by where they come from, and entries that name binaries never match.

mod agents;
mod authority;
mod config;
mod exports;
mod listeners;
mod placeholders;
mod private;
mod running;
mod service_manager;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;

pub use exports::exports;
pub use running::{Ending, Prepared, Running};
pub use service_manager::{ServiceManager, State};

use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};
use agents::{Material, Member, Trust};
use config::Config;
use placeholders::Placeholders;

/// A configuration file on the host.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    /// As the operator wrote it, for messages.
    shown: PathBuf,
}

/// Everything that a configuration names, read and found valid.
struct Fresh {
    config: Config,
    agents: Vec<Material>,
    trust: Trust,
    certificates: Vec<Arc<ServerConfig>>,
    warnings: Vec<String>,
}

/// Larger configurations are refused before they are read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

impl ConfigFile {
    /// Names the file; links in its path are followed anew with each reading.
    pub fn new(shown: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(shown).map_err(|e| Self::unreadable(shown, &e))?;
        Ok(Self { path, shown: shown.to_owned() })
    }

    /// Reads the file and says what loads and is probably not meant.
    ///
    /// # Errors
    /// All its mistakes at once, one a line, each as `file:line:column: message`.
    fn load(&self) -> Result<(Config, Vec<String>), Failure> {
        let size = std::fs::metadata(&self.path).map_err(|e| Self::unreadable(&self.shown, &e))?.len();
        if size > MAX_CONFIG_BYTES {
            let why = format!("it has {size} bytes, more than {MAX_CONFIG_BYTES}");
            return Err(Self::unreadable(&self.shown, &why));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|e| Self::unreadable(&self.shown, &e))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let named = |diagnostics: &tollgate_policy::Diagnostics| -> Vec<String> {
            diagnostics.iter().map(|d| format!("{}:{d}", self.shown.display())).collect()
        };
        match Config::read(&text, folder) {
            Ok((config, warnings)) => Ok((config, named(&warnings))),
            Err(mistakes) => {
                let message = format!("the configuration is not valid:\n{}", named(&mistakes).join("\n"));
                Err(Failure::new(Kind::Policy, message))
            }
        }
    }

    /// Reads everything that a start would read and gives the warnings.
    pub fn check(&self) -> Result<Vec<String>, Failure> {
        let (config, warnings) = self.load()?;
        let home = Home::open()?;
        let folder = home.proxy(&config.name)?;
        authority::open(&config.authority, &folder)?;
        Ok(Fresh::read(config, warnings, &home, &folder, None)?.warnings)
    }

    fn unreadable(shown: &Path, why: &dyn std::fmt::Display) -> Failure {
        let hint = "name another with --config";
        Failure::new(Kind::Policy, format!("the configuration {} cannot be read: {why}; {hint}", shown.display()))
    }
}

impl Fresh {
    /// Reads every file that the configuration names.
    fn read(
        config: Config,
        warnings: Vec<String>,
        home: &Home,
        folder: &SandboxFolder,
        running: Option<(&[Member], &Trust)>,
    ) -> Result<Self, Failure> {
        let trust = Trust::read(&config)?;
        let mut placeholders = Placeholders::open(home, folder, trust.network())?;
        // Token endpoints are asked in the way that is in force now.
        let goes_on = running.filter(|(_, before)| trust.is_as(before)).map(|(members, _)| members);
        let agents = Material::read(&config, home, &mut placeholders, goes_on.unwrap_or_default())?;
        let certificates = listeners::certificates(&config)?;
        placeholders.save()?;
        let mut warnings = warnings;
        warnings.extend(agents.iter().flat_map(Material::warnings));
        Ok(Self { config, agents, trust, certificates, warnings })
    }
}
