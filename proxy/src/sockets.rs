//! What every TCP socket is set to, on either leg (tcp(7)).

use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpNoDelay};

/// A peer that has gone without a word is noticed after a minute of silence and three questions: 90 seconds in all. Only the
/// system can tell it from one that is waiting, as clients of slow replies do.
const IDLE_SECONDS: u32 = 60;
const INTERVAL_SECONDS: u32 = 10;
const PROBES: u32 = 3;

/// Sends what is small at once, and notices peers that are gone.
pub(crate) fn prepare(stream: &impl AsFd) -> std::io::Result<()> {
    setsockopt(stream, TcpNoDelay, &true)?;
    setsockopt(stream, KeepAlive, &true)?;
    setsockopt(stream, TcpKeepIdle, &IDLE_SECONDS)?;
    setsockopt(stream, TcpKeepInterval, &INTERVAL_SECONDS)?;
    setsockopt(stream, TcpKeepCount, &PROBES)?;
    Ok(())
}
