//! Accepting connections: never more than the gate can hold, and never giving up.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::Gate;

/// One accepted connection.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// The client's address.
    pub(super) client: SocketAddr,
    /// Its place among the connections that the gate holds: given back when the last copy goes.
    pub(super) slot: Arc<OwnedSemaphorePermit>,
}

/// Pause after a failed accept: out of descriptors or memory, which other connections will give back.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts on `listener` for as long as the runtime lives and hands each connection to `serve` in a task of its own.
pub(super) fn spawn<F>(
    gate: &Arc<Gate>,
    listener: std::net::TcpListener,
    serve: fn(Arc<Gate>, Accepted) -> F,
) -> std::io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        loop {
            let Some((stream, client)) = accept(&listener).await else { continue };
            // The one that waits here is the last that is accepted until another ends.
            let Ok(slot) = Arc::clone(&gate.connections).acquire_owned().await else { return };
            tokio::spawn(serve(Arc::clone(&gate), Accepted { stream, client, slot: Arc::new(slot) }));
        }
    });
    Ok(())
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, client)) => {
            // Without it small replies wait for acknowledgements. A socket that refuses it is already dead.
            stream.set_nodelay(true).ok()?;
            Some((stream, client))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(BACK_OFF).await;
            None
        }
    }
}
