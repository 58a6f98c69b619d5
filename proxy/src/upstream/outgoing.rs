//! The connections that this process has opened: one that comes in from there is its own, gone in a circle.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// Local addresses of connections to upstreams, bounded by the descriptors of the process.
///
/// A packet filter that redirects the proxy's own connections, or a pin that leads back to it, would otherwise feed it
/// with its own requests until nothing is left. An address is known here before the first byte is sent from it.
#[derive(Debug, Clone, Default)]
pub struct Outgoing(Arc<Mutex<HashSet<Ends>>>);

/// Our end and the other: the kernel may give one port to connections with different peers.
type Ends = (SocketAddr, SocketAddr);

/// A connection that is known for as long as it is open.
#[derive(Debug)]
pub(crate) struct Noted {
    stream: TcpStream,
    ends: Option<Ends>,
    outgoing: Outgoing,
    /// Among the connections that may be open at a time.
    _place: OwnedSemaphorePermit,
}

impl Outgoing {
    /// True when a connection from `client` to `destination` was opened by this process.
    pub(crate) fn holds(&self, client: SocketAddr, destination: SocketAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(plain(client), plain(destination)))
    }

    /// Remembers a connection, and keeps its place, until it is dropped.
    pub(crate) fn note(&self, stream: TcpStream, place: OwnedSemaphorePermit) -> Noted {
        let ends = stream.local_addr().ok().map(plain).zip(stream.peer_addr().ok().map(plain));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
        Noted { stream, ends, outgoing: self.clone(), _place: place }
    }
}

impl Noted {
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Waits until the peer has said something, or has gone.
    pub(crate) async fn readable(&self) -> std::io::Result<()> {
        self.stream.readable().await
    }
}

/// A listener for both families sees IPv4 clients at IPv6 addresses.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(ends) = &self.ends {
            self.outgoing.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ends);
        }
    }
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_known_while_it_is_open() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let outgoing = Outgoing::default();
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("free");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("connected");
        let noted = outgoing.note(stream, place);
        let (_accepted, client) = listener.accept().await.expect("accepted");
        assert!(outgoing.holds(client, address));
        let mapped = |port| SocketAddr::new("::ffff:127.0.0.1".parse().expect("an address"), port);
        assert!(outgoing.holds(mapped(client.port()), mapped(address.port())));
        // Somebody else's, from a port that the kernel gave twice.
        assert!(!outgoing.holds(client, SocketAddr::new(address.ip(), address.port() ^ 1)));
        assert_eq!(places.available_permits(), 0);
        drop(noted);
        assert!(!outgoing.holds(client, address) && places.available_permits() == 1);
    }
}
