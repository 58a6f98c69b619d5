//! The ways in: explicit proxy, transparent capture, policy DNS; for one sandbox, or for many agents outside any.

mod accept;
mod dns;
mod explicit;
mod front;
mod names;
mod outside;
mod roster;
mod transparent;

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use crate::Gate;

pub(crate) use accept::Slot;
pub use front::{Door, Front};
pub(crate) use names::Names;
pub use roster::{Agent, Roster, Token};

/// The listening sockets of one sandbox, made inside its network namespace.
#[derive(Debug)]
pub struct Sockets {
    /// What `HTTPS_PROXY` leads to.
    pub explicit: TcpListener,
    /// Where every other TCP connection ends.
    pub transparent: Vec<TcpListener>,
    /// Port 53, UDP, with the destination address delivered beside each datagram (`IP_PKTINFO`).
    pub dns_udp: Vec<UdpSocket>,
    /// Port 53, TCP.
    pub dns_tcp: Vec<TcpListener>,
}

pub(crate) fn serve(gate: &Arc<Gate>, sockets: Sockets) -> std::io::Result<()> {
    let Sockets { explicit, transparent, dns_udp, dns_tcp } = sockets;
    accept::spawn(gate, &gate.capacity, explicit, explicit::serve)?;
    for listener in transparent {
        accept::spawn(gate, &gate.capacity, listener, transparent::serve)?;
    }
    for listener in dns_tcp {
        accept::spawn(gate, &gate.capacity, listener, dns::serve_tcp)?;
    }
    for socket in dns_udp {
        dns::spawn_udp(gate, socket)?;
    }
    Ok(())
}
