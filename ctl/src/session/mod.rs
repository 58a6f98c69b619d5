//! One sandbox from start to end: the order of things behind `tollgate run`.
//!
//! Everything that can be wrong is found before the agent exists: policy, secrets, files, journal, isolation. Only then
//! the supervisor starts COMMAND. Nothing here is asynchronous until the proxy serves.

mod beginning;
pub mod environment;
mod forward;
mod grants;
mod isolation;
mod java_store;
mod policies;
mod policy_file;
mod proof;
mod running;
pub mod trust;
mod visitors;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::Notify;
use tollgate_audit::Event;
use tollgate_proxy::{
    Capacity, CertificateAuthority, Dialer, Gate, Identifier, Journal, JournalError, LimitSetting, Limits, Pin, Pool,
    Resolver, Rotation, Rules, Setup, Sockets, Workers, upstream_config,
};
use tollgate_secrets::Vault;
use tollgate_supervisor::{Confined, LaunchError};
use tollgate_wire::cell::{Cell, Control, Feature};
use tollgate_wire::status::Status;

pub use beginning::Detached;
pub use environment::Extra as ExtraEnvironment;
pub use environment::passed;
pub use forward::{Forward, ForwardError, Forwards};
pub use grants::Extra as ExtraFiles;
pub use isolation::Isolation;
pub use policies::{Policies, Refused, Text};
pub use policy_file::{MAX_POLICY_BYTES, PolicyFile};
pub use running::{Running, STOP_GRACE};

use crate::credentials::{Access, Keeper, Keeping, Network, SecretArgument, Store, attach, draw};
use crate::failure::{Failure, Kind};
use crate::home::{Claim, Home, SandboxFolder, random};
use crate::operator;
use beginning::{Beginning, followed, place, streams};
use forward::Forwarder;
use policy_file::{Fence, Follower, Following};
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
    /// Prepares a sandbox. To be called from the main thread before any other exists: the supervisor is its child.
    pub fn prepare(order: Order) -> Result<Self, Failure> {
        Self::prepare_as(order, None)
    }

    /// The same, for a sandbox that outlives the command that made it.
    pub fn prepare_as(mut order: Order, detached: Option<Detached>) -> Result<Self, Failure> {
        hide_memory();
        let home = order.home.as_deref().map_or_else(Home::open, Home::open_at)?;
        let attachments = attach(&home, &order.providers, &mut order.secrets)?;
        let resumes = detached.as_ref().filter(|detached| detached.resumes);
        let Beginning { file, content, brought } = Beginning::of(&order, resumes, attachments)?;
        let policy = file.parse(&content)?;
        file.idle_credentials(&policy).iter().for_each(|line| eprintln!("tollgate: warning: {line}"));
        let tls = upstream_config(&order.upstream_cas).map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
        let network = Network::of(&order.pins, tls.clone());
        let keeper = Keeper::open(&order.secrets, Access { store: Store::of(&home), network }, draw)?;
        let vault = Arc::new(keeper.vault(Instant::now()));
        let (claim, output) = place(&home, &order, detached)?;
        let (folder, name) = (&claim.folder, claim.folder.name.clone());
        let forwarders = order.forwards.iter().map(Forwarder::bind).collect::<Result<Vec<_>, _>>()?;
        let cell = cell(&order, &home, &policy, &vault, &file, folder)?;
        let limits = Limits::with(&order.limits);
        let authority =
            CertificateAuthority::new(&name, &limits).map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
        trust::write(folder, &authority, java_is_seen(&cell))?;
        let journal = open_journal(&home, folder, &limits)?;
        let rules = Arc::new(Rules::new(policy, vault));
        let opened = Policies::open(file, &content, &rules, &journal, folder);
        let policies = opened.inspect_err(|failure| abandon(&journal, failure.message()))?;
        let confined = tollgate_supervisor::launch_with(&cell, streams(output, cell.run_as)?)
            .map_err(|e| not_started(&journal, &e))?;
        raise_file_limit();
        let (sockets, identifier, root, confined) = take_sockets(confined);
        let workers = start_workers().inspect_err(|failure| abandon(&journal, failure.message()))?;
        let is_writable = grants::writable(&cell.files, policies.file().path());
        let fence = is_writable.then(|| Fence::new(root));
        let brought = followed(policies.file(), brought, is_writable, &rules.current().policy_sha256);
        let setup = Setup {
            rules: Arc::clone(&rules),
            journal: Arc::clone(&journal),
            authority,
            pool: Pool::new(Dialer::new(Resolver::new(&order.pins, &limits), tls, &limits), &limits),
            identifier: Some(Arc::new(identifier)),
            capacity: Capacity::served_by(workers.crew(), limits.connections),
            limits,
        };
        let status = status(&name, &order, &rules, &confined.controls, journal.path());
        let gate = Gate::new(setup);
        let session = Self {
            confined,
            order,
            keeping: Keeping::new(keeper, &rules, &journal, ""),
            rules,
            journal,
            gate,
            workers,
            sockets,
            fence,
            policies: Arc::new(policies),
            brought,
            forwarders,
            claim,
            status,
        };
        session.record_opening()?;
        Ok(session)
    }

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
        self.journal.record(&agent).and_then(|()| self.journal.sync()).map_err(journal_failure)?;
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

    fn record_opening(&self) -> Result<(), Failure> {
        let generation = self.rules.current();
        let controls: Vec<_> = self.status.controls.iter().map(|c| format!("{}: {}", c.name, c.detail)).collect();
        let event = Event::Open {
            version: env!("CARGO_PKG_VERSION"),
            policy_sha256: &generation.policy_sha256,
            controls: &controls,
            degraded: &self.status.degraded,
            pins: &self.status.pins,
            credentials: &self.status.credentials,
        };
        self.journal.record(&event).and_then(|()| self.journal.sync()).map_err(journal_failure)
    }
}

/// The next segment of the sandbox's journal.
fn open_journal(home: &Home, folder: &SandboxFolder, limits: &Limits) -> Result<Arc<Journal>, Failure> {
    let journal = Journal::open(&folder.journal(), &folder.name, home.journal_key()?, Rotation::of(limits));
    journal.map(Arc::new).map_err(journal_failure)
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

fn cell(
    order: &Order,
    home: &Home,
    policy: &tollgate_policy::Policy,
    vault: &Vault,
    file: &PolicyFile,
    folder: &SandboxFolder,
) -> Result<Cell, Failure> {
    let workdir = order.workdir.clone().map_or_else(std::env::current_dir, Ok);
    let workdir =
        workdir.map_err(|e| Failure::new(Kind::Usage, format!("the working directory cannot be found: {e}")))?;
    let command = order.command.first().map_or("", String::as_str);
    let request =
        grants::Request { policy, extra: &order.files, workdir: &workdir, command, policy_file: file.path(), folder };
    let files = grants::files(&request);
    let secret_files: Vec<_> = order.secrets.iter().filter_map(|s| s.source.file()).collect();
    grants::check_hidden(&files, home, &secret_files)?;
    grants::check_policy_file(&files, file.path())?;
    let environment = environment::build(
        vault,
        &order.environment,
        &format!("http://127.0.0.1:{}", tollgate_supervisor::EXPLICIT_PORT),
        Path::new(grants::CA_INSIDE),
        Path::new(grants::BUNDLE_INSIDE),
    );
    Ok(Cell {
        hostname: folder.name.clone(),
        command: order.command.clone(),
        environment,
        workdir,
        run_as: grants::run_as(policy)?,
        files,
        ports: policy.ports().iter().map(|port| port.get()).collect(),
        allow_degraded: order.allow_degraded.clone(),
        bounds: order.isolation.bounds(),
        proof: if order.isolation.no_self_proof { None } else { Some(proof::order(home, folder, policy)?) },
    })
}

/// True where a store of Java's is laid over.
fn java_is_seen(cell: &Cell) -> bool {
    cell.files.overlays.iter().any(|(_, inside)| inside.ends_with("cacerts"))
}

fn take_sockets(mut confined: Confined) -> (Sockets, Identifier, OwnedFd, Confined) {
    let sockets = confined.take_sockets();
    let identifier = Identifier::new(sockets.sock_diag, sockets.proc_root);
    let root = sockets.root;
    let sockets = Sockets {
        explicit: sockets.explicit,
        transparent: sockets.transparent,
        dns_udp: sockets.dns_udp,
        dns_tcp: sockets.dns_tcp,
    };
    (sockets, identifier, root, confined)
}

fn status(name: &str, order: &Order, rules: &Rules, controls: &[Control], journal: &Path) -> Status {
    let generation = rules.current();
    Status {
        name: name.to_owned(),
        pid: std::process::id(),
        command: order.command.clone(),
        started_at_ms: crate::revisions::now_ms(),
        forwards: order.forwards.iter().map(ToString::to_string).collect(),
        policy_file: order.policy.display().to_string(),
        generation: generation.number,
        policy_sha256: generation.policy_sha256.clone(),
        audit_endpoints: operator::audit_endpoints(&generation),
        controls: controls.to_vec(),
        degraded: controls.iter().filter(|c| !c.enforced).map(|c| c.name.clone()).collect(),
        pins: order.pins.iter().map(ToString::to_string).collect(),
        credentials: generation.broker.vault().secrets().iter().map(|s| s.name().to_string()).collect(),
        open: 0,
        limits: Limits::with(&order.limits).all(),
        journal: journal.display().to_string(),
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

pub fn journal_failure(error: JournalError) -> Failure {
    Failure::new(Kind::State, error.to_string())
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
