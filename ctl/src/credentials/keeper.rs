//! Keeps the values of one sandbox fresh: asks each source when it is due, and puts a new vault in force when one changed.
//!
//! No source is ever asked twice at once, no request waits for one, and one that is slow keeps nobody else waiting: a
//! revocation comes through while a token endpoint is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tollgate_audit::Event;
use tollgate_proxy::{Journal, Rules};
use tollgate_secrets::{PLACEHOLDER_RANDOM_BYTES, SecretName, Vault, shape};
use tollgate_wire::credentials::CredentialState;

use super::fetch::{Stamp, stamp};
use super::kept::{Change, Kept, When};
use super::source::{Access, SecretArgument, Source};
use crate::failure::{Failure, Kind};
use crate::home::random;

/// The credentials of one sandbox.
pub struct Keeper {
    kept: Vec<Kept>,
    access: Access,
    /// The store as it was when it was looked at last.
    stamp: Stamp,
    answered: Arc<Notify>,
}

/// Every reply of a destination that some credential is bound to is searched for all of them.
const MAX_HELD: usize = 256;

/// Changed files are seen within this time.
const POLL: Duration = Duration::from_secs(1);

impl Keeper {
    /// Asks every source for the first time; `draw` gives the placeholder of a name and its value. Whatever fails now
    /// stops the start: nothing is in use yet.
    pub fn open(
        arguments: &[SecretArgument],
        access: Access,
        mut draw: impl FnMut(&SecretName, &str) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))?;
        let stamp = stamp(access.store.path());
        let mut kept: Vec<Kept> = Vec::new();
        for SecretArgument { name, source } in arguments {
            if kept.iter().any(|known| known.name == *name) {
                return Err(refused(name, &"it is given twice"));
            }
            kept.push(runtime.block_on(first(name, source, &access, &mut draw))?);
        }
        Ok(Self { kept, access, stamp, answered: Arc::default() })
    }

    /// Takes up one more credential of the store; one that is held already stays as it is. True where it was not.
    async fn add(&mut self, name: &SecretName) -> Result<bool, Failure> {
        if self.kept.iter().any(|known| known.name == *name) {
            return Ok(false);
        }
        if self.kept.len() >= MAX_HELD {
            return Err(refused(name, &format!("{MAX_HELD} credentials are held, and no more can be")));
        }
        let source = Source::Store(name.to_string());
        self.kept.push(first(name, &source, &self.access, draw).await?);
        Ok(true)
    }

    /// The secrets as they are at this moment.
    pub fn vault(&self, now: Instant) -> Vault {
        Vault::new(self.kept.iter().map(|one| one.secret(now)).collect())
    }

    /// Asks what is due, or every source, takes what has answered, and says what is another now.
    async fn refresh(&mut self, now: Instant, when: When) -> Vec<Change> {
        let stamp = stamp(self.access.store.path());
        let store_changed = std::mem::replace(&mut self.stamp, stamp) != stamp;
        for one in &mut self.kept {
            one.ask(now, &self.access, when, store_changed, &self.answered).await;
        }
        self.settle(now)
    }

    /// Waits for every source that was asked.
    async fn answers(&mut self) -> Vec<Change> {
        for one in &mut self.kept {
            one.answered().await;
        }
        self.settle(Instant::now())
    }

    fn settle(&mut self, now: Instant) -> Vec<Change> {
        self.kept.iter_mut().filter_map(|one| one.settle(now)).collect()
    }

    /// Why each credential cannot be used now; none where it can.
    pub fn failures(&self, now: Instant) -> BTreeMap<String, String> {
        self.kept.iter().filter_map(|one| Some((one.name.to_string(), one.failure(now)?))).collect()
    }

    fn states(&self, now: Instant, agent: &str) -> Vec<CredentialState> {
        let state = |one: &Kept| CredentialState {
            agent: agent.to_owned(),
            name: one.name.to_string(),
            is_awaited: one.is_awaited(),
            failure: one.failure(now),
        };
        self.kept.iter().map(state).collect()
    }
}

/// Asks a source for the first time.
async fn first(
    name: &SecretName,
    source: &Source,
    access: &Access,
    mut draw: impl FnMut(&SecretName, &str) -> Result<String, Failure>,
) -> Result<Kept, Failure> {
    let opened = source.open(access).map_err(|e| refused(name, &e))?;
    let mut one = Kept::new(name.clone(), source.clone(), opened);
    let value = one.open(Instant::now()).await.map_err(|e| refused(name, &e))?;
    one.placeholder = draw(name, value.expose_secret())?;
    // What cannot be a secret is said now, and not when the first request comes.
    one.check().map_err(|e| refused(name, &e))?;
    Ok(one)
}

fn refused(name: &SecretName, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Credential, format!("secret {name}: {why}"))
}

/// A placeholder that nobody has had before.
pub fn draw(_: &SecretName, value: &str) -> Result<String, Failure> {
    let random: [u8; PLACEHOLDER_RANDOM_BYTES] = random()?;
    Ok(shape(value, &random))
}

/// A keeper at work; it rests when this is dropped.
pub struct Keeping {
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

/// What a keeper supplies, and where it says so.
pub struct Shared {
    keeper: Mutex<Keeper>,
    rules: Arc<Rules>,
    journal: Arc<Journal>,
    /// Whose credentials they are, where several agents share a proxy.
    agent: String,
}

impl Keeping {
    /// A keeper that does nothing yet.
    pub fn new(keeper: Keeper, rules: &Arc<Rules>, journal: &Arc<Journal>, agent: &str) -> Self {
        let (rules, journal) = (Arc::clone(rules), Arc::clone(journal));
        let shared = Shared { keeper: Mutex::new(keeper), rules, journal, agent: agent.to_owned() };
        Self { shared: Arc::new(shared), task: None }
    }

    /// Keeps the rules supplied from now on, once. Needs a runtime.
    pub fn start(&mut self) {
        if self.task.is_none() {
            self.task = Some(tokio::spawn(keep(Arc::clone(&self.shared))).abort_handle());
        }
    }

    /// Asks every source now and waits for them; `put_in_force` is given the vault where that has changed it, and no other can
    /// come between. A source that fails keeps what it gave before.
    pub async fn renew(&self, put_in_force: impl FnOnce(Option<Vault>)) {
        let mut keeper = self.shared.keeper.lock().await;
        let mut changes = keeper.refresh(Instant::now(), When::Now).await;
        changes.extend(keeper.answers().await);
        self.shared.record(&changes);
        let is_another = changes.iter().any(|change| change.is_in_force);
        put_in_force(is_another.then(|| keeper.vault(Instant::now())));
    }

    /// For the operator API.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    /// Takes over what has changed in the store and in files, and says how each credential stands now.
    pub async fn refresh(&self) -> Vec<CredentialState> {
        let mut keeper = self.keeper.lock().await;
        let now = Instant::now();
        let changes = keeper.refresh(now, When::Due).await;
        self.put_in_force(&keeper, now, &changes);
        keeper.states(now, &self.agent)
    }

    /// Takes up a credential of the store while the sandbox runs, or what has changed of one that is held. When this returns,
    /// it is in force.
    pub async fn attach(&self, name: &SecretName) -> Result<(), Failure> {
        let mut keeper = self.keeper.lock().await;
        let now = Instant::now();
        let changes = match keeper.add(name).await? {
            false => keeper.refresh(now, When::Due).await,
            true => {
                vec![Change { name: name.to_string(), outcome: "attached", detail: String::new(), is_in_force: true }]
            }
        };
        self.put_in_force(&keeper, now, &changes);
        Ok(())
    }

    fn put_in_force(&self, keeper: &Keeper, now: Instant, changes: &[Change]) {
        self.record(changes);
        if changes.iter().any(|change| change.is_in_force) {
            let generation = self.rules.replace_vault(Arc::new(keeper.vault(now)));
            tracing::info!(generation = generation.number, "credentials have changed");
        }
    }

    /// Before it is in force, so that no request is recorded with a value that the journal does not know of.
    fn record(&self, changes: &[Change]) {
        for Change { name, outcome, detail, .. } in changes {
            let event = Event::Credential { agent: &self.agent, credential: name, outcome, detail };
            if let Err(error) = self.journal.record(&event) {
                eprintln!("tollgate: {error}");
            }
        }
    }
}

async fn keep(shared: Arc<Shared>) {
    let answered = Arc::clone(&shared.keeper.lock().await.answered);
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = answered.notified() => {}
        }
        shared.refresh().await;
    }
}

#[cfg(test)]
mod tests;
