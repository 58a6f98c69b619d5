//! Ports of the host's loopback that lead to ports inside the sandbox.
//!
//! The socket that connects was made in the sandbox's network by process 1, so that it reaches what listens there and nothing
//! else. Whoever may connect to the host's loopback may use the port: it is a way in for people of this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tollgate_audit::Event;
use tollgate_proxy::Journal;
use tollgate_supervisor::{Door, Family};

use crate::failure::{Failure, Kind};

/// `PORT`, or `HOST:INSIDE` where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    host: u16,
    inside: u16,
}

/// What is no pair of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write PORT, or HOST:INSIDE for two different ports, each from 1 to 65535")]
pub struct ForwardError;

/// A port of the host that is taken.
#[derive(Debug)]
pub struct Forwarder {
    listener: std::net::TcpListener,
    forward: Forward,
}

/// The ports that lead into one sandbox while it runs.
pub struct Forwards {
    door: Door,
    journal: Arc<Journal>,
    open: Mutex<BTreeMap<u16, Open>>,
}

/// A port that is served; its connections end with it.
struct Open {
    forward: Forward,
    task: AbortHandle,
}

/// Ports of one sandbox at one time.
const MAX_PORTS: usize = 64;

/// Connections through one port at one time; each takes two descriptors.
const MAX_FORWARDED: usize = 64;

/// On a loopback a connection is there at once or never; this is for a listener whose queue is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// When there is no descriptor left, one may be free after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let port = |text: &str| match text.parse() {
            Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
            _ => Err(ForwardError),
        };
        match text.split_once(':') {
            Some((host, inside)) => Ok(Self { host: port(host)?, inside: port(inside)? }),
            None => Ok(Self { host: port(text)?, inside: port(text)? }),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.inside)
    }
}

impl Forwarder {
    /// Takes the port of the host.
    pub fn bind(forward: &Forward) -> Result<Self, Failure> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host));
        let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = listener.map_err(|e| {
            Failure::new(Kind::Other, format!("port {} of this machine cannot be forwarded: {e}", forward.host))
        })?;
        Ok(Self { listener, forward: *forward })
    }

    /// Serves it until that is dropped. Needs a runtime.
    fn start(self, door: &Door) -> Result<Open, Failure> {
        let listener = TcpListener::from_std(self.listener)
            .map_err(|e| Failure::new(Kind::Other, format!("a port cannot be forwarded: {e}")))?;
        let task = tokio::spawn(serve(listener, self.forward.inside, door.clone())).abort_handle();
        Ok(Open { forward: self.forward, task })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwards {
    /// Serves what was taken already. Needs a runtime.
    pub fn start(forwarders: Vec<Forwarder>, door: &Door, journal: &Arc<Journal>) -> Result<Self, Failure> {
        let open = forwarders.into_iter().map(|one| Ok((one.forward.host, one.start(door)?)));
        let open = open.collect::<Result<_, Failure>>()?;
        Ok(Self { door: door.clone(), journal: Arc::clone(journal), open: Mutex::new(open) })
    }

    /// All of them, as `HOST:INSIDE`.
    pub fn list(&self) -> Vec<String> {
        self.lock().values().map(|open| open.forward.to_string()).collect()
    }

    /// Takes one more port, for as long as the sandbox runs. Needs a runtime.
    pub fn add(&self, forward: &Forward) -> Result<(), Failure> {
        let mut open = self.lock();
        if open.len() >= MAX_PORTS {
            let message = format!("{MAX_PORTS} ports lead into the sandbox, and no more can; stop one first");
            return Err(Failure::new(Kind::Other, message));
        }
        let forwarder = Forwarder::bind(forward)?;
        let Forward { host, inside } = forward;
        self.record(&format!("port {host} of this machine leads to port {inside} inside from now on, by its owner"))?;
        open.insert(*host, forwarder.start(&self.door)?);
        Ok(())
    }

    /// Lets a port of the host go, with the connections through it.
    pub fn remove(&self, host: u16) -> Result<(), Failure> {
        let mut open = self.lock();
        if open.remove(&host).is_none() {
            return Err(Failure::new(
                Kind::Other,
                format!("port {host} of this machine does not lead into the sandbox"),
            ));
        }
        self.record(&format!("port {host} of this machine leads inside no longer, by its owner"))
    }

    fn record(&self, detail: &str) -> Result<(), Failure> {
        self.journal.record(&Event::Notice { detail }).map_err(Failure::of_journal)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Open>> {
        // What is guarded is whole between any two of its steps.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, port: u16, door: Door) {
    let places = Arc::new(Semaphore::new(MAX_FORWARDED));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Closed never: it is ours. What waits for a place waits in the listener's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((outside, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let door = door.clone();
        connections.spawn(async move {
            if let Err(error) = pass(outside, port, door).await {
                tracing::debug!(%error, port, "a forwarded connection ended");
            }
            drop(place);
        });
    }
}

async fn pass(mut outside: TcpStream, port: u16, door: Door) -> std::io::Result<()> {
    let local = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    let mut inside = match connect(&door, local[0]).await {
        Ok(inside) => inside,
        Err(_) => connect(&door, local[1]).await?,
    };
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await.map(drop)
}

async fn connect(door: &Door, address: SocketAddr) -> std::io::Result<TcpStream> {
    let door = door.clone();
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let socket = tokio::task::spawn_blocking(move || door.socket(family)).await.map_err(std::io::Error::other)??;
    let socket = TcpSocket::from_std_stream(socket.into());
    tokio::time::timeout(CONNECT_TIMEOUT, socket.connect(address)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        #[track_caller]
        fn check(text: &str, expected: Option<(u16, u16)>) {
            let read = text.parse::<Forward>().ok();
            assert_eq!(read, expected.map(|(host, inside)| Forward { host, inside }), "{text}");
        }
        check("8080", Some((8080, 8080)));
        check("8080:80", Some((8080, 80)));
        for bad in ["", "0", "80:0", "65536", "-1", "+80", "80:", ":80", "a", "80:81:82", "127.0.0.1:80", "80 "] {
            check(bad, None);
        }
    }
}
