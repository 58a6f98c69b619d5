//! The gate: every connection of a sandbox ends here, and what the policy allows goes on from here.
//!
//! Thin asynchronous code that moves bytes. What is allowed is decided by `tollgate-policy`, what a placeholder becomes by
//! `tollgate-secrets`, what a record looks like by `tollgate-audit`; this crate owns the sockets, the TLS and the clock.
//!
//! The path of a request, each stage taking what only the one before can make:
//!
//! ```text
//! ways (accept) → identity → tunnel (sniff, TLS) → framing → exchange: target → decide → inject → journal → upstream → scrub → journal
//! ```
//!
//! It is deliberately not: a policy language, a supervisor, a command line.
#![forbid(unsafe_code)]

mod body;
mod capacity;
mod course;
mod exchange;
mod framing;
mod generation;
mod identity;
mod journal;
mod limits;
mod live;
mod origin;
mod refusal;
mod search;
mod sockets;
mod stalling;
mod tally;
mod tasks;
mod tls;
mod tunnel;
mod upload;
mod upstream;
mod ways;
mod websocket;
mod workers;

use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tollgate_model::{Caller, Unidentified};

pub use capacity::Capacity;
pub use generation::{Digested, Generation, Rules};
pub use identity::Identifier;
pub use journal::{Journal, JournalError, JournalFolder, Rotation, SegmentError, Told, Verified};
pub use limits::{LimitError, LimitSetting, Limits};
pub use refusal::{Asked, Code, Problem, Refusal, RuleMissing};
pub use tally::{Count, Tally};
pub use tls::{
    CaError, CertificateAuthority, ListenerTlsError, Root, RootError, SYSTEM_BUNDLES, TrustError, listener_config,
    upstream_config,
};
pub use upstream::{Dialer, Outgoing, Pin, PinError, Pool, Resolver};
pub use ways::{Agent, Door, Front, Roster, Sockets, Token};
pub use workers::{Crew, Workers};

use live::Live;
use upload::Bodies;
use ways::Names;

/// One sandbox's gate.
#[derive(Debug)]
pub struct Gate {
    rules: Arc<Rules>,
    journal: Arc<Journal>,
    authority: Arc<CertificateAuthority>,
    pool: Pool,
    identifier: Option<Arc<Identifier>>,
    limits: Limits,
    live: Arc<Live>,
    names: Names,
    capacity: Arc<Capacity>,
    lookups: Semaphore,
    bodies: Bodies,
    tended: Once,
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
    /// How much, how many, how long.
    pub limits: Limits,
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
        let Setup { rules, journal, authority, pool, identifier, limits, capacity } = setup;
        Arc::new(Self {
            rules,
            journal,
            authority,
            pool,
            identifier,
            live: Arc::default(),
            names: Names::default(),
            capacity,
            lookups: Semaphore::new(MAX_LOOKUPS),
            bodies: Bodies::new(&limits),
            tended: Once::new(),
            limits,
        })
    }

    /// Serves the sandbox's sockets on the current runtime until it ends.
    ///
    /// # Errors
    /// When a socket cannot be registered with the runtime.
    pub fn serve(self: &Arc<Self>, sockets: Sockets) -> std::io::Result<()> {
        self.tend();
        ways::serve(self, sockets)
    }

    /// Follows the rules on the current runtime: what is open is judged anew with each change. The first connection calls it
    /// at the latest; only the first call does something.
    pub(crate) fn tend(self: &Arc<Self>) {
        self.tended.call_once(|| {
            tokio::spawn(rejudge(Arc::downgrade(self), self.rules.changes()));
            tokio::spawn(sweep(Arc::downgrade(self)));
        });
    }

    /// The bounds that it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Connections and requests that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.live.len()
    }

    /// Waits until every connection that was made has been served and recorded; what has not ended after two seconds is cut.
    /// To be called when the agent has ended: nothing holds its ends of the connections any more.
    pub async fn drain(&self) {
        // What is still in a listener's backlog is accepted meanwhile.
        tokio::time::sleep(DRAIN_SETTLE).await;
        self.capacity.drain();
        if self.capacity.ended_within(DRAIN_PATIENCE).await {
            return;
        }
        self.capacity.cut();
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

/// How often what is open is judged anew where entries of the policy expire or have hours.
const TIME_PASSES: std::time::Duration = std::time::Duration::from_secs(1);

/// Judges what is open whenever the rules change, and as time passes where that counts.
async fn rejudge(gate: Weak<Gate>, mut changes: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(TIME_PASSES);
    let mut depends_on_time = gate.upgrade().is_some_and(|gate| gate.rules.current().policy.depends_on_time());
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = ticks.tick(), if depends_on_time => {}
        }
        let Some(gate) = gate.upgrade() else { return };
        depends_on_time = gate.rules.current().policy.depends_on_time();
        let (live, rules) = (Arc::clone(&gate.live), gate.rules.current());
        // Thousands of judgements take milliseconds, which requests should not wait for.
        let judged = Arc::clone(&live);
        match tokio::task::spawn_blocking(move || judged.rejudge(&rules)).await {
            Ok(0) => {}
            Ok(lost) => tracing::info!(lost, "the new rules ended connections and requests that they do not permit"),
            Err(error) => {
                tracing::error!(%error, "what is open could not be judged by the new rules, and so it ends");
                live.lose_all("it could not be judged by the new rules");
            }
        }
    }
}

/// Closes upstream connections that nobody has used for a while.
async fn sweep(gate: Weak<Gate>) {
    let mut ticks = tokio::time::interval(upstream::SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(gate) = gate.upgrade() else { return };
        gate.pool.sweep();
    }
}
