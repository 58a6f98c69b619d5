//! The sockets that are made inside and served outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::sockopt::{IpFreebind, Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
};

use super::netlink::Netlink;
use super::{CAPTURE_PORT, DNS_PORT, EXPLICIT_PORT};
use crate::error::{At, LaunchError};
use crate::sys;

/// Open sockets of the sandbox.
pub(crate) struct Listening {
    explicit: TcpListener,
    transparent: Vec<TcpListener>,
    dns_udp: Vec<UdpSocket>,
    dns_tcp: Vec<TcpListener>,
    sock_diag: OwnedFd,
}

/// What a network has for connections and questions to any address.
pub(super) struct Gateway {
    transparent: Vec<TcpListener>,
    dns_udp: Vec<UdpSocket>,
    dns_tcp: Vec<TcpListener>,
}

/// How connections come to the gate's listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As they are; the listener must be one that takes connections to any address (`IP_TRANSPARENT`, ip(7)).
    Given,
    /// Rewritten to be for the listener.
    Redirected,
}

/// What comes to the gate beside what is meant for it.
pub(super) enum Catching {
    /// Every TCP port, on one listener.
    Every(Way),
    /// These, each on a listener of its own.
    Ports(Vec<u16>),
    /// No TCP port.
    Nothing,
}

/// Connections that wait while the proxy is busy; further ones are retried by the client's kernel.
const BACKLOG: i32 = 1024;

const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

impl Gateway {
    /// Opens it in the network that this process is in.
    pub(super) fn open(catching: &Catching) -> Result<Self, LaunchError> {
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let transparent = match catching {
            Catching::Every(Way::Given) => each(&ANY, &[CAPTURE_PORT], transparent)?,
            Catching::Every(Way::Redirected) => each(&local, &[CAPTURE_PORT], tcp)?,
            Catching::Ports(ports) => each(&ANY, ports, tcp)?,
            Catching::Nothing => Vec::new(),
        };
        Ok(Self { transparent, dns_udp: each(&ANY, &[DNS_PORT], udp)?, dns_tcp: each(&ANY, &[DNS_PORT], tcp)? })
    }
}

impl Listening {
    /// Of the agent's network, which this process is in, and of these.
    pub(super) fn open(gateways: Vec<Gateway>) -> Result<Self, LaunchError> {
        let explicit = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), EXPLICIT_PORT);
        let mut all = Self {
            explicit: tcp(explicit).at("listen for the proxy")?,
            transparent: Vec::new(),
            dns_udp: Vec::new(),
            dns_tcp: Vec::new(),
            sock_diag: Netlink::open(SockProtocol::NetlinkSockDiag).at("open a sock_diag socket")?.into_inner(),
        };
        for Gateway { transparent, dns_udp, dns_tcp } in gateways {
            all.transparent.extend(transparent);
            all.dns_udp.extend(dns_udp);
            all.dns_tcp.extend(dns_tcp);
        }
        Ok(all)
    }

    /// The descriptors in the order of the hand-over.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.sock_diag.as_raw_fd(), self.explicit.as_raw_fd()];
        all.extend(self.transparent.iter().map(AsRawFd::as_raw_fd));
        all.extend(self.dns_udp.iter().map(AsRawFd::as_raw_fd));
        all.extend(self.dns_tcp.iter().map(AsRawFd::as_raw_fd));
        all
    }

    /// How many there are of each kind that varies.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [self.transparent.len(), self.dns_udp.len(), self.dns_tcp.len()]
    }
}

/// Opens one socket per address and port. Only a kernel without IPv6 may leave that family out.
fn each<T>(addresses: &[IpAddr], ports: &[u16], open: fn(SocketAddr) -> nix::Result<T>) -> Result<Vec<T>, LaunchError> {
    let mut opened = Vec::new();
    for address in addresses {
        for port in ports {
            match open(SocketAddr::new(*address, *port)) {
                Ok(socket) => opened.push(socket),
                Err(nix::errno::Errno::EAFNOSUPPORT | nix::errno::Errno::EADDRNOTAVAIL) if address.is_ipv6() => {}
                Err(error) => return Err(LaunchError::step(format!("listen on {address} port {port}"), error)),
            }
        }
    }
    Ok(opened)
}

fn tcp(address: SocketAddr) -> nix::Result<TcpListener> {
    let socket = bound(address, SockType::Stream)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}

/// A listener that takes connections to any address.
fn transparent(address: SocketAddr) -> nix::Result<TcpListener> {
    let listener = tcp(address)?;
    make_transparent(&listener, address.is_ipv4())?;
    Ok(listener)
}

/// True where the kernel lets this process have such listeners.
pub(super) fn can_be_transparent() -> bool {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    socket.and_then(|socket| make_transparent(&socket, true)).is_ok()
}

fn make_transparent(socket: &impl AsFd, is_v4: bool) -> nix::Result<()> {
    let (level, option) =
        if is_v4 { (libc::IPPROTO_IP, libc::IP_TRANSPARENT) } else { (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT) };
    sys::enable(socket.as_fd(), level, option).map_err(|_| nix::errno::Errno::last())
}

/// A datagram socket that is told where each datagram was sent to, since every address leads to it.
fn udp(address: SocketAddr) -> nix::Result<UdpSocket> {
    let socket = bound(address, SockType::Datagram)?;
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    sys::enable(socket.as_fd(), level, option).map_err(|_| nix::errno::Errno::last())?;
    // Answers come from the address that was asked, which no interface has.
    setsockopt(&socket, IpFreebind, &true)?;
    Ok(UdpSocket::from(socket))
}

fn bound(address: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}
