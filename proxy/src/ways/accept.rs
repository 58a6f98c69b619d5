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

/// Accepts on `listener` until the process drains and has each connection served in a task of its own.
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
    // What is accepted has what its listener was set to.
    sockets::prepare(&listener)?;
    let start = |listener| {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(accept_all(Arc::clone(owner), Arc::clone(capacity), listener, serve));
        Ok(())
    };
    match capacity.crew() {
        Some(crew) => crew.each(|| start(listener.try_clone()?)),
        None => start(listener),
    }
}

async fn accept_all<T, F>(
    owner: Arc<T>,
    capacity: Arc<Capacity>,
    listener: TcpListener,
    serve: fn(Arc<T>, Accepted) -> F,
) where
    T: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let next = async {
            let (stream, client) = accept(&listener, &capacity).await?;
            // The one that waits here, one for each worker, is the last that is accepted until another ends.
            let slot = Arc::new(Slot { _place: capacity.place().await, owner: OnceLock::new() });
            Some((stream, client, slot))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = capacity.draining() => return,
        };
        let Some((stream, client, slot)) = accepted else { continue };
        let (owner, room) = (Arc::clone(&owner), Arc::clone(&capacity));
        let serve = async move |stream| {
            room.unless_cut(Box::pin(serve(owner, Accepted { stream, client, slot }))).await;
        };
        match capacity.crew() {
            Some(crew) => crew.serve(stream, serve),
            None => drop(tokio::spawn(serve(stream))),
        }
    }
}

async fn accept(listener: &TcpListener, capacity: &Capacity) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            capacity.count_failed_accept();
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(BACK_OFF).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::{KeepAlive, TcpKeepIdle};

    #[tokio::test]
    async fn what_is_accepted_has_what_its_listener_was_set_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        sockets::prepare(&listener).expect("set");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        fn kept(socket: &impl std::os::fd::AsFd) -> (Result<bool, Errno>, Result<u32, Errno>) {
            (getsockopt(socket, KeepAlive), getsockopt(socket, TcpKeepIdle))
        }
        assert_eq!((accepted.nodelay().expect("asked"), kept(&accepted)), (true, kept(&listener)));
        assert_ne!(kept(&client), kept(&listener));
    }
}
