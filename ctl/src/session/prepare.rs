//! Everything that stands before COMMAND starts, in the order in which it can go wrong.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tollgate_audit::Event;
use tollgate_proxy::{
    Capacity, CertificateAuthority, Dialer, Gate, Identifier, Journal, Limits, Pool, Resolver, Rotation, Rules, Setup,
    Sockets, upstream_config,
};
use tollgate_secrets::Vault;
use tollgate_supervisor::Confined;
use tollgate_wire::cell::{Cell, Control};
use tollgate_wire::status::Status;

use super::beginning::{Beginning, Detached, followed, place, streams};
use super::{Order, Session, abandon, environment, grants, not_started, proof, trust};
use super::{hide_memory, raise_file_limit, start_workers};
use crate::credentials::{Access, Keeper, Keeping, Network, Store, attach, draw};
use crate::failure::{Failure, Kind};
use crate::forward::Forwarder;
use crate::home::{Home, SandboxFolder};
use crate::operator;
use crate::policies::{Fence, Policies, PolicyFile};

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
        self.journal.record(&event).and_then(|()| self.journal.sync()).map_err(Failure::of_journal)
    }
}

/// The next segment of the sandbox's journal.
fn open_journal(home: &Home, folder: &SandboxFolder, limits: &Limits) -> Result<Arc<Journal>, Failure> {
    let journal = Journal::open(&folder.journal(), &folder.name, home.journal_key()?, Rotation::of(limits));
    journal.map(Arc::new).map_err(Failure::of_journal)
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
