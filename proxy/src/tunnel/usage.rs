//! Whether a connection is used: by how many requests, and since when by none.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Usage(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    open: usize,
    used: bool,
    last: Instant,
}

/// One request, until the last byte of its reply, or the end of the socket that it has become.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Usage>);

/// A reply that holds something as long as it is not read to its end.
#[derive(Debug)]
pub(super) struct During<B, H> {
    body: B,
    _held: H,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { open: 0, used: false, last: Instant::now() }))
    }

    pub(super) fn begin(self: &Arc<Self>) -> Arc<Turn> {
        self.change(|state| (state.open, state.used) = (state.open + 1, true));
        Arc::new(Turn(Arc::clone(self)))
    }

    /// Whether there has been a request at all.
    pub(super) fn was_used(&self) -> bool {
        self.change(|state| state.used)
    }

    /// Returns when no request has been open for this long.
    pub(super) async fn idle_for(&self, patience: Duration) {
        loop {
            let State { open, last, .. } = self.change(|state| *state);
            let since = if open > 0 { Instant::now() } else { last };
            if since + patience <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(since + patience).await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B, H> During<B, H> {
    pub(super) fn new(body: B, held: H) -> Self {
        Self { body, _held: held }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.open -= 1;
            state.last = Instant::now();
        });
    }
}

impl<B: Body + Unpin, H: Unpin> Body for During<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_idles_from_its_last_reply_on() {
        let usage = Arc::new(Usage::new());
        let patience = Duration::from_secs(10);
        let begun = Instant::now();
        let turn = usage.begin();
        let waiting = {
            let usage = Arc::clone(&usage);
            tokio::spawn(async move { usage.idle_for(patience).await })
        };
        tokio::time::advance(Duration::from_secs(25)).await;
        drop(During::new((), turn));
        waiting.await.expect("it ends");
        assert!(begun.elapsed() >= Duration::from_secs(35), "{:?}", begun.elapsed());
    }
}
