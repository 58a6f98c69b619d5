//! The gate: every connection of a sandbox ends here, and what the policy allows goes on from here.
//!
//! Thin asynchronous code that moves bytes. What is allowed is decided by `tollgate-policy`, what a placeholder becomes by
//! `tollgate-secrets`, what a record looks like by `tollgate-audit`; this crate owns the sockets, the TLS and the clock.
//!
//! The path of a request, each stage taking what only the one before can make:
//!
//! ```text
//! ways (accept) → identity → tunnel (sniff, TLS) → exchange: target → decide → inject → journal → upstream → scrub → journal
//! ```
//!
//! It is deliberately not: a policy language, a supervisor, a command line.
#![forbid(unsafe_code)]

mod body;
mod capacity;
mod exchange;
mod generation;
mod identity;
mod journal;
mod origin;
mod refusal;
mod tls;
mod tunnel;
mod upload;
mod upstream;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tollgate_model::{Caller, Unidentified};

pub use capacity::{Capacity, DEFAULT_CONNECTIONS};
pub use generation::{Generation, Rules};
pub use identity::Identifier;
pub use journal::{Journal, JournalError};
pub use refusal::{Asked, Code, Problem, Refusal, RuleMissing};
pub use tls::{
    CaError, CertificateAuthority, ListenerTlsError, Root, RootError, TrustError, listener_config, upstream_config,
};
pub use upstream::{Dialer, Outgoing, Pin, PinError, Pool, Resolver};
pub use ways::{Agent, Door, Front, Patience, Roster, Sockets, Token};

use ways::Names;

/// One sandbox's gate.
#[derive(Debug)]
pub struct Gate {
    rules: Arc<Rules>,
    journal: Arc<Journal>,
    authority: Arc<CertificateAuthority>,
    pool: Pool,
    identifier: Option<Arc<Identifier>>,
    names: Names,
    capacity: Arc<Capacity>,
    lookups: Semaphore,
}

/// What a gate is made of.
#[derive(Debug)]
pub struct Setup {
    /// The rules in force, shared with whoever replaces them.
    pub rules: Arc<Rules>,
    /// Where decisions are recorded.
    pub journal: Arc<Journal>,
    /// The authority that the agent trusts.
    pub authority: Arc<CertificateAuthority>,
    /// The way out.
    pub pool: Pool,
    /// Who asks; nothing where callers are outside any sandbox.
    pub identifier: Option<Arc<Identifier>>,
    /// The connections of this process.
    pub capacity: Arc<Capacity>,
}

/// Callers that are looked up at a time; each lookup may read a whole executable.
const MAX_LOOKUPS: usize = 8;

/// The last connections of an agent are in the kernel's hands when it ends, for a moment.
const DRAIN_SETTLE: Duration = Duration::from_millis(20);

/// How long the end of a session waits for its connections: their clients are gone, so they end by themselves.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

impl Gate {
    /// Puts a gate together. Nothing is served before [`Gate::serve`].
    #[must_use]
    pub fn new(setup: Setup) -> Arc<Self> {
        let Setup { rules, journal, authority, pool, identifier, capacity } = setup;
        let lookups = Semaphore::new(MAX_LOOKUPS);
        Arc::new(Self { rules, journal, authority, pool, identifier, names: Names::default(), capacity, lookups })
    }

    /// Serves the sandbox's sockets on the current runtime until it ends.
    ///
    /// # Errors
    /// When a socket cannot be registered with the runtime.
    pub fn serve(self: &Arc<Self>, sockets: Sockets) -> std::io::Result<()> {
        ways::serve(self, sockets)
    }

    /// Waits until every connection that was made has been served and recorded, or two seconds are over. To be called
    /// when the agent has ended: nothing holds its ends of the connections any more.
    pub async fn drain(&self) {
        // What is still in a listener's backlog is accepted meanwhile.
        tokio::time::sleep(DRAIN_SETTLE).await;
        if !self.capacity.ended_within(DRAIN_PATIENCE).await {
            tracing::warn!("connections were still open when the session ended");
        }
    }

    fn next_connection(&self) -> u64 {
        self.capacity.next_connection()
    }

    fn next_request(&self) -> u64 {
        self.capacity.next_request()
    }

    /// The caller behind a connection; looked up off the runtime's threads, since it reads files.
    async fn identify(&self, client: std::net::SocketAddr, server: std::net::SocketAddr) -> Caller {
        let Some(identifier) = self.identifier.clone() else { return Caller::Unknown(Unidentified::Outside) };
        let Ok(_turn) = self.lookups.acquire().await else { return Caller::Unknown(Unidentified::Unreadable) };
        tokio::task::spawn_blocking(move || identifier.identify(client, server))
            .await
            .unwrap_or(Caller::Unknown(Unidentified::Unreadable))
    }
}
