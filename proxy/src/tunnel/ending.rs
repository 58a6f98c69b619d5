//! How a served connection ends: by itself, or by what happens around it.

use std::pin::Pin;
use std::time::Duration;

use crate::Gate;
use crate::live::Hold;

/// How long the answers of a connection that is cut have to get out; the whole cut stays below a second.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);

/// Runs a connection until it ends. When the process drains, or nobody uses it any more, it finishes what it has begun; when
/// it loses its permission, or was never used, it gets a moment to say so.
pub(super) async fn to_its_end<C: Future>(
    mut connection: Pin<&mut C>,
    finish: impl FnOnce(Pin<&mut C>),
    gate: &Gate,
    hold: &Hold,
    unused: impl Future<Output = bool>,
) -> Option<C::Output> {
    let drains = tokio::select! {
        biased;
        ended = connection.as_mut() => return Some(ended),
        _ = hold.lost() => false,
        was_used = unused => was_used,
        () = gate.capacity.draining() => true,
    };
    finish(connection.as_mut());
    if drains {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return Some(ended),
            _ = hold.lost() => {}
        }
    }
    tokio::time::timeout(FAREWELL, connection).await.ok()
}
