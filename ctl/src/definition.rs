//! What a sandbox is made of, as its command line says it; kept in the state folder where it is to be started again.
//!
//! As written, not as read: sources of secrets and never their values, relative paths beside the folder that they are relative
//! to. Each start reads it anew.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tollgate_proxy::{LimitSetting, Pin};
use tollgate_wire::cell::Feature;

use crate::failure::{Failure, Kind};
use crate::forward::Forward;
use crate::home::{SandboxFolder, write_private};
use crate::operator::Address;
use crate::session::{ExtraFiles, Isolation, Order};

/// The options of everything that makes a sandbox.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The policy; edits take effect while the agent runs
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// A secret: NAME=env:VAR, NAME=store, NAME=file:PATH, NAME=cmd:COMMAND, NAME=oauth:FILE, or NAME alone for the variable
    /// of that name, else the store. The agent finds a placeholder in its variable NAME
    #[arg(long = "secret", value_name = "NAME[=SOURCE]")]
    pub secrets: Vec<String>,
    /// All credentials of a provider, bound to the endpoints of the policy that its profile is for, or that name it in
    /// `credential_binding`
    #[arg(long = "provider", value_name = "NAME")]
    pub providers: Vec<String>,
    /// Pin a name to an address, which may be private or loopback
    #[arg(long = "resolve", value_name = "NAME:PORT:ADDRESS", value_parser = kept::<Pin>)]
    pub pins: Vec<String>,
    /// Trust the authorities in this PEM file for upstream certificates as well
    #[arg(long = "upstream-ca", value_name = "FILE")]
    pub upstream_cas: Vec<PathBuf>,
    /// Set a bound of the proxy, for example streams=64; `status -o json` shows all of them
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = kept::<LimitSetting>)]
    pub limits: Vec<String>,
    /// Show the agent the file tree of an unpacked image in place of this machine's; the policy's paths are paths in it, and
    /// what the agent changes there is changed in DIR
    #[arg(long, value_name = "DIR")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<PathBuf>,
    /// Let the agent read and execute this path as well
    #[arg(long, value_name = "PATH")]
    pub read_only: Vec<PathBuf>,
    /// Let the agent change this path as well
    #[arg(long, value_name = "PATH")]
    pub read_write: Vec<PathBuf>,
    /// Pass a variable of yours to the agent, or set one
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub environment: Vec<String>,
    /// Run although this protection is missing; shown in `status` and in the journal
    #[arg(long, value_name = "FEATURE")]
    pub allow_degraded: Vec<FeatureArgument>,
    /// Bounds of the sandbox
    #[command(flatten)]
    pub isolation: Isolation,
    /// Serve the operator API on this address of the loopback as well, for whoever has the token in the file api.token of the
    /// sandbox's folder
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = kept::<Address>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Lead a port of this machine's loopback to one inside
    #[arg(long = "forward", value_name = "[HOST:]PORT", value_parser = kept::<Forward>)]
    pub forwards: Vec<String>,
}

/// A sandbox that stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// When it was created, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// The folder that relative paths are relative to, and the agent's working directory.
    pub workdir: PathBuf,
    /// What passed from the creator's environment; the same passes at every start.
    pub passed: Vec<(String, String)>,
    /// The options.
    pub options: Options,
    /// COMMAND and its arguments; nothing where there is no agent.
    pub command: Vec<String>,
}

/// A protection that may be missing.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureArgument {
    /// The file rules of the kernel.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// The capture of every port.
    Nftables,
    /// The bounds of the sandbox as a whole.
    Cgroup,
}

impl From<FeatureArgument> for Feature {
    fn from(argument: FeatureArgument) -> Self {
        match argument {
            FeatureArgument::Landlock => Self::Landlock,
            FeatureArgument::Seccomp => Self::Seccomp,
            FeatureArgument::Nftables => Self::Nftables,
            FeatureArgument::Cgroup => Self::Cgroup,
        }
    }
}

impl Options {
    /// Reads them. Relative paths are relative to this process's working directory.
    pub fn order(self, name: Option<String>, command: Vec<String>) -> Result<Order, Failure> {
        let absolute = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>();
        let files = ExtraFiles {
            image: self.rootfs.as_deref().map(image).transpose()?,
            read_only: absolute(&self.read_only)?,
            read_write: absolute(&self.read_write)?,
        };
        Ok(Order {
            home: None,
            workdir: None,
            name,
            policy: self.policy,
            secrets: each(&self.secrets, "--secret NAME[=SOURCE]")?,
            providers: self.providers,
            pins: each(&self.pins, "--resolve")?,
            limits: each(&self.limits, "--limit")?,
            upstream_cas: self.upstream_cas,
            allow_degraded: self.allow_degraded.into_iter().map(Feature::from).collect(),
            isolation: self.isolation,
            environment: self.environment.iter().map(|text| variable(text)).collect::<Result<_, _>>()?,
            files,
            api: each(self.api.as_slice(), "--api")?.pop(),
            forwards: each(&self.forwards, "--forward")?,
            command,
        })
    }

    /// With the values of variables that are only named: a later start may not know them.
    pub fn with_values(self) -> Result<Self, Failure> {
        let given = |text: &String| variable(text).map(|(name, value)| format!("{name}={value}"));
        let environment = self.environment.iter().map(given).collect::<Result<_, _>>()?;
        // What is wrong here must not be kept: it may be the secret itself.
        each::<crate::credentials::SecretArgument>(&self.secrets, "--secret NAME[=SOURCE]")?;
        Ok(Self { environment, ..self })
    }
}

impl Definition {
    /// Reads what is kept; nothing where nothing is.
    pub fn load(folder: &SandboxFolder) -> Result<Option<Self>, Failure> {
        let path = folder.definition();
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| unusable(&path, &e))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| unusable(&path, &e))
    }

    /// Keeps it: all of it or nothing.
    pub fn save(&self, folder: &SandboxFolder) -> Result<(), Failure> {
        let path = folder.definition();
        let text = serde_json::to_vec_pretty(self).map_err(|e| unusable(&path, &e))?;
        write_private(&path, &text).map_err(|e| unusable(&path, &e))
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::State, format!("the definition {} cannot be used: {error}", path.display()))
}

/// Checks an argument and keeps it as it is written.
fn kept<T: FromStr>(text: &str) -> Result<String, T::Err> {
    text.parse::<T>().map(|_| text.to_owned())
}

/// Read here and not by the argument parser where its message would repeat what was typed: it may be the secret itself.
fn each<T: FromStr<Err: std::fmt::Display>>(texts: &[String], option: &str) -> Result<Vec<T>, Failure> {
    let read = |text: &String| text.parse().map_err(|error| Failure::new(Kind::Usage, format!("{option}: {error}")));
    texts.iter().map(read).collect()
}

/// `NAME=VALUE`, or `NAME` for the value that it has here.
pub fn variable(text: &str) -> Result<(String, String), Failure> {
    let usage = |message| Failure::new(Kind::Usage, message);
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) => Err(usage(format!("--env {text}: the variable has no name"))),
        None => {
            let value = std::env::var(text).map_err(|_| usage(format!("--env {text}: the variable is not set")))?;
            Ok((text.to_owned(), value))
        }
    }
}

fn image(path: &Path) -> Result<PathBuf, Failure> {
    let refuse = |why: &str| Failure::new(Kind::Usage, format!("--rootfs {}: {why}", path.display()));
    let root = path.canonicalize().map_err(|e| refuse(&e.to_string()))?;
    match () {
        () if !root.is_dir() => Err(refuse("it is no folder; unpack the image first")),
        () if root == Path::new("/") => Err(refuse("that is this machine's own tree, which is shown without it")),
        () if !["usr", "bin"].iter().any(|folder| root.join(folder).is_dir()) => {
            Err(refuse("there is neither usr nor bin in it, so no program could run; name the folder that holds them"))
        }
        () => Ok(root),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|e| Failure::new(Kind::Usage, format!("{} cannot be granted: {e}", path.display())))
}
