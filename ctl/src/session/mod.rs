//! One sandbox from start to end: the order of things behind `tollgate run`.
//!
//! Everything that can be wrong is found before the agent exists: policy, secrets, files, journal, isolation. Only then
//! the supervisor starts COMMAND. Nothing here is asynchronous until the proxy serves.

mod beginning;
pub mod environment;
mod grants;
mod isolation;
mod java_store;
mod prepare;
mod proof;
mod running;
pub mod trust;
mod visitors;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::Notify;
use tollgate_audit::Event;
use tollgate_proxy::{Gate, Journal, LimitSetting, Pin, Rules, Sockets, Workers};
use tollgate_supervisor::{Confined, LaunchError};
use tollgate_wire::cell::Feature;
use tollgate_wire::status::Status;

pub use beginning::Detached;
pub use environment::Extra as ExtraEnvironment;
pub use environment::passed;
pub use grants::Extra as ExtraFiles;
pub use isolation::Isolation;
pub use running::{Running, STOP_GRACE};

use crate::credentials::{Keeping, SecretArgument};
use crate::failure::{Failure, Kind};
use crate::forward::{Forward, Forwarder, Forwards};
use crate::home::{Claim, SandboxFolder, random};
use crate::operator;
use crate::policies::{Fence, Follower, Following, Policies};
use visitors::Visitors;

/// What to run and how: the command line, read.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The state folder, where it is not the user's.
    pub home: Option<PathBuf>,
    /// The agent's working directory, where it is not ours.
    pub workdir: Option<PathBuf>,
    /// The sandbox's name; drawn when there is none.
    pub name: Option<String>,
    /// The policy file.
    pub policy: PathBuf,
    /// Secrets and where they are.
    pub secrets: Vec<SecretArgument>,
    /// Providers of which all secrets are wanted.
    pub providers: Vec<String>,
    /// Operator's pins.
    pub pins: Vec<Pin>,
    /// Bounds that differ from the defaults.
    pub limits: Vec<LimitSetting>,
    /// PEM files with further upstream authorities.
    pub upstream_cas: Vec<PathBuf>,
    /// Features that may be missing.
    pub allow_degraded: Vec<Feature>,
    /// Bounds, and whether the sandbox is proved.
    pub isolation: Isolation,
    /// Further environment.
    pub environment: ExtraEnvironment,
    /// Further files.
    pub files: ExtraFiles,
    /// Where the operator API is served beside the control socket.
    pub api: Option<operator::Address>,
    /// Ports of the host that lead to ports inside.
    pub forwards: Vec<Forward>,
    /// COMMAND and its arguments; nothing where the sandbox stands without an agent.
    pub command: Vec<String>,
}

/// A sandbox that is ready: everything is in force and COMMAND has not started.
pub struct Session {
    confined: Confined,
    order: Order,
    keeping: Keeping,
    rules: Arc<Rules>,
    journal: Arc<Journal>,
    gate: Arc<Gate>,
    workers: Workers,
    sockets: Sockets,
    fence: Option<Fence>,
    policies: Arc<Policies>,
    /// Hash of the policy that the file brought last; nothing where there is no file any more.
    brought: Option<String>,
    forwarders: Vec<Forwarder>,
    claim: Claim,
    status: Status,
}

impl Session {
    /// Serves the sandbox and starts COMMAND. Needs a runtime.
    pub async fn start(mut self) -> Result<Running, Failure> {
        self.gate.serve(self.sockets).map_err(|e| Failure::new(Kind::Other, format!("the proxy cannot serve: {e}")))?;
        let following = self.brought.map(|brought| Following {
            file: self.policies.file().clone(),
            rules: Arc::clone(&self.rules),
            policies: Arc::clone(&self.policies),
            fence: self.fence,
            brought,
            refused: None,
        });
        let follower = following.map(Follower::start).transpose()?;
        let proved = proof::run(&self.confined, &self.journal, self.order.isolation.no_self_proof);
        self.status.controls.push(proved.inspect_err(|failure| abandon(&self.journal, failure.message()))?);
        self.keeping.start();
        let controls = self.status.controls.clone();
        let (stop, door) = (Arc::new(Notify::new()), self.confined.door());
        let visitors = Visitors::start(&self.claim.folder, &door, &self.journal)?;
        let forwards = Arc::new(Forwards::start(self.forwarders, &door, &self.journal)?);
        let shared = operator::Shared {
            status: Arc::new(self.status),
            rules: self.rules,
            gate: Arc::clone(&self.gate),
            credentials: self.keeping.shared(),
            stop: Arc::clone(&stop),
            forwards,
            journal: Arc::clone(&self.journal),
        };
        let operator = operator::Server::start(&self.claim.folder, shared, self.policies, self.order.api)?;
        let agent = Event::Agent { command: &self.order.command };
        self.journal.record(&agent).and_then(|()| self.journal.sync()).map_err(Failure::of_journal)?;
        self.confined.start().map_err(|e| not_started(&self.journal, &e))?;
        let confined = self.confined;
        let waiter = tokio::task::spawn_blocking(move || confined.wait());
        Ok(Running {
            waiter,
            door,
            stop,
            deadline: None,
            journal: self.journal,
            gate: self.gate,
            _workers: self.workers,
            claim: self.claim,
            _follower: follower,
            _visitors: visitors,
            keeping: self.keeping,
            operator,
            controls,
        })
    }

    /// The sandbox's name.
    pub fn name(&self) -> &str {
        &self.claim.folder.name
    }

    /// Its folder.
    pub fn folder(&self) -> &SandboxFolder {
        &self.claim.folder
    }

    /// The folder of its journal.
    pub fn journal_path(&self) -> &Path {
        self.journal.path()
    }

    /// Features that are missing and allowed to be.
    pub fn degraded(&self) -> &[String] {
        &self.status.degraded
    }
}

/// A core dump of this process would hold every secret.
pub fn forbid_core_dumps() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
}

/// Other processes of this user may not read the memory of this one, nor the environment that it was started with (prctl(2),
/// PR_SET_DUMPABLE). What it starts is not hidden: that begins anew with execve(2).
pub fn hide_memory() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "other processes of this user can read this one's memory");
    }
}

/// The threads that serve connections. Nothing may fork after this.
pub fn start_workers() -> Result<Workers, Failure> {
    Workers::start()
        .map_err(|e| Failure::new(Kind::Other, format!("the threads that serve connections cannot be started: {e}")))
}

/// Every connection takes three descriptors; the usual soft limit of 1024 is meant for programs that select(2). The agent
/// has been started with the limit as it was.
pub fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// A name that no other sandbox of this user is likely to have.
pub fn draw_name() -> Result<String, Failure> {
    let bytes: [u8; 4] = random()?;
    Ok(format!("run-{:08x}", u32::from_be_bytes(bytes)))
}

/// The journal of a sandbox that does not start says why and ends.
fn abandon(journal: &Journal, why: &str) {
    if let Err(unwritten) = journal.close(&format!("the agent was not started: {why}")) {
        tracing::warn!(%unwritten, "the journal has no end");
    }
}

fn not_started(journal: &Journal, error: &LaunchError) -> Failure {
    abandon(journal, &error.to_string());
    let kind = match error.exit_code() {
        2 => Kind::Usage,
        126 => Kind::NotExecutable,
        127 => Kind::NotFound,
        _ => Kind::Isolation,
    };
    Failure::new(kind, error.to_string())
}
