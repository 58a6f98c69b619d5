//! What is in force: one policy and one vault, swapped together.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_audit::digest::{hex, sha256};
use tollgate_policy::Policy;
use tollgate_secrets::Vault;

/// One consistent state of the rules. A request holds the one it was judged by until it is done.
#[derive(Debug)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// The compiled policy.
    pub policy: Policy,
    /// SHA-256 of its canonical text, hexadecimal.
    pub policy_sha256: String,
    /// The secrets.
    pub vault: Arc<Vault>,
    /// Counts the vaults from 1.
    pub vault_number: u64,
}

/// The generation in force.
#[derive(Debug)]
pub struct Rules {
    current: ArcSwap<Generation>,
    changes: watch::Sender<()>,
}

impl Rules {
    /// The first generation.
    #[must_use]
    pub fn new(policy: Policy, vault: Arc<Vault>) -> Self {
        Self::beginning_with(generation(1, policy, vault, 1))
    }

    /// Rules that take the place of others and count on from them.
    #[must_use]
    pub fn after(previous: &Self, policy: Policy, vault: Arc<Vault>) -> Self {
        let before = previous.current();
        Self::beginning_with(generation(before.number + 1, policy, vault, before.vault_number + 1))
    }

    fn beginning_with(first: Generation) -> Self {
        Self { current: ArcSwap::from_pointee(first), changes: watch::Sender::new(()) }
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Puts another policy and other secrets in force, together.
    pub fn replace(&self, policy: Policy, vault: Arc<Vault>) -> Arc<Generation> {
        let current = self.current();
        let next = Arc::new(generation(current.number + 1, policy, vault, current.vault_number + 1));
        self.put_in_force(&next);
        next
    }

    /// Puts another policy in force, with the secrets as they are, and says what is in force now; nothing where the policy
    /// in force says the same already.
    pub fn replace_policy(&self, policy: Policy) -> Option<Arc<Generation>> {
        let current = self.current();
        let next = generation(current.number + 1, policy, Arc::clone(&current.vault), current.vault_number);
        if next.policy_sha256 == current.policy_sha256 {
            return None;
        }
        let next = Arc::new(next);
        self.put_in_force(&next);
        Some(next)
    }

    fn put_in_force(&self, next: &Arc<Generation>) {
        self.current.store(Arc::clone(next));
        self.changes.send_replace(());
    }

    /// Told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn generation(number: u64, policy: Policy, vault: Arc<Vault>, vault_number: u64) -> Generation {
    let policy_sha256 = hex(&sha256(policy.document().canonical().as_bytes()));
    Generation { number, policy, policy_sha256, vault, vault_number }
}
