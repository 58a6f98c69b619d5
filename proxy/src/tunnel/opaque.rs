//! Connections whose bytes nobody reads (`tls: skip`, `protocol: tcp`). Either side may speak first. A client that speaks
//! TLS must still name the server that was judged.

use std::time::{Duration, Instant};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate_audit::{Event, Verdict};
use tollgate_inspect::sniff::{Opening, may_be_tls, sniff};
use tollgate_model::{Authority, Host};

use super::opening::{Beginning, Prefixed};
use super::passing::{Counts, pass, pass_sockets};
use super::tls::check_server_name;
use super::{Client, record, refuse};
use crate::Gate;
use crate::limits::seconds;
use crate::live::Hold;
use crate::origin::Origin;
use crate::refusal::{Code, alert};
use crate::upstream::Noted;

/// Passes bytes on until both sides are done, or the connection loses its permission.
pub(super) async fn run(
    gate: &Gate,
    origin: &Origin,
    authority: &Authority,
    hold: &Hold,
    client: Client,
    upstream: Noted,
) {
    let (connection, begun, counts) = (origin.connection, Instant::now(), Counts::default());
    let mut ending = Ending { gate, connection, begun, counts, outcome: String::new() };
    let stall = seconds(gate.limits.stall_seconds);
    let passed = async {
        match client {
            Client::Socket(io) => match begin(io, &upstream, &authority.host).await {
                Ok(io) => pass_from_socket(io, upstream, &ending.counts, stall).await.map_err(broken_off),
                Err((why, io)) => Err(turn_away(gate, origin, authority, why, io).await),
            },
            Client::Other(io) => match begin(io, &upstream, &authority.host).await {
                Ok(io) => pass(io, upstream, &ending.counts, stall).await.map_err(broken_off),
                Err((why, io)) => Err(turn_away(gate, origin, authority, why, io).await),
            },
        }
    };
    let outcome = tokio::select! {
        biased;
        reason = hold.lost() => {
            let error = Code::PolicyDenied.name();
            record(gate, origin, authority, Verdict { decision: "denied", policy: "", rule: "", error, reason });
            format!("cut: {reason}")
        }
        passed = passed => passed.err().unwrap_or_else(|| "complete".to_owned()),
    };
    ending.outcome = outcome;
}

/// What the journal will say of the tunnel. Said when this is dropped: whoever cuts connections drops what serves them.
struct Ending<'a> {
    gate: &'a Gate,
    connection: u64,
    begun: Instant,
    counts: Counts,
    outcome: String,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (up, down) = self.counts.both();
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = if self.outcome.is_empty() { "cut: the proxy ends" } else { &self.outcome };
        let event = Event::Tunnel { connection: self.connection, up, down, milliseconds, outcome };
        if let Err(error) = self.gate.journal.record(&event) {
            tracing::warn!(%error, connection = self.connection, "the end of a tunnel could not be recorded");
        }
    }
}

/// What has been read of the client goes first; the rest need not come up here.
async fn pass_from_socket(
    io: Prefixed<Prefixed<TcpStream>>,
    mut upstream: Noted,
    counts: &Counts,
    stall: Duration,
) -> std::io::Result<()> {
    let (read, io) = io.into_parts();
    let (unread, mut socket) = io.into_parts();
    for bytes in [read, unread] {
        upstream.write_all(&bytes).await?;
        counts.add_up(bytes.len());
    }
    pass_sockets(&mut socket, upstream.socket(), counts, stall).await
}

fn broken_off(error: std::io::Error) -> String {
    format!("broken off: {error}")
}

async fn turn_away<S>(gate: &Gate, origin: &Origin, authority: &Authority, why: &str, client: S) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    refuse(gate, origin, authority, why);
    alert(client).await;
    why.to_owned()
}

/// Looks at what the client begins with, unless the server speaks first: then it is no TLS (RFC 8446, section 2).
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    upstream: &Noted,
    host: &Host,
) -> Result<Prefixed<S>, (&'static str, Prefixed<S>)> {
    let mut beginning = Beginning::new(io);
    loop {
        let read = tokio::select! {
            read = beginning.more() => read,
            _ = upstream.readable() => return Ok(beginning.into_stream()),
        };
        let judged = match (sniff(beginning.bytes()), read) {
            (Opening::Tls, Ok(1..)) => server_name(beginning.bytes(), host),
            (Opening::Unknown { .. }, Ok(1..)) if may_be_tls(beginning.bytes()) => None,
            // What begins like TLS and is not read as such may still be TLS to the server.
            _ if beginning.bytes().first() == Some(&HANDSHAKE) => Some(Err("the TLS client hello is wrong")),
            _ => Some(Ok(())),
        };
        match judged {
            Some(Ok(())) => return Ok(beginning.into_stream()),
            Some(Err(why)) => return Err((why, beginning.into_stream())),
            None if beginning.bytes().len() > MAX_HELLO => {
                return Err(("the TLS client hello is too long", beginning.into_stream()));
            }
            None => {}
        }
    }
}

/// Whether the client hello names the server; nothing while it is not whole.
fn server_name(bytes: &[u8], host: &Host) -> Option<Result<(), &'static str>> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => return Some(check_server_name(accepted.client_hello().server_name(), host)),
            Ok(None) if rest.is_empty() => return None,
            Ok(None) => {}
            Err(_) => return Some(Err("the TLS client hello is wrong")),
        }
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return Some(Err("the TLS client hello is wrong"));
        }
    }
}

/// The first byte of a TLS record that holds a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// A hello with post-quantum key shares and every extension in use has two kilobytes.
const MAX_HELLO: usize = 32 * 1024;
