//! `tollgate.yaml`: what a stand-alone proxy is told, read strictly and with every mistake at once.
//!
//! Files are named relative to the folder of the configuration. Nothing here touches the disk: what the files hold is
//! read by whoever needs it.

mod decode;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_policy::Diagnostics;
use tollgate_policy::document::Cidr;
use tollgate_proxy::Pin;

use crate::credentials::SecretArgument;

/// A configuration as written, valid by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of the proxy's state folder.
    pub name: String,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// The certificate authority that clients trust.
    pub authority: Authority,
    /// PEM files with further upstream authorities.
    pub upstream_cas: Vec<PathBuf>,
    /// Operator's pins.
    pub pins: Vec<Pin>,
    /// Who may come in.
    pub agents: Vec<AgentConfig>,
    /// Bounds.
    pub limits: Limits,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub place: Place,
    /// What it speaks.
    pub speaks: Speaks,
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address; port 0 lets the system choose.
    Address(SocketAddr),
    /// What the service manager passed under this name (sd_listen_fds(3)).
    Systemd(String),
}

/// What a listener speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// CONNECT and absolute-form requests.
    Explicit,
    /// The same inside TLS.
    ExplicitTls(KeyFiles),
    /// Connections that the operator's packet filter redirects.
    Transparent,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// PEM, the chain included.
    pub certificate: PathBuf,
    /// PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// Where the certificate authority comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Made in this folder when it is first needed; nothing means the state folder.
    Made(Option<PathBuf>),
    /// An organisation's own.
    Given(KeyFiles),
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// Its name, an RFC 1123 label.
    pub name: String,
    /// The file with its token.
    pub token_file: Option<PathBuf>,
    /// Where it must come from.
    pub sources: Vec<Cidr>,
    /// Its policy.
    pub policy: PathBuf,
    /// Its secrets and where they are.
    pub secrets: Vec<SecretArgument>,
    /// Providers of which it has all secrets.
    pub providers: Vec<String>,
}

/// Bounds that an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Those of the gate.
    pub gate: tollgate_proxy::Limits,
    /// Connections at a time of one agent; further ones are refused.
    pub connections_per_agent: u32,
    /// How long connections may go on after SIGTERM.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { gate: tollgate_proxy::Limits::default(), connections_per_agent: 1024, drain: Duration::from_secs(30) }
    }
}

impl Config {
    /// Reads a configuration that lies in `folder`, an absolute path. The warnings say what loads and is probably not meant.
    ///
    /// # Errors
    /// Every mistake at once, in the order of the text.
    pub fn read(text: &str, folder: &Path) -> Result<(Self, Diagnostics), Diagnostics> {
        decode::config(text, folder)
    }

    /// Every file whose content counts, in the order of their paths.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.upstream_cas.clone();
        for listener in &self.listeners {
            if let Speaks::ExplicitTls(pair) = &listener.speaks {
                files.extend([pair.certificate.clone(), pair.key.clone()]);
            }
        }
        for agent in &self.agents {
            files.push(agent.policy.clone());
            files.extend(agent.token_file.clone());
            files.extend(agent.secrets.iter().filter_map(|secret| secret.source.file().map(Path::to_owned)));
        }
        files.sort();
        files.dedup();
        files
    }

    /// The first section that differs from `running` and cannot change while the proxy runs.
    pub fn fixed_difference(&self, running: &Self) -> Option<&'static str> {
        let same = [
            ("name", self.name == running.name),
            ("listeners", self.listeners == running.listeners),
            ("authority", self.authority == running.authority),
            ("limits", self.limits == running.limits),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(section, _)| section)
    }
}
