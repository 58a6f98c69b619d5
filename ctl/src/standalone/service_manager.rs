//! Telling the service manager how things stand (sd_notify(3)): ready, reloading, stopping, alive.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Where messages go; nowhere where no service manager asked for them.
#[derive(Debug)]
pub struct ServiceManager(Option<(UnixDatagram, SocketAddr)>);

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State<'a> {
    /// Everything is served, with one line for people.
    Ready(&'a str),
    /// The configuration is being read again.
    Reloading,
    /// The end has begun.
    Stopping,
    /// Still alive.
    Watchdog,
}

impl ServiceManager {
    /// Takes the address from `NOTIFY_SOCKET`.
    pub fn from_environment() -> Self {
        let Some(path) = std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()) else {
            return Self(None);
        };
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        let socket = address.and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        if let Err(error) = &socket {
            tracing::warn!(%error, path, "the service manager cannot be told anything");
        }
        Self(socket.ok())
    }

    /// Tells it. One that has gone away is not waited for.
    pub fn tell(&self, state: State<'_>) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.message().as_bytes(), address) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }

    /// How often it wants to hear that we are alive: half of `WATCHDOG_USEC`, where that is meant for us.
    pub fn watchdog() -> Option<Duration> {
        let variable = |name| std::env::var(name).ok();
        watchdog(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
    }
}

impl State<'_> {
    fn message(self) -> String {
        match self {
            Self::Ready(status) => format!("READY=1\nSTATUS={status}\n"),
            Self::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_microseconds()),
            Self::Stopping => "STOPPING=1\n".to_owned(),
            Self::Watchdog => "WATCHDOG=1\n".to_owned(),
        }
    }
}

fn watchdog(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let microseconds: u64 = microseconds?.parse().ok().filter(|number| *number > 1)?;
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    ours.then(|| Duration::from_micros(microseconds / 2))
}

fn monotonic_microseconds() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdogs() {
        for (microseconds, pid, expected) in [
            (Some("2000000"), None, Some(Duration::from_secs(1))),
            (Some("2000000"), Some("7"), Some(Duration::from_secs(1))),
            (Some("2000000"), Some("8"), None),
            (Some("2000000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ] {
            assert_eq!(watchdog(microseconds, pid, 7), expected, "{microseconds:?} {pid:?}");
        }
    }

    #[test]
    fn messages() {
        assert_eq!(State::Ready("2 agents").message(), "READY=1\nSTATUS=2 agents\n");
        let reloading = State::Reloading.message();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading).trim_end();
        assert!(time.parse::<i64>().expect("a number") > 0);
    }
}
