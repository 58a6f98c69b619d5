//! A stream whose peer must read: what is written and not taken within a time ends it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream with a bound on how long a write may wait. Reads may wait for ever.
#[derive(Debug)]
pub(crate) struct Stalling<S> {
    io: S,
    stall: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(crate) fn new(io: S, stall: Duration) -> Self {
        Self { io, stall, deadline: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.io
    }

    /// Passes the answer of a write on, unless it has waited too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let stall = self.stall;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        deadline.as_mut().poll(cx).map(|()| Err(unread()))
    }
}

/// The error of a write that waited too long.
pub(crate) fn unread() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "what was sent was not read in time")
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bound(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn h7_a_write_waits_so_long_and_a_read_for_ever() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut stream = Stalling::new(near, Duration::from_secs(5));
        let mut byte = [0];
        assert!(tokio::time::timeout(Duration::from_secs(60), stream.read(&mut byte)).await.is_err(), "it waits");
        stream.write_all(b"1234").await.expect("there is room");
        let begun = Instant::now();
        let error = stream.write_all(b"5").await.expect_err("nobody reads");
        assert_eq!((error.kind(), begun.elapsed().as_secs()), (ErrorKind::TimedOut, 5));
        far.read_exact(&mut [0; 4]).await.expect("read");
        stream.write_all(b"6").await.expect("there is room again");
    }
}
