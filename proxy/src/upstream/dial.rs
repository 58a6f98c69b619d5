//! From addresses to a connection on which a request may be sent.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tollgate_model::{Authority, Host, Scheme};
use tollgate_policy::Reach;

use super::Resolver;
use super::outgoing::{Noted, Outgoing};
use super::resolve::ResolveError;

/// Opens connections to upstreams.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    tls: Connector,
    outgoing: Outgoing,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No address, or one that may not be reached.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address took the connection.
    #[error("{authority} cannot be reached: {reason}")]
    Connect {
        /// Where to.
        authority: Authority,
        /// What the last try said.
        reason: String,
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

/// One address that drops packets must not hold a request longer than a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Round trips of a handshake on a bad line, with room.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

impl Dialer {
    /// A dialer with the operator's pins and trust.
    #[must_use]
    pub fn new(resolver: Resolver, tls: ClientConfig) -> Self {
        Self { resolver, tls: Connector(TlsConnector::from(Arc::new(tls))), outgoing: Outgoing::default() }
    }

    /// The same, keeping its connections in `outgoing` for others to know.
    #[must_use]
    pub fn noting(self, outgoing: &Outgoing) -> Self {
        Self { outgoing: outgoing.clone(), ..self }
    }

    /// Resolves, checks every address, connects, and for https verifies the upstream's certificate against the host.
    pub(crate) async fn dial(&self, scheme: Scheme, to: &Authority, reach: &Reach) -> Result<Stream, DialError> {
        let stream = self.outgoing.note(self.connect(to, reach).await?);
        match scheme {
            Scheme::Http => Ok(TokioIo::new(Box::new(stream))),
            Scheme::Https => self.handshake(to, stream).await,
        }
    }

    async fn connect(&self, to: &Authority, reach: &Reach) -> Result<TcpStream, DialError> {
        let mut reason = String::new();
        for address in self.resolver.resolve(to, reach).await? {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without it a small request waits for the acknowledgement of the one before.
                    stream.set_nodelay(true).map_err(|e| connect_error(to, e.to_string()))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = format!("no answer from {address} within {CONNECT_TIMEOUT:?}"),
            }
        }
        Err(connect_error(to, reason))
    }

    async fn handshake(&self, to: &Authority, stream: Noted) -> Result<Stream, DialError> {
        let failed = |reason: String| DialError::Tls { authority: to.clone(), reason };
        let name = match &to.host {
            Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|e| failed(e.to_string()))?,
            Host::Address(address) => ServerName::from(*address),
        };
        let stream = tokio::time::timeout(TLS_TIMEOUT, self.tls.0.connect(name, stream))
            .await
            .map_err(|_| failed(format!("no handshake within {TLS_TIMEOUT:?}")))?
            .map_err(|e| failed(e.to_string()))?;
        Ok(TokioIo::new(Box::new(stream)))
    }
}

fn connect_error(to: &Authority, reason: String) -> DialError {
    DialError::Connect { authority: to.clone(), reason }
}
