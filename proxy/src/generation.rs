//! What is in force: one policy and one vault, swapped together.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_audit::digest::{hex, sha256};
use tollgate_policy::Policy;
use tollgate_secrets::{Broker, Vault};

/// One consistent state of the rules. A request holds the one it was judged by until it is done.
#[derive(Debug)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// The compiled policy.
    pub policy: Policy,
    /// SHA-256 of its canonical text, hexadecimal.
    pub policy_sha256: String,
    /// The secrets, and where they may go.
    pub broker: Broker,
    /// Counts the vaults from 1.
    pub vault_number: u64,
}

/// A policy and the hash by which it is known: computed once, however often it is compared, recorded and put in force.
#[derive(Debug, Clone)]
pub struct Digested {
    policy: Policy,
    sha256: String,
}

impl From<Policy> for Digested {
    fn from(policy: Policy) -> Self {
        let sha256 = hex(&sha256(policy.canonical().as_bytes()));
        Self { policy, sha256 }
    }
}

impl Digested {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// SHA-256 of its canonical text, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The generation in force.
#[derive(Debug)]
pub struct Rules {
    current: ArcSwap<Generation>,
    changes: watch::Sender<()>,
    /// Held while the next generation is made of the current one, so that two changes do not undo each other.
    changing: Mutex<()>,
}

impl Rules {
    /// The first generation.
    #[must_use]
    pub fn new(policy: Policy, vault: Arc<Vault>) -> Self {
        Self::beginning_with(generation(1, policy.into(), vault, 1))
    }

    /// Rules that take the place of others and count on from them.
    #[must_use]
    pub fn after(previous: &Self, policy: Policy, vault: Arc<Vault>) -> Self {
        let before = previous.current();
        Self::beginning_with(generation(before.number + 1, policy.into(), vault, before.vault_number + 1))
    }

    fn beginning_with(first: Generation) -> Self {
        Self { current: ArcSwap::from_pointee(first), changes: watch::Sender::new(()), changing: Mutex::new(()) }
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// The number of the vault in force now: dearer to count who holds a generation than to look at it.
    pub(crate) fn vault_number(&self) -> u64 {
        self.current.load().vault_number
    }

    /// Puts another policy and other secrets in force, together.
    pub fn replace(&self, policy: Policy, vault: Arc<Vault>) -> Arc<Generation> {
        let made = self.change(|now| Some(generation(now.number + 1, policy.into(), vault, now.vault_number + 1)));
        made.unwrap_or_else(|| self.current())
    }

    /// Puts another policy in force, with the secrets as they are, and says what is in force now; nothing where the policy
    /// in force says the same already.
    pub fn replace_policy(&self, policy: impl Into<Digested>) -> Option<Arc<Generation>> {
        let policy = policy.into();
        self.change(|now| {
            let vault = Arc::clone(now.broker.vault());
            (policy.sha256 != now.policy_sha256).then(|| generation(now.number + 1, policy, vault, now.vault_number))
        })
    }

    /// Puts other secrets in force, with the policy as it is.
    pub fn replace_vault(&self, vault: Arc<Vault>) -> Arc<Generation> {
        let made = self.change(|now| {
            let policy = Digested { policy: now.policy.clone(), sha256: now.policy_sha256.clone() };
            Some(generation(now.number + 1, policy, vault, now.vault_number + 1))
        });
        made.unwrap_or_else(|| self.current())
    }

    fn change(&self, make: impl FnOnce(&Generation) -> Option<Generation>) -> Option<Arc<Generation>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(make(&self.current())?);
        self.current.store(Arc::clone(&next));
        self.changes.send_replace(());
        Some(next)
    }

    /// Told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn generation(number: u64, policy: Digested, vault: Arc<Vault>, vault_number: u64) -> Generation {
    let Digested { policy, sha256: policy_sha256 } = policy;
    let broker = Broker::new(policy.credentials(), vault);
    Generation { number, policy, policy_sha256, broker, vault_number }
}
