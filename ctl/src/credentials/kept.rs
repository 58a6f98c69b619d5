//! One credential of a sandbox: its source, its value in time, and what is being asked.

use std::sync::Arc;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tollgate_secrets::{MAX_FORMER_VALUES, Secret, SecretName};

use super::fetch::{Fetch, FetchError, Fetched, Stamp};
use super::lease::Lease;
use super::source::{Access, Noted, Opened, Source};

/// One credential.
pub struct Kept {
    pub name: SecretName,
    pub placeholder: String,
    source: Source,
    fetch: Arc<dyn Fetch>,
    lease: Lease<SecretString>,
    /// Values that it had before, the last [`MAX_FORMER_VALUES`].
    former: Vec<SecretString>,
    stamp: Option<Stamp>,
    noted: Option<Noted>,
    asked: Option<Asked>,
    is_revoked: bool,
    /// What the last vault was made of.
    in_force: Result<SecretString, String>,
    /// The failure that was told last.
    told: Option<String>,
}

/// A source that was asked and has not answered. It is asked no longer when this is dropped.
struct Asked {
    answer: oneshot::Receiver<Result<Fetched, FetchError>>,
    task: AbortHandle,
}

/// What has changed of one credential, as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub outcome: &'static str,
    pub detail: String,
    /// True where a vault made now differs from the one before.
    pub is_in_force: bool,
}

/// When a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When something of it has changed, or its time has come.
    Due,
    /// Now.
    Now,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kept {
    /// A credential that has no value yet.
    pub fn new(name: SecretName, source: Source, opened: Opened) -> Self {
        let Opened { fetch, terms, noted, former } = opened;
        let former = former.iter().map(|value| SecretString::from(value.as_str())).collect();
        Self {
            name,
            placeholder: String::new(),
            source,
            stamp: fetch.stamp(),
            fetch,
            lease: Lease::new(terms),
            former,
            noted,
            asked: None,
            is_revoked: false,
            in_force: Err(String::new()),
            told: None,
        }
    }

    /// Asks for the first time and waits for the answer.
    pub async fn open(&mut self, now: Instant) -> Result<SecretString, FetchError> {
        let answer = self.fetch.fetch().await;
        self.take(now, answer)?;
        self.in_force = self.lease.value(now).cloned();
        self.in_force.clone().map_err(FetchError::Store)
    }

    /// Says whether the value, as it is now, can be a secret.
    pub fn check(&self) -> Result<(), String> {
        let value = self.lease.value(Instant::now())?;
        Secret::new(self.name.clone(), value.clone(), self.placeholder.clone()).map(drop).map_err(|e| e.to_string())
    }

    /// Asks the source where that is due. What answers at once is taken; for others `answered` is told when they have.
    pub async fn ask(
        &mut self,
        now: Instant,
        access: &Access,
        when: When,
        store_changed: bool,
        answered: &Arc<Notify>,
    ) {
        let has_changed = self.stamp.is_some() && self.fetch.stamp() != self.stamp;
        let may_be_another = has_changed || (store_changed && self.source.is_in_store());
        let is_another = may_be_another && self.reopen(now, access, has_changed);
        let is_due = self.lease.due().is_some_and(|due| due <= now);
        if !(is_another || has_changed || is_due || when == When::Now) {
            return;
        }
        if is_another {
            self.asked = None;
        }
        // Before it is read: what changes meanwhile is seen as a change.
        self.stamp = self.fetch.stamp();
        if self.fetch.is_instant() {
            let answer = self.fetch.fetch().await;
            // The lease and the journal remember an error.
            let _ = self.take(now, answer);
        } else if self.asked.is_none() {
            self.asked = Some(Asked::begin(Arc::clone(&self.fetch), Arc::clone(answered)));
        }
    }

    /// Waits for the answer of a source that was asked.
    pub async fn answered(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        let answer = (&mut asked.answer).await;
        self.asked = None;
        let broken = || Err(FetchError::Store("its source was broken off".to_owned()));
        let _ = self.take(Instant::now(), answer.unwrap_or_else(|_| broken()));
    }

    /// Takes what has come, and says what is another now.
    pub fn settle(&mut self, now: Instant) -> Option<Change> {
        if let Some(answer) = self.asked.as_mut().and_then(|asked| asked.answer.try_recv().ok()) {
            self.asked = None;
            let _ = self.take(now, answer);
        }
        let in_force = self.lease.value(now).cloned();
        let before = std::mem::replace(&mut self.in_force, in_force);
        let failure = self.lease.failure().map(str::to_owned);
        let told = std::mem::replace(&mut self.told, failure.clone());
        let (outcome, detail, is_in_force) = match (&before, &self.in_force, failure) {
            (Ok(before), Ok(value), _) if before.expose_secret() != value.expose_secret() => ("rotated", None, true),
            (Ok(_), Ok(_), Some(reason)) if told.as_ref() != Some(&reason) => ("not-renewed", Some(reason), false),
            (Err(_), Ok(_), _) => ("usable", None, true),
            (Err(before), Err(reason), _) if before == reason => return None,
            (_, Err(_), _) if self.is_revoked => ("revoked", None, true),
            (_, Err(reason), _) => ("unusable", Some(reason.clone()), true),
            (Ok(_), Ok(_), _) => return None,
        };
        Some(Change { name: self.name.to_string(), outcome, detail: detail.unwrap_or_default(), is_in_force })
    }

    /// The secret as it is at this moment.
    pub fn secret(&self, now: Instant) -> Secret {
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

    /// Why it cannot be used now; nothing where it can.
    pub fn failure(&self, now: Instant) -> Option<String> {
        self.lease.value(now).err()
    }

    /// True where its source was asked and has not answered.
    pub fn is_awaited(&self) -> bool {
        self.asked.is_some()
    }

    /// Looks again at where the value is; true where that is another place or another agreement.
    fn reopen(&mut self, now: Instant, access: &Access, has_changed: bool) -> bool {
        match self.source.open(access) {
            Ok(opened) => {
                let former = opened.former.iter().map(|value| SecretString::from(value.as_str())).collect::<Vec<_>>();
                former.into_iter().for_each(|value| self.remember(value));
                // Another entry of the store has changed, as when a token endpoint's answer was kept.
                if !has_changed && opened.noted == self.noted {
                    return false;
                }
                self.lease.agree(opened.terms);
                (self.fetch, self.noted) = (opened.fetch, opened.noted);
                true
            }
            Err(error) => {
                let _ = self.take(now, Err(error));
                false
            }
        }
    }

    fn take(&mut self, now: Instant, answer: Result<Fetched, FetchError>) -> Result<(), FetchError> {
        let before = self.lease.value(now).ok().cloned();
        match answer {
            Ok(Fetched { value, life }) => {
                self.is_revoked = false;
                let is_new = |before: &SecretString| before.expose_secret() != value.expose_secret();
                before.into_iter().filter(is_new).for_each(|before| self.remember(before));
                self.lease.renew(now, value, life);
                Ok(())
            }
            // What is taken out of the store is no longer to be used, whatever the reason.
            Err(error @ (FetchError::Revoked | FetchError::Nowhere(_))) => {
                self.is_revoked = true;
                before.into_iter().for_each(|before| self.remember(before));
                self.lease.revoke(now, error.to_string());
                Err(error)
            }
            Err(error) => {
                tracing::warn!(credential = %self.name, %error, "a credential cannot be renewed");
                self.lease.fail(now, error.to_string());
                Err(error)
            }
        }
    }

    fn remember(&mut self, value: SecretString) {
        self.former.retain(|known| known.expose_secret() != value.expose_secret());
        self.former.push(value);
        let over = self.former.len().saturating_sub(MAX_FORMER_VALUES);
        self.former.drain(..over);
    }
}

impl Asked {
    fn begin(fetch: Arc<dyn Fetch>, answered: Arc<Notify>) -> Self {
        let (sender, answer) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Nobody waits where the source is another by now.
            let _ = sender.send(fetch.fetch().await);
            answered.notify_one();
        });
        Self { answer, task: task.abort_handle() }
    }
}
