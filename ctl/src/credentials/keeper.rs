//! Keeps the values of one sandbox fresh: asks each source when it is due, and puts a new vault in force when one changed.
//!
//! One task asks for all, so no source is ever asked twice at once, and no request waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
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
    /// Asks every source for the first time. Whatever fails now stops the start: nothing is in use yet.
    pub fn open(arguments: &[SecretArgument], store: Store) -> Result<Self, Failure> {
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
            kept.push(one);
        }
        let mut keeper = Self { kept, store };
        keeper.draw_placeholders()?;
        // What cannot be a secret is said now, and not when the first request comes.
        keeper.kept.iter().try_for_each(|one| one.check().map_err(|e| refused(&one.name, &e)))?;
        Ok(keeper)
    }

    fn draw_placeholders(&mut self) -> Result<(), Failure> {
        for one in &mut self.kept {
            let random: [u8; PLACEHOLDER_RANDOM_BYTES] = random()?;
            let value = one.lease.value(Instant::now()).map(|value| value.expose_secret().to_owned());
            one.placeholder = shape(&zeroize::Zeroizing::new(value.unwrap_or_default()), &random);
        }
        Ok(())
    }

    /// The secrets as they are at this moment.
    pub fn vault(&self, now: Instant) -> Vault {
        Vault::new(self.kept.iter().map(|one| one.secret(now)).collect())
    }

    /// Keeps the rules supplied, for as long as it is polled.
    pub async fn run(mut self, rules: Arc<Rules>) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if self.refresh(now).await {
                let generation = rules.replace_vault(Arc::new(self.vault(now)));
                tracing::info!(generation = generation.number, "credentials have changed");
            }
        }
    }

    /// Asks what is due; true where a vault made now differs from the one before.
    async fn refresh(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for one in &mut self.kept {
            changed |= one.refresh(now, &self.store).await;
        }
        changed
    }

    /// Why each credential cannot be used now; none where it can.
    pub fn failures(&self, now: Instant) -> BTreeMap<String, String> {
        let failing = self.kept.iter().filter_map(|one| Some((one.name.to_string(), one.lease.value(now).err()?)));
        failing.collect()
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

    async fn refresh(&mut self, now: Instant, store: &Store) -> bool {
        let has_changed = self.stamp.is_some() && self.fetch.stamp() != self.stamp;
        if has_changed && let Ok(opened) = self.source.open(store) {
            // What the store says of the credential may have changed as well.
            self.fetch = opened.fetch;
        }
        if (has_changed || self.lease.due().is_some_and(|due| due <= now))
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
