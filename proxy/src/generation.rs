//! What is in force: one policy and one vault, swapped together.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
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
}

/// The generation in force.
#[derive(Debug)]
pub struct Rules {
    current: ArcSwap<Generation>,
    /// Held while the next generation is made of the current one, so that a new policy and a new vault do not undo each other.
    changing: Mutex<()>,
}

impl Rules {
    /// The first generation.
    #[must_use]
    pub fn new(policy: Policy, vault: Arc<Vault>) -> Self {
        Self { current: ArcSwap::from_pointee(generation(1, policy, vault)), changing: Mutex::new(()) }
    }

    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Puts another policy in force, with the secrets as they are, and says what is in force now; nothing where the policy
    /// in force says the same already.
    pub fn replace_policy(&self, policy: Policy) -> Option<Arc<Generation>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let next = generation(current.number + 1, policy, Arc::clone(current.broker.vault()));
        if next.policy_sha256 == current.policy_sha256 {
            return None;
        }
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        Some(next)
    }

    /// Puts other secrets in force, with the policy as it is.
    pub fn replace_vault(&self, vault: Arc<Vault>) -> Arc<Generation> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let next = Arc::new(generation(current.number + 1, current.policy.clone(), vault));
        self.current.store(Arc::clone(&next));
        next
    }
}

fn generation(number: u64, policy: Policy, vault: Arc<Vault>) -> Generation {
    let policy_sha256 = hex(&sha256(policy.document().canonical().as_bytes()));
    let broker = Broker::new(policy.credentials(), vault);
    Generation { number, policy, policy_sha256, broker }
}
