//! Inside a connection that may be open: find out what it speaks, terminate TLS, hand HTTP to the exchange.

mod ending;
mod opaque;
pub(crate) mod opening;
mod passing;
mod resting;
mod serve;
mod tls;
mod usage;

use std::sync::Arc;

use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tollgate_audit::Verdict;
use tollgate_inspect::sniff::Opening;
use tollgate_model::{Authority, Scheme};
use tollgate_policy::{ConnectPermit, Inspection};

pub(crate) use passing::{Counts, pass};
pub(crate) use serve::http1;
pub(crate) use usage::Turn;

use crate::exchange::Place;
use crate::exchange::reply::dial_code;
use crate::framing::Framed;
use crate::limits::seconds;
use crate::live::{Hold, Subject};
use crate::origin::{Origin, record_connection};
use crate::refusal::{Code, Refusal};
use crate::stalling::Stalling;
use crate::upstream::Noted;
use crate::{Gate, Generation};
use opening::Prefixed;
use serve::Protocol;

/// The client's side of a tunnel.
pub(crate) enum Client {
    /// A socket.
    Socket(Prefixed<TcpStream>),
    /// Something on top of one.
    Other(TokioIo<Upgraded>),
}

impl From<Upgraded> for Client {
    fn from(upgraded: Upgraded) -> Self {
        match upgraded.downcast::<TokioIo<Framed<Stalling<TcpStream>>>>() {
            Ok(Parts { io, read_buf, .. }) => {
                let (held, socket) = io.into_inner().into_parts();
                let read = if held.is_empty() { read_buf } else { [read_buf, held].concat().into() };
                Self::Socket(Prefixed::new(read, socket.into_inner()))
            }
            Err(other) => Self::Other(TokioIo::new(other)),
        }
    }
}

/// A connection that was judged, before it is served.
pub(crate) struct Tunnel {
    gate: Arc<Gate>,
    origin: Arc<Origin>,
    authority: Authority,
    hold: Hold,
    /// The upstream, where bytes pass unread.
    upstream: Option<Noted>,
}

impl Tunnel {
    /// Opens what a permitted connection needs before its client is told that it is open.
    ///
    /// # Errors
    /// Where bytes pass unread and the upstream cannot be reached.
    pub(crate) async fn open(
        gate: Arc<Gate>,
        origin: Arc<Origin>,
        authority: Authority,
        permit: &ConnectPermit,
        rules: &Generation,
    ) -> Result<Self, Refusal> {
        let unread = (permit.inspection() == Inspection::Opaque).then(|| permit.reach().clone());
        let subject = Subject::Connection { origin: Arc::clone(&origin), authority: authority.clone(), unread };
        let hold = gate.live.hold(subject, rules, &gate.rules);
        let upstream = match permit.inspection() {
            Inspection::Http => None,
            Inspection::Opaque => {
                let dialled = Box::pin(gate.pool.dialer().connect(&authority, permit.reach())).await;
                Some(dialled.map_err(|error| {
                    let refusal = Refusal::connection(dial_code(&error), error.to_string(), origin.asked(&authority));
                    record(&gate, &origin, &authority, refusal.verdict());
                    refusal
                })?)
            }
        };
        Ok(Self { gate, origin, authority, hold, upstream })
    }

    /// Serves it to its end.
    pub(crate) async fn run(mut self, client: Client) {
        if let Some(upstream) = self.upstream.take() {
            let Self { gate, origin, authority, hold, .. } = self;
            return Box::pin(opaque::run(&gate, &origin, &authority, &hold, client, upstream)).await;
        }
        match client {
            Client::Socket(io) => {
                let stall = seconds(self.gate.limits.stall_seconds);
                // In a place of its own: what passes unread needs far less.
                Box::pin(self.read(Stalling::new(io, stall))).await;
            }
            Client::Other(io) => Box::pin(self.read(io)).await,
        }
    }

    /// Serves what is read.
    async fn read<S>(self, io: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { gate, origin, authority, hold, .. } = self;
        let opened = tokio::select! {
            biased;
            _ = hold.lost() => return,
            opened = opening::read(io, &gate.limits) => opened,
        };
        match opened {
            Some((Opening::Tls, io)) => tls::run(gate, origin, authority, hold, io).await,
            Some((Opening::Http1, io)) => {
                let place = Place::new(Scheme::Http, authority);
                serve::serve(gate, origin, place, Protocol::Http1, hold, io).await;
            }
            Some((Opening::Http2, _)) => refuse(&gate, &origin, &authority, "HTTP/2 is spoken only inside TLS here"),
            Some((Opening::Unknown { .. }, _)) => {
                refuse(&gate, &origin, &authority, "the client speaks neither TLS nor HTTP/1");
            }
            None => refuse(&gate, &origin, &authority, "the client opened a tunnel and said nothing"),
        }
    }
}

/// Records a connection that turned out not to be what was allowed. It closes, recorded or not.
fn refuse(gate: &Gate, origin: &Origin, authority: &Authority, reason: &str) {
    let error = Code::UnsupportedL7Protocol.name();
    record(gate, origin, authority, Verdict { decision: "denied", policy: "", rule: "", error, reason });
}

fn record(gate: &Gate, origin: &Origin, authority: &Authority, verdict: Verdict<'_>) {
    if let Err(refusal) = record_connection(gate, &gate.rules.current(), origin, &authority.to_string(), verdict) {
        tracing::warn!(detail = refusal.problem().detail, "a refused connection could not be recorded");
    }
}
