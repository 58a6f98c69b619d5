//! Accepting connections: never more than there is room for, and never giving up.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::roster::Agent;
use crate::{Capacity, sockets};

/// One accepted connection.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// The client's address.
    pub(super) client: SocketAddr,
    /// Its place among the connections of this process: given back when the last copy goes.
    pub(super) slot: Arc<Slot>,
}

/// A place among the connections of this process, and among those of an agent once it is known whose it is.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: OwnedSemaphorePermit,
    owner: OnceLock<(Arc<str>, OwnedSemaphorePermit)>,
}

/// Why a connection cannot be an agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is another's already.
    ByAnother,
    /// The agent has as many as it may.
    Full,
}

impl Slot {
    /// Gives the place to an agent; one that has it keeps it.
    pub(super) fn belongs_to(&self, agent: &Agent) -> Result<(), Taken> {
        if self.owner.get().is_none() {
            let place = Arc::clone(&agent.share).try_acquire_owned().map_err(|_| Taken::Full)?;
            // Another request of the same connection may have been faster; then its place is the one.
            let _ = self.owner.set((Arc::clone(&agent.name), place));
        }
        match self.owner.get() {
            Some((name, _)) if *name == agent.name => Ok(()),
            _ => Err(Taken::ByAnother),
        }
    }
}

/// Pause after a failed accept: out of descriptors or memory, which other connections will give back.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts on `listener` until the process drains and hands each connection to `serve` in a task of its own.
pub(super) fn spawn<T, F>(
    owner: &Arc<T>,
    capacity: &Arc<Capacity>,
    listener: std::net::TcpListener,
    serve: fn(Arc<T>, Accepted) -> F,
) -> std::io::Result<()>
where
    T: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (owner, capacity) = (Arc::clone(owner), Arc::clone(capacity));
    tokio::spawn(async move {
        loop {
            let next = async {
                let (stream, client) = accept(&listener, &capacity).await?;
                // The one that waits here is the last that is accepted until another ends.
                let slot = Arc::new(Slot { _place: capacity.place().await, owner: OnceLock::new() });
                Some(Accepted { stream, client, slot })
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                () = capacity.draining() => return,
            };
            let Some(accepted) = accepted else { continue };
            let (served, capacity) = (Box::pin(serve(Arc::clone(&owner), accepted)), Arc::clone(&capacity));
            tokio::spawn(async move { capacity.unless_cut(served).await });
        }
    });
    Ok(())
}

async fn accept(listener: &TcpListener, capacity: &Capacity) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, client)) => {
            // A socket that refuses this is already dead.
            sockets::prepare(&stream).ok()?;
            Some((stream, client))
        }
        Err(error) => {
            capacity.count_failed_accept();
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(BACK_OFF).await;
            None
        }
    }
}
