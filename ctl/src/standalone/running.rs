//! A stand-alone proxy from start to end: prepare, serve, reload, drain.

use std::sync::Arc;

use tollgate_audit::Event;
use tollgate_proxy::{Capacity, Front, Journal, Limits, Rotation, Workers};

use super::agents::{Common, Member, Trust, roster};
use super::config::{Authority, Config};
use super::listeners::{self, Certificates, Open};
use super::status::{Facts, Shown};
use super::{ConfigFile, Fresh, authority};
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};
use crate::operator;
use crate::session::{raise_file_limit, start_workers};
use crate::watch::Watch;

/// A proxy that is ready: everything is read, every socket listens, nothing is served.
pub struct Prepared {
    sockets: Vec<Open>,
    running: Running,
}

/// A proxy that serves.
pub struct Running {
    file: ConfigFile,
    config: Config,
    home: Home,
    folder: SandboxFolder,
    common: Common,
    members: Vec<Member>,
    trust: Trust,
    certificates: Certificates,
    front: Arc<Front>,
    facts: Arc<Facts>,
    watch: Watch,
    warnings: Vec<String>,
    operator: Option<operator::Server>,
    _workers: Workers,
}

/// How a proxy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every connection came to its end.
    Drained,
    /// Connections that were left after the drain time were cut.
    Cut,
}

impl Prepared {
    /// Reads everything and opens the listeners. What is wrong is found here, before anything is served.
    pub fn new(file: ConfigFile) -> Result<Self, Failure> {
        let (config, warnings) = file.load()?;
        let watch = watch(&file, &config)?;
        let home = Home::open()?;
        let folder = home.proxy(&config.name)?;
        refuse_a_second(&folder)?;
        let fresh = Fresh::read(config, warnings, &home, &folder, None)?;
        raise_file_limit();
        let sockets = listeners::open(&fresh.config)?;
        let authority = Arc::new(authority::open(&fresh.config.authority, &folder)?);
        let limits = fresh.config.limits.clone();
        let workers = start_workers()?;
        let common = Common {
            journal: start_journal(&home, &folder, &limits.gate)?,
            authority,
            capacity: Capacity::served_by(workers.crew(), limits.gate.connections),
            limits: limits.clone(),
        };
        let Fresh { config, agents, trust, certificates: _, warnings } = fresh;
        let members = common.replace(Vec::new(), agents, &trust, true);
        let (journal, capacity) = (Arc::clone(&common.journal), Arc::clone(&common.capacity));
        let front = Front::new(roster(&members), journal, capacity, limits.gate);
        let certificates = sockets.iter().filter_map(Open::certificate).collect();
        let shown = Shown::new(&file.path, &config, &sockets, common.journal.path());
        let facts = Arc::new(Facts::new(shown, Arc::clone(&common.capacity), &config, &members));
        let running = Running {
            file,
            config,
            home,
            folder,
            common,
            members,
            trust,
            certificates,
            front,
            facts,
            watch,
            warnings,
            operator: None,
            _workers: workers,
        };
        let prepared = Self { sockets, running };
        prepared.record_opening()?;
        Ok(prepared)
    }

    /// Serves, and the operator API on `api` as well, where that is an address. Needs a runtime.
    pub fn serve(self, api: Option<operator::Address>) -> Result<Running, Failure> {
        let mut running = self.running;
        for Open { socket, door, .. } in self.sockets {
            let failed = |e| Failure::new(Kind::Other, format!("the proxy cannot serve: {e}"));
            running.front.listen(socket, door).map_err(failed)?;
        }
        running.members.iter_mut().for_each(Member::keep);
        let router = running.facts.router(&running.common.journal);
        running.operator = Some(operator::Server::listen(&running.folder, router, api)?);
        Ok(running)
    }

    /// What loads and is probably not meant.
    pub fn warnings(&self) -> &[String] {
        &self.running.warnings
    }

    /// Where it listens and records, one line each.
    pub fn describe(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.sockets.iter().map(Open::describe).collect();
        let ca = match &self.running.config.authority {
            Authority::Given(files) => files.certificate.clone(),
            Authority::Made(_) => self.running.folder.path.join("ca/ca.pem"),
        };
        lines.push(format!("certificate authority {}", ca.display()));
        lines.push(format!("journal {}", self.running.common.journal.path().display()));
        lines
    }

    fn record_opening(&self) -> Result<(), Failure> {
        let Running { config, members, common, .. } = &self.running;
        let controls: Vec<_> = self.sockets.iter().map(|socket| format!("listener: {}", socket.describe())).collect();
        let pins: Vec<_> = config.pins.iter().map(ToString::to_string).collect();
        let secrets = |member: &Member| {
            let vault = Arc::clone(member.rules.current().broker.vault());
            let name = member.config.name.clone();
            vault.secrets().iter().map(|secret| format!("{name}: {}", secret.name())).collect::<Vec<_>>()
        };
        let credentials: Vec<_> = members.iter().flat_map(secrets).collect();
        let event = Event::Open {
            version: env!("CARGO_PKG_VERSION"),
            policy_sha256: "",
            controls: &controls,
            degraded: &[],
            pins: &pins,
            credentials: &credentials,
        };
        common.journal.record(&event).map_err(Failure::of_journal)?;
        members.iter().try_for_each(|member| self.running.record_policy(member))?;
        common.journal.sync().map_err(Failure::of_journal)
    }
}

impl Running {
    /// Returns when a file that counts has changed.
    pub async fn changed(&self) {
        self.watch.changed().await;
    }

    /// Reads everything again and puts it in force, or says why what is in force stays. Blocks for files and commands.
    pub fn reload(&mut self) {
        let Err(failure) = self.try_reload() else { return };
        let detail = failure.message();
        // One mistake is told once, however often its file is read.
        if self.facts.refuse(detail) {
            eprintln!("tollgate: nothing was reloaded, what is in force stays: {detail}");
            let event = Event::Policy { agent: "", generation: 0, outcome: "refused", policy_sha256: "", detail };
            self.record(&event);
        }
    }

    fn try_reload(&mut self) -> Result<(), Failure> {
        let (config, warnings) = self.file.load()?;
        if let Some(section) = config.fixed_difference(&self.config) {
            let message =
                format!("`{section}` of {} cannot change while the proxy runs; restart it", self.file.shown.display());
            return Err(Failure::new(Kind::Policy, message));
        }
        let watched = (config.files() != self.config.files()).then(|| watch(&self.file, &config)).transpose()?;
        let running = Some((&*self.members, &self.trust));
        let fresh = Fresh::read(config, warnings, &self.home, &self.folder, running)?;
        if let Some(watch) = watched {
            self.watch = watch;
        }
        self.put_in_force(fresh);
        Ok(())
    }

    fn put_in_force(&mut self, fresh: Fresh) {
        let Fresh { config, agents, trust, certificates, warnings } = fresh;
        let before: Vec<_> = self.members.iter().map(|m| (m.config.name.clone(), m.generation())).collect();
        let trust_changed = !trust.is_as(&self.trust);
        let members = std::mem::take(&mut self.members);
        self.members = self.common.replace(members, agents, &trust, trust_changed);
        self.members.iter_mut().for_each(Member::keep);
        self.front.replace_roster(roster(&self.members));
        for (served, new) in self.certificates.iter().zip(certificates) {
            served.store(new);
        }
        (self.trust, self.config) = (trust, config);
        self.facts.replace(&self.config, &self.members);
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            eprintln!("tollgate: warning: {warning}");
        }
        self.warnings = warnings;
        self.tell_changes(&before, trust_changed);
    }

    fn tell_changes(&self, before: &[(String, u64)], trust_changed: bool) {
        for member in &self.members {
            let (name, generation) = (&member.config.name, member.generation());
            if before.contains(&(name.clone(), generation)) {
                continue;
            }
            eprintln!("tollgate: reloaded: agent {name}, generation {generation} is in force");
            if let Err(failure) = self.record_policy(member) {
                eprintln!("tollgate: {}", failure.message());
            }
        }
        let gone = before.iter().filter(|(name, _)| !self.members.iter().any(|member| member.config.name == *name));
        for (name, _) in gone {
            eprintln!("tollgate: reloaded: agent {name} is no longer let in");
            self.record(&Event::Notice { detail: &format!("agent {name} is no longer let in") });
        }
        if trust_changed {
            eprintln!("tollgate: reloaded: upstream authorities and pins");
            self.record(&Event::Notice { detail: "upstream authorities and pins were reloaded" });
        }
    }

    /// Lets connections come to their end, closes the journal and gives up the control socket.
    pub async fn end(self, signal: &str, hurry: impl Future<Output = ()>) -> Result<Ending, Failure> {
        let drained = tokio::select! {
            drained = self.front.drain(self.config.limits.drain) => drained,
            () = hurry => {
                self.front.drain(std::time::Duration::ZERO).await;
                false
            }
        };
        drop(self.operator);
        for left in [self.folder.socket(), self.folder.path.join(operator::TOKEN_FILE)] {
            let _ = std::fs::remove_file(left);
        }
        let (ending, how) = match drained {
            true => (Ending::Drained, "every connection had ended"),
            false => (Ending::Cut, "connections that were left were cut"),
        };
        let journal = Arc::clone(&self.common.journal);
        journal.close(&format!("the proxy was ended by {signal}; {how}")).map_err(Failure::of_journal)?;
        Ok(ending)
    }

    /// One line for the service manager.
    pub fn summary(&self) -> String {
        format!("{} agents at {} listeners", self.members.len(), self.config.listeners.len())
    }

    fn record_policy(&self, member: &Member) -> Result<(), Failure> {
        let generation = member.rules.current();
        let event = Event::Policy {
            agent: &member.config.name,
            generation: generation.number,
            outcome: "in-force",
            policy_sha256: &generation.policy_sha256,
            detail: "",
        };
        self.common.journal.record(&event).map_err(Failure::of_journal)
    }

    fn record(&self, event: &Event<'_>) {
        if let Err(error) = self.common.journal.record(event) {
            eprintln!("tollgate: {error}");
        }
    }
}

/// Watches the configuration and every file that it names.
fn watch(file: &ConfigFile, config: &Config) -> Result<Watch, Failure> {
    let mut files = config.files();
    files.push(file.path.clone());
    Watch::start(&files)
}

fn start_journal(home: &Home, folder: &SandboxFolder, limits: &Limits) -> Result<Arc<Journal>, Failure> {
    let source = format!("proxy-{}", folder.name);
    let journal = Journal::open(&folder.journal(), &source, home.journal_key()?, Rotation::of(limits));
    journal.map(Arc::new).map_err(Failure::of_journal)
}

/// Two proxies of one name would take each other's control socket and state.
fn refuse_a_second(folder: &SandboxFolder) -> Result<(), Failure> {
    match std::os::unix::net::UnixStream::connect(folder.socket()) {
        Err(_) => Ok(()),
        Ok(_) => {
            let message = format!(
                "a proxy called `{}` runs already; stop it, or give this one another `name` in its configuration",
                folder.name
            );
            Err(Failure::new(Kind::State, message))
        }
    }
}
