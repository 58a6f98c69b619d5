//! The sockets of a stand-alone proxy: bound here, or passed by the service manager (sd_listen_fds(3)).

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use listenfd::ListenFd;
use rustls::ServerConfig;
use tollgate_proxy::{Door, listener_config};

use super::config::{Config, KeyFiles, Listener, Place, Speaks};
use super::private;
use crate::failure::{Failure, Kind};

/// A socket that listens, and what it speaks.
pub struct Open {
    /// The socket.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub door: Door,
}

/// The certificates of TLS listeners, in the order of the configuration, to be replaced when their files change.
pub type Certificates = Vec<Arc<ArcSwap<ServerConfig>>>;

impl Open {
    /// The certificate that may be replaced, where it has one.
    pub fn certificate(&self) -> Option<Arc<ArcSwap<ServerConfig>>> {
        match &self.door {
            Door::ExplicitTls(config) => Some(Arc::clone(config)),
            Door::Explicit | Door::Transparent => None,
        }
    }

    /// For people: `explicit proxy at 127.0.0.1:3128`.
    pub fn describe(&self) -> String {
        let kind = match self.door {
            Door::Explicit => "explicit proxy",
            Door::ExplicitTls(_) => "explicit proxy in TLS",
            Door::Transparent => "redirected connections",
        };
        format!("{kind} at {}", self.address)
    }
}

/// Opens every listener of a configuration, or none.
pub fn open(config: &Config) -> Result<Vec<Open>, Failure> {
    let mut passed = Passed::take()?;
    let mut found = Vec::new();
    for listener in &config.listeners {
        let sockets = match &listener.place {
            Place::Address(address) => vec![bind(*address)?],
            Place::Systemd(name) => passed.named(name)?,
        };
        let door = door(listener)?;
        for socket in sockets {
            let address = socket.local_addr().map_err(|e| failed(format!("a listener has no address: {e}")))?;
            found.push(Open { socket, address, door: door.clone() });
        }
    }
    passed.none_left()?;
    Ok(found)
}

/// The TLS settings of all listeners that have some, read anew.
pub fn certificates(config: &Config) -> Result<Vec<Arc<ServerConfig>>, Failure> {
    let files = config.listeners.iter().filter_map(|listener| match &listener.speaks {
        Speaks::ExplicitTls(files) => Some(files),
        Speaks::Explicit | Speaks::Transparent => None,
    });
    files.map(read).collect()
}

fn door(listener: &Listener) -> Result<Door, Failure> {
    Ok(match &listener.speaks {
        Speaks::Explicit => Door::Explicit,
        Speaks::ExplicitTls(files) => Door::ExplicitTls(Arc::new(ArcSwap::new(read(files)?))),
        Speaks::Transparent => Door::Transparent,
    })
}

fn read(files: &KeyFiles) -> Result<Arc<ServerConfig>, Failure> {
    let refused = |path: &Path, why: String| {
        Failure::new(Kind::Policy, format!("the listener's certificate {}: {why}", path.display()))
    };
    let certificate =
        std::fs::read_to_string(&files.certificate).map_err(|e| refused(&files.certificate, e.to_string()))?;
    let key = private::read(&files.key).map_err(|e| refused(&files.certificate, e))?;
    listener_config(&certificate, &key).map_err(|e| refused(&files.certificate, e.to_string()))
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|e| failed(format!("the proxy cannot listen at {address}: {e}")))
}

/// What the service manager passed.
struct Passed {
    sockets: ListenFd,
    /// The names that are left; a socket whose name was asked for leaves its place empty.
    names: Vec<Option<String>>,
}

impl Passed {
    fn take() -> Result<Self, Failure> {
        let sockets = ListenFd::from_env();
        let named = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names: Vec<_> = match named.is_empty() {
            true => Vec::new(),
            false => named.split(':').map(|name| Some(name.to_owned())).collect(),
        };
        if !names.is_empty() && names.len() != sockets.len() {
            let message = format!("LISTEN_FDNAMES names {} sockets and {} were passed", names.len(), sockets.len());
            return Err(failed(message));
        }
        // What sd_listen_fds_with_names(3) calls those without one.
        names.resize(sockets.len(), Some("unknown".to_owned()));
        Ok(Self { sockets, names })
    }

    fn named(&mut self, name: &str) -> Result<Vec<TcpListener>, Failure> {
        let mut found = Vec::new();
        for (number, known) in self.names.iter_mut().enumerate() {
            if known.as_deref() != Some(name) {
                continue;
            }
            *known = None;
            let socket = self.sockets.take_tcp_listener(number);
            let socket = socket.map_err(|e| failed(format!("the passed socket `{name}` cannot be used: {e}")))?;
            found.extend(socket);
        }
        match found.is_empty() {
            false => Ok(found),
            true => Err(failed(format!(
                "no socket named `{name}` was passed; start this through its socket unit, with FileDescriptorName={name} there"
            ))),
        }
    }

    /// A socket that nobody serves would take connections and never answer.
    fn none_left(&self) -> Result<(), Failure> {
        match self.names.iter().flatten().next() {
            None => Ok(()),
            Some(name) => {
                let message = format!("a socket named `{name}` was passed and no listener has `systemd: {name}`");
                Err(Failure::new(Kind::Policy, message))
            }
        }
    }
}

fn failed(message: String) -> Failure {
    Failure::new(Kind::Other, message)
}
