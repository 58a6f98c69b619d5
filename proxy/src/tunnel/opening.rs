//! What a client begins with: read as far as is needed to know, and put back in front of the stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate_inspect::sniff::{Opening, sniff};

use crate::Limits;
use crate::limits::seconds;

/// Waits for the first bytes and says what they are; nothing when none come.
pub(crate) async fn read<S: AsyncRead + Unpin>(io: S, limits: &Limits) -> Option<(Opening, Prefixed<S>)> {
    let mut beginning = Beginning::new(io);
    tokio::time::timeout(seconds(limits.first_bytes_seconds), beginning.more()).await.ok()?.ok()?;
    // Whoever has begun goes on, or is taken for what it is so far.
    let opening = tokio::time::timeout(seconds(limits.handshake_seconds), beginning.opening()).await;
    (!beginning.bytes.is_empty()).then(|| {
        let opening = opening.unwrap_or_else(|_| sniff(&beginning.bytes));
        (opening, beginning.into_stream())
    })
}

/// A stream of which some bytes have been read.
pub(super) struct Beginning<S> {
    bytes: BytesMut,
    io: S,
}

impl<S: AsyncRead + Unpin> Beginning<S> {
    pub(super) fn new(io: S) -> Self {
        Self { bytes: BytesMut::new(), io }
    }

    /// Reads on; 0 at the end. May be dropped and called again.
    pub(super) async fn more(&mut self) -> std::io::Result<usize> {
        std::future::poll_fn(|cx| {
            // Nothing is held while nothing comes: tunnels may idle by the thousand.
            let mut space = [0; FIRST_READ];
            let mut read = ReadBuf::new(&mut space);
            std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            self.bytes.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
        .await
    }

    /// Reads until it is clear what this is, or the client says no more.
    async fn opening(&mut self) -> Opening {
        loop {
            match sniff(&self.bytes) {
                Opening::Unknown { more: true } if matches!(self.more().await, Ok(1..)) => {}
                opening => return opening,
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_stream(self) -> Prefixed<S> {
        Prefixed { prefix: self.bytes.freeze(), io: self.io }
    }
}

/// A stream with bytes put back in front.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    prefix: Bytes,
    io: S,
}

impl<S> Prefixed<S> {
    pub(crate) fn new(prefix: Bytes, io: S) -> Self {
        // An empty slice may keep a large buffer alive.
        let prefix = if prefix.is_empty() { Bytes::new() } else { prefix };
        Self { prefix, io }
    }

    /// What was put back and has not been read again, and the stream behind it.
    pub(super) fn into_parts(self) -> (Bytes, S) {
        (self.prefix, self.io)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        if self.prefix.is_empty() {
            // Gives the buffer back: the connection may live for days.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A client hello with every extension in use fits twice; the rest is read by TLS itself.
const FIRST_READ: usize = 4096;
