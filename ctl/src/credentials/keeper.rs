//! Keeps the values of one sandbox fresh: asks each source when it is due, and puts a new vault in force when one changed.
//!
//! One task asks for all, so no source is ever asked twice at once, and no request waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tollgate_proxy::Rules;
use tollgate_secrets::{PLACEHOLDER_RANDOM_BYTES, Secret, SecretName, Vault, shape};

use super::fetch::{Fetch, FetchError, Stamp};
use super::lease::Lease;
use super::source::{Opened, SecretArgument, Source};
use super::store::Store;
use crate::failure::{Failure, Kind};
use crate::home::random;

/// The credentials of one sandbox.
pub struct Keeper {
    kept: Vec<Kept>,
    store: Store,
}

/// One credential.
struct Kept {
    name: SecretName,
    source: Source,
    placeholder: String,
    fetch: Box<dyn Fetch>,
    lease: Lease<SecretString>,
    former: Vec<SecretString>,
    stamp: Option<Stamp>,
    /// What the last vault was made of.
    in_force: Result<SecretString, String>,
}

/// Changed files are seen within this time.
const POLL: Duration = Duration::from_secs(1);

impl Keeper {
    /// Asks every source for the first time; `draw` gives the placeholder of a name and its value. Whatever fails now
    /// stops the start: nothing is in use yet.
    pub fn open(
        arguments: &[SecretArgument],
        store: Store,
        mut draw: impl FnMut(&SecretName, &str) -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let refused = |name: &SecretName, why: &dyn std::fmt::Display| {
            Failure::new(Kind::Credential, format!("secret {name}: {why}"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))?;
        let mut kept: Vec<Kept> = Vec::new();
        for SecretArgument { name, source } in arguments {
            if kept.iter().any(|known| known.name == *name) {
                return Err(refused(name, &"it is given twice"));
            }
            let opened = source.open(&store).map_err(|e| refused(name, &e))?;
            let mut one = Kept::new(name.clone(), source.clone(), opened);
            let now = Instant::now();
            runtime.block_on(one.renew(now)).map_err(|e| refused(name, &e))?;
            one.in_force = one.lease.value(now).cloned();
            let value = one.in_force.as_ref().map_or("", |value| value.expose_secret());
            one.placeholder = draw(name, value)?;
            // What cannot be a secret is said now, and not when the first request comes.
            one.check().map_err(|e| refused(name, &e))?;
            kept.push(one);
        }
        Ok(Self { kept, store })
    }

    /// The secrets as they are at this moment.
    pub fn vault(&self, now: Instant) -> Vault {
        Vault::new(self.kept.iter().map(|one| one.secret(now)).collect())
    }

    /// Asks what is due, or every source; true where a vault made now differs from the one before.
    async fn refresh(&mut self, now: Instant, all: bool) -> bool {
        let mut changed = false;
        for one in &mut self.kept {
            changed |= one.refresh(now, &self.store, all).await;
        }
        changed
    }

    /// Why each credential cannot be used now; none where it can.
    pub fn failures(&self, now: Instant) -> BTreeMap<String, String> {
        let failing = self.kept.iter().filter_map(|one| Some((one.name.to_string(), one.lease.value(now).err()?)));
        failing.collect()
    }
}

/// A placeholder that nobody has had before.
pub fn draw(_: &SecretName, value: &str) -> Result<String, Failure> {
    let random: [u8; PLACEHOLDER_RANDOM_BYTES] = random()?;
    Ok(shape(value, &random))
}

/// A keeper at work; it rests when this is dropped.
pub struct Keeping {
    keeper: Arc<Mutex<Keeper>>,
    task: Option<AbortHandle>,
}

impl Keeping {
    /// A keeper that does nothing yet.
    pub fn new(keeper: Keeper) -> Self {
        Self { keeper: Arc::new(Mutex::new(keeper)), task: None }
    }

    /// Keeps these rules supplied from now on, once. Needs a runtime.
    pub fn start(&mut self, rules: &Arc<Rules>) {
        if self.task.is_none() {
            let task = tokio::spawn(keep(Arc::clone(&self.keeper), Arc::clone(rules)));
            self.task = Some(task.abort_handle());
        }
    }

    /// Asks every source now; `put_in_force` is given the vault where that has changed it, and no other can come between.
    /// A source that fails keeps what it gave before.
    pub async fn renew(&self, put_in_force: impl FnOnce(Option<Vault>)) {
        let mut keeper = self.keeper.lock().await;
        let now = Instant::now();
        put_in_force(keeper.refresh(now, true).await.then(|| keeper.vault(now)));
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn keep(keeper: Arc<Mutex<Keeper>>, rules: Arc<Rules>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut keeper = keeper.lock().await;
        let now = Instant::now();
        if keeper.refresh(now, false).await {
            let generation = rules.replace_vault(Arc::new(keeper.vault(now)));
            tracing::info!(generation = generation.number, "credentials have changed");
        }
    }
}

impl Kept {
    fn new(name: SecretName, source: Source, opened: Opened) -> Self {
        let former = opened.former.iter().map(|value| SecretString::from(value.as_str())).collect();
        let stamp = opened.fetch.stamp();
        let lease = Lease::new(opened.terms);
        let in_force = Err("it was not fetched yet".to_owned());
        Self { name, source, placeholder: String::new(), fetch: opened.fetch, lease, former, stamp, in_force }
    }

    /// Asks the source; an error is remembered in the lease as well.
    async fn renew(&mut self, now: Instant) -> Result<(), FetchError> {
        self.stamp = self.fetch.stamp();
        let before = self.lease.value(now).ok().cloned();
        match self.fetch.fetch().await {
            Ok(fetched) => {
                let is_new = |before: &SecretString| before.expose_secret() != fetched.value.expose_secret();
                self.former.extend(before.filter(is_new));
                self.lease.renew(now, fetched.value, fetched.life);
                Ok(())
            }
            Err(error @ FetchError::Revoked) => {
                self.former.extend(before);
                self.lease.revoke(now, error.to_string());
                Err(error)
            }
            Err(error) => {
                self.lease.fail(now, error.to_string());
                Err(error)
            }
        }
    }

    async fn refresh(&mut self, now: Instant, store: &Store, asked: bool) -> bool {
        let has_changed = self.stamp.is_some() && self.fetch.stamp() != self.stamp;
        if has_changed && let Ok(opened) = self.source.open(store) {
            // What the store says of the credential may have changed as well.
            self.fetch = opened.fetch;
        }
        if (asked || has_changed || self.lease.due().is_some_and(|due| due <= now))
            && let Err(error) = self.renew(now).await
        {
            tracing::warn!(credential = %self.name, %error, "a credential cannot be renewed");
        }
        let now_in_force = self.lease.value(now).cloned();
        let is_same = match (&self.in_force, &now_in_force) {
            (Ok(before), Ok(value)) => before.expose_secret() == value.expose_secret(),
            (Err(before), Err(reason)) => before == reason,
            _ => false,
        };
        self.in_force = now_in_force;
        !is_same
    }

    fn check(&self) -> Result<(), String> {
        let value = self.lease.value(Instant::now())?;
        Secret::new(self.name.clone(), value.clone(), self.placeholder.clone()).map(drop).map_err(|e| e.to_string())
    }

    fn secret(&self, now: Instant) -> Secret {
        let (name, placeholder) = (self.name.clone(), self.placeholder.clone());
        let unavailable = |reason: &str| Secret::unavailable(name.clone(), placeholder.clone(), reason);
        let secret = match self.lease.value(now) {
            Ok(value) => Secret::new(name.clone(), value.clone(), placeholder.clone())
                .unwrap_or_else(|error| unavailable(&error.to_string())),
            Err(reason) => unavailable(&reason),
        };
        // A former value that cannot be one now could not be sent then.
        self.former.iter().fold(secret, |secret, value| secret.clone().formerly(value.clone()).unwrap_or(secret))
    }
}

#[cfg(test)]
mod tests;
