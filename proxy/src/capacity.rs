//! What one process takes at a time, and how it stops: shared by every gate in it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{Crew, Outgoing};

/// Connections of a process: how many there may be, how many there are, and whether more are taken.
#[derive(Debug)]
pub struct Capacity {
    connections: Arc<Semaphore>,
    limit: u32,
    connection_numbers: AtomicU64,
    request_numbers: AtomicU64,
    failed_accepts: AtomicU64,
    phase: watch::Sender<Phase>,
    outgoing: Outgoing,
    crew: Option<Crew>,
}

/// Where a process stands between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Connections are taken.
    Open,
    /// No more connections; those that are there come to their end by themselves.
    Draining,
    /// Those that are left are cut.
    Cut,
}

/// Descriptors of one connection: the client's, the upstream's, and one that is on its way.
const DESCRIPTORS_EACH: u64 = 3;

/// Descriptors that connections never get: journal, listeners, files that are read to identify callers.
const DESCRIPTORS_KEPT: u64 = 256;

/// With fewer nothing works; accepting then slows down when descriptors run out.
const FEWEST_CONNECTIONS: u64 = 16;

impl Capacity {
    /// Room for `wanted` connections, or for as many as there are descriptors, served on the runtime that accepts them.
    #[must_use]
    pub fn new(wanted: u32) -> Arc<Self> {
        Arc::new(Self::with_crew(wanted, None))
    }

    /// The same, served by workers.
    #[must_use]
    pub fn served_by(crew: Crew, wanted: u32) -> Arc<Self> {
        Arc::new(Self::with_crew(wanted, Some(crew)))
    }

    fn with_crew(wanted: u32, crew: Option<Crew>) -> Self {
        let limit = wanted.min(descriptor_limit());
        Self {
            connections: Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX))),
            limit,
            connection_numbers: AtomicU64::new(1),
            request_numbers: AtomicU64::new(1),
            failed_accepts: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Open),
            outgoing: Outgoing::default(),
            crew,
        }
    }

    /// Who serves connections, where that is not the runtime that accepts them.
    pub(crate) fn crew(&self) -> Option<&Crew> {
        self.crew.as_ref()
    }

    /// The connections that this process opens.
    #[must_use]
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Connections that there may be.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Connections that there are.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.limit.saturating_sub(u32::try_from(self.connections.available_permits()).unwrap_or(u32::MAX))
    }

    /// How often a connection could not be accepted, for want of descriptors or memory.
    #[must_use]
    pub fn failed_accepts(&self) -> u64 {
        self.failed_accepts.load(Ordering::Relaxed)
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connection_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.request_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn count_failed_accept(&self) {
        self.failed_accepts.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for room for one more connection.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.connections).acquire_owned().await;
        place.expect("nothing closes this semaphore")
    }

    /// Waits until every connection has ended, at most for `patience`; false when some have not.
    pub(crate) async fn ended_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.connections.acquire_many(self.limit)).await.is_ok()
    }

    /// From now on no connection is taken, and those that idle end.
    pub(crate) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Ends every connection that is left.
    pub(crate) fn cut(&self) {
        self.phase.send_replace(Phase::Cut);
    }

    /// Returns once no more connections are taken.
    pub(crate) async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Runs `connection` to its end, or until connections are cut.
    pub(crate) async fn unless_cut(&self, connection: impl Future<Output = ()>) {
        tokio::select! {
            () = connection => {}
            () = self.reached(Phase::Cut) => {}
        }
    }

    /// Serves an HTTP connection to its end. Once the process drains it is told to `finish`, and ends after the request
    /// in progress.
    pub(crate) async fn serve<C: Future>(&self, connection: C, finish: impl FnOnce(Pin<&mut C>)) -> C::Output {
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.draining() => finish(connection.as_mut()),
        }
        connection.await
    }

    async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        phases.wait_for(|now| *now >= phase).await.expect("the sender lives as long as the borrow of it");
    }
}

/// As many connections as there are descriptors for.
fn descriptor_limit() -> u32 {
    let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let files = files.map_or(1024, |(soft, _)| soft);
    let limit = (files.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH).max(FEWEST_CONNECTIONS);
    u32::try_from(limit).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn o5_what_is_asked_for_is_bounded_by_descriptors() {
        let capacity = Capacity::new(3);
        assert_eq!((capacity.limit(), capacity.used()), (3, 0));
        let place = capacity.place().await;
        assert_eq!(capacity.used(), 1);
        assert!(!capacity.ended_within(Duration::ZERO).await);
        drop(place);
        assert!(capacity.ended_within(Duration::ZERO).await);
        assert!(Capacity::new(u32::MAX).limit() < u32::MAX);
    }

    #[tokio::test]
    async fn draining_comes_before_cutting() {
        let capacity = Capacity::new(1);
        capacity.drain();
        capacity.draining().await;
        let cut = tokio::time::timeout(Duration::ZERO, capacity.unless_cut(std::future::pending())).await;
        assert!(cut.is_err(), "connections live on while the process drains");
        capacity.cut();
        capacity.unless_cut(std::future::pending()).await;
    }
}
