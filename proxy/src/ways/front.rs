//! The front of a stand-alone proxy: one set of listeners, several agents, each with a gate of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tollgate_audit::{Event, Program};

use super::accept::{self, Accepted, Slot};
use super::roster::{Agent, Roster, Showing, Stranger};
use super::{explicit, outside, transparent};
use crate::limits::seconds;
use crate::origin::Origin;
use crate::refusal::{Asked, Code, Refusal};
use crate::{Capacity, Journal, Limits};

/// Takes the connections of several agents.
#[derive(Debug)]
pub struct Front {
    roster: ArcSwap<Roster>,
    pub(super) journal: Arc<Journal>,
    pub(super) capacity: Arc<Capacity>,
    pub(super) limits: Limits,
}

/// What a listener speaks.
#[derive(Debug, Clone)]
pub enum Door {
    /// CONNECT and absolute-form requests.
    Explicit,
    /// The same inside TLS. The certificate may be replaced while connections come in.
    ExplicitTls(Arc<ArcSwap<ServerConfig>>),
    /// Connections that the operator's packet filter redirected here.
    Transparent,
}

/// One listener's part of a front.
#[derive(Debug)]
struct Port {
    front: Arc<Front>,
    door: Door,
    address: SocketAddr,
}

/// How long connections that are cut take to be recorded.
const CUT_PATIENCE: Duration = Duration::from_secs(2);

impl Front {
    /// A front without listeners.
    #[must_use]
    pub fn new(roster: Roster, journal: Arc<Journal>, capacity: Arc<Capacity>, limits: Limits) -> Arc<Self> {
        Arc::new(Self { roster: ArcSwap::from_pointee(roster), journal, capacity, limits })
    }

    /// Serves a listener on the current runtime until [`Front::drain`].
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub fn listen(self: &Arc<Self>, listener: std::net::TcpListener, door: Door) -> std::io::Result<()> {
        let address = listener.local_addr()?;
        let port = Arc::new(Port { front: Arc::clone(self), door, address });
        accept::spawn(&port, &self.capacity, listener, serve)
    }

    /// The agents that are known now.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// Lets other agents in from now on. Connections that are open stay with the gate that they came to.
    pub fn replace_roster(&self, roster: Roster) {
        self.roster.store(Arc::new(roster));
    }

    /// Takes no more connections and waits until those that are open have ended; those that have not after `patience`
    /// are cut. True when none had to be.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.capacity.drain();
        let ended = self.capacity.ended_within(patience).await;
        self.capacity.cut();
        if !ended && !self.capacity.ended_within(CUT_PATIENCE).await {
            tracing::warn!("connections were still open at the end");
        }
        ended
    }

    /// Says no to a client that is no agent's, and records it.
    pub(super) fn turn_away(&self, visitor: &Visitor, authority: &str, stranger: Stranger, who: Showing) -> Refusal {
        let code = match (stranger, who) {
            (Stranger::Elsewhere, _) | (_, Showing::Address) => Code::UnknownAgent,
            (_, Showing::Token) => Code::ProxyAuthenticationRequired,
        };
        self.refuse(visitor, "", authority, Refusal::connection(code, stranger.to_string(), Asked::default()))
    }

    /// Records a refusal that no gate judged. Where that cannot be recorded, that is what is answered.
    pub(super) fn refuse(&self, visitor: &Visitor, agent: &str, authority: &str, refusal: Refusal) -> Refusal {
        let client = visitor.client.to_string();
        let event = Event::Connection {
            connection: visitor.connection,
            via: visitor.via,
            authority,
            caller: Program { binary: "unknown: outside any sandbox", agent, client: &client, ..Program::default() },
            generation: 0,
            verdict: refusal.verdict(),
        };
        match self.journal.record(&event) {
            Ok(()) => refusal,
            Err(error) => Refusal::connection(Code::JournalUnavailable, error.to_string(), Asked::default()),
        }
    }

    /// Refuses a connection that this process itself has opened. To be asked once the client has sent something: from
    /// then on its address is known.
    pub(super) fn refuse_own(&self, visitor: &Visitor, authority: &str) -> Result<(), Refusal> {
        if !self.capacity.outgoing().holds(visitor.client, visitor.destination) {
            return Ok(());
        }
        let detail = "the proxy's own connection came back to it";
        Err(self.refuse(visitor, "", authority, Refusal::connection(Code::ProxyLoop, detail, Asked::default())))
    }

    /// Records a connection on which nothing was said that can be judged.
    pub(super) fn record_silence(&self, visitor: &Visitor, reason: &str) -> Result<(), Refusal> {
        let refusal =
            self.refuse(visitor, "", "-", Refusal::connection(Code::InvalidRequest, reason, Asked::default()));
        match refusal.problem().error {
            Code::JournalUnavailable => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Gives the connection to an agent, whose it then stays, if the agent may hold one more.
    pub(super) fn take_in(&self, visitor: &Visitor, agent: &Agent, slot: &Slot) -> Result<(), Refusal> {
        let refused = |code, detail: &str| {
            let refusal = Refusal::connection(code, detail, Asked::default());
            Err(self.refuse(visitor, &agent.name, "-", refusal))
        };
        agent.gate.tend();
        match slot.belongs_to(agent) {
            Ok(()) => Ok(()),
            Err(accept::Taken::ByAnother) => {
                refused(Code::InvalidRequest, "this connection belongs to another agent; open one for each agent")
            }
            Err(accept::Taken::Full) => {
                refused(Code::TooManyConnections, "this agent holds as many connections as it may; close some")
            }
        }
    }
}

/// A connection from outside any sandbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) connection: u64,
    pub(super) via: &'static str,
    pub(super) client: SocketAddr,
    /// Where it was going before anything was rewritten.
    pub(super) destination: SocketAddr,
}

impl Visitor {
    pub(super) fn source(&self) -> IpAddr {
        self.client.ip()
    }

    pub(super) fn origin(&self, agent: &Arc<str>) -> Origin {
        Origin::of_agent(self.connection, self.via, agent, self.client)
    }
}

async fn serve(port: Arc<Port>, accepted: Accepted) {
    let Accepted { stream, client, slot } = accepted;
    let connection = port.front.capacity.next_connection();
    // One that has none has gone already.
    let Some(destination) = transparent::original_destination(&stream) else { return };
    let visitor = |via| Visitor { connection, via, client, destination };
    let front = Arc::clone(&port.front);
    match &port.door {
        Door::Explicit => explicit::serve_agents(front, visitor("explicit"), slot, stream).await,
        Door::ExplicitTls(config) => {
            Box::pin(serve_tls(front, visitor("explicit-tls"), slot, stream, config.load_full())).await
        }
        Door::Transparent => Box::pin(outside::serve(front, visitor("transparent"), slot, port.address, stream)).await,
    }
}

async fn serve_tls(front: Arc<Front>, visitor: Visitor, slot: Arc<Slot>, stream: TcpStream, config: Arc<ServerConfig>) {
    let handshake =
        tokio::time::timeout(seconds(front.limits.handshake_seconds), TlsAcceptor::from(config).accept(stream));
    let why = match handshake.await {
        Ok(Ok(stream)) => return explicit::serve_agents(front, visitor, slot, stream).await,
        Ok(Err(error)) => format!("the TLS handshake with the proxy failed: {error}"),
        Err(_) => "the TLS handshake with the proxy did not end in time".to_owned(),
    };
    if let Err(refusal) = front.record_silence(&visitor, &why) {
        tracing::debug!(detail = refusal.problem().detail, "a failed handshake could not be recorded");
    }
}
