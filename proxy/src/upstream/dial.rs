//! From addresses to a connection on which a request may be sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tollgate_model::{Authority, Host, Scheme};
use tollgate_policy::Reach;

use super::Resolver;
use super::outgoing::{Noted, Outgoing};
use super::resolve::ResolveError;
use crate::limits::seconds;
use crate::stalling::Stalling;
use crate::{Limits, sockets};

/// Opens connections to upstreams.
///
/// The one place where an upstream is connected to: a proxy of the organisation in between, or a certificate that the gate
/// shows of itself, would come in here.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    both: Connector,
    http1: Connector,
    outgoing: Outgoing,
    /// Connections that may be open at a time.
    places: Arc<Semaphore>,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    /// How long an upstream may leave what it is sent unread.
    stall: Duration,
}

/// Which protocols an upstream is offered (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// HTTP/2, and HTTP/1.1 where it has none.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

/// Which one the upstream took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DialError {
    /// No address, or one that may not be reached.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There are as many connections as there may be, and none came free in time.
    #[error("there are as many connections to upstreams as there may be: {authority} got none")]
    Full {
        /// Where to.
        authority: Authority,
    },
    /// No address took the connection.
    #[error("{authority} cannot be reached: {reason}")]
    Connect {
        /// Where to.
        authority: Authority,
        /// What the last try said.
        reason: String,
    },
    /// No address answered in time.
    #[error("{authority} did not answer within {} seconds", within.as_secs())]
    Timeout {
        /// Where to.
        authority: Authority,
        /// How long was waited.
        within: Duration,
    },
    /// The upstream is not who it must be, or speaks no TLS that we speak.
    #[error("TLS with {authority} failed: {reason}")]
    Tls {
        /// Where to.
        authority: Authority,
        /// What the TLS library said.
        reason: String,
    },
}

/// A connector that has a `Debug`.
#[derive(Clone)]
struct Connector(TlsConnector);

impl Connector {
    fn new(mut config: ClientConfig, protocols: &[&[u8]]) -> Self {
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self(TlsConnector::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

/// Either kind of stream, as hyper reads it.
pub(crate) type Stream = TokioIo<Box<dyn Io>>;

/// What both kinds of stream are.
pub(crate) trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Io for T {}

/// The lead that one address gets before the next is tried as well (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// As ALPN spells them.
pub(crate) const HTTP_2: &[u8] = b"h2";
pub(crate) const HTTP_1: &[u8] = b"http/1.1";

impl Dialer {
    /// A dialer with the operator's pins and trust.
    #[must_use]
    pub fn new(resolver: Resolver, tls: ClientConfig, limits: &Limits) -> Self {
        Self {
            resolver,
            http1: Connector::new(tls.clone(), &[HTTP_1]),
            both: Connector::new(tls, &[HTTP_2, HTTP_1]),
            outgoing: Outgoing::default(),
            places: Arc::new(Semaphore::new(
                usize::try_from(limits.all_upstream_connections).unwrap_or(usize::MAX >> 3),
            )),
            connect_timeout: seconds(limits.connect_seconds),
            handshake_timeout: seconds(limits.handshake_seconds),
            stall: seconds(limits.stall_seconds),
        }
    }

    /// The same, keeping its connections in `outgoing` for others to know.
    #[must_use]
    pub fn noting(self, outgoing: &Outgoing) -> Self {
        Self { outgoing: outgoing.clone(), ..self }
    }

    /// True where the next connection has to wait for the end of another.
    pub(crate) fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Resolves, checks every address, connects, and for https verifies the upstream's certificate against the host.
    pub(crate) async fn dial(
        &self,
        scheme: Scheme,
        to: &Authority,
        reach: &Reach,
        offer: Offer,
    ) -> Result<(Stream, Spoken), DialError> {
        let stream = self.connect(to, reach).await?;
        match scheme {
            Scheme::Http => Ok((TokioIo::new(Box::new(Stalling::new(stream, self.stall))), Spoken::Http1)),
            Scheme::Https => self.handshake(to, Stalling::new(stream, self.stall), offer).await,
        }
    }

    /// Resolves, checks every address and connects.
    pub(crate) async fn connect(&self, to: &Authority, reach: &Reach) -> Result<Noted, DialError> {
        let addresses = self.resolver.resolve(to, reach).await?;
        let place = tokio::time::timeout(self.connect_timeout, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(DialError::Full { authority: to.clone() }) };
        let raced = tokio::time::timeout(self.connect_timeout, race(interleave(addresses)));
        let timeout = || DialError::Timeout { authority: to.clone(), within: self.connect_timeout };
        let failed = |e: std::io::Error| DialError::Connect { authority: to.clone(), reason: e.to_string() };
        let stream = raced.await.map_err(|_| timeout())?.map_err(failed)?;
        sockets::prepare(&stream).map_err(failed)?;
        Ok(self.outgoing.note(stream, place))
    }

    async fn handshake(
        &self,
        to: &Authority,
        stream: Stalling<Noted>,
        offer: Offer,
    ) -> Result<(Stream, Spoken), DialError> {
        let failed = |reason: String| DialError::Tls { authority: to.clone(), reason };
        let name = match &to.host {
            Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|e| failed(e.to_string()))?,
            Host::Address(address) => ServerName::from(*address),
        };
        let connector = match offer {
            Offer::Both => &self.both,
            Offer::Http1 => &self.http1,
        };
        let stream = tokio::time::timeout(self.handshake_timeout, connector.0.connect(name, stream))
            .await
            .map_err(|_| failed(format!("no handshake within {:?}", self.handshake_timeout)))?
            .map_err(|e| failed(e.to_string()))?;
        let spoken = match stream.get_ref().1.alpn_protocol() {
            Some(HTTP_2) => Spoken::Http2,
            _ => Spoken::Http1,
        };
        Ok((TokioIo::new(Box::new(stream)), spoken))
    }
}

/// The families take turns, so that one that does not work costs one delay (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, mut second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    second.reverse();
    let mut order = Vec::with_capacity(first.len() + second.len());
    for address in first {
        order.push(address);
        order.extend(second.pop());
    }
    second.reverse();
    order.extend(second);
    order
}

/// The first of several addresses that takes a connection.
async fn race(addresses: Vec<SocketAddr>) -> std::io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    loop {
        let is_last = match waiting.next() {
            Some(address) => {
                tries.spawn(TcpStream::connect(address));
                waiting.len() == 0
            }
            None => true,
        };
        let delay = if is_last { Duration::MAX } else { ATTEMPT_DELAY };
        match tokio::time::timeout(delay, tries.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(error))) => failure = std::io::Error::other(error),
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: &[&str]) {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().expect("an address")).collect::<Vec<SocketAddr>>();
        assert_eq!(interleave(parse(addresses)), parse(expected));
    }

    #[test]
    fn families_take_turns() {
        let (a4, b4, c4, a6, b6) = ("1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1", "[::2]:1");
        check(&[a6, b6, a4, b4, c4], &[a6, a4, b6, b4, c4]);
        check(&[a4, b4, a6], &[a4, a6, b4]);
        check(&[a4], &[a4]);
        check(&[], &[]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let refusing = taken.local_addr().expect("bound");
        drop(taken);
        let stream = race(vec![refusing, listener.local_addr().expect("bound")]).await.expect("connected");
        assert_eq!(stream.peer_addr().expect("connected"), listener.local_addr().expect("bound"));
        assert!(race(vec![refusing]).await.is_err() && race(Vec::new()).await.is_err());
    }
}
