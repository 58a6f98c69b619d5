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

/// Open sockets of the namespace.
pub(crate) struct Listening {
    explicit: TcpListener,
    transparent: Vec<TcpListener>,
    dns_udp: Vec<UdpSocket>,
    dns_tcp: Vec<TcpListener>,
    sock_diag: OwnedFd,
}

/// Connections that wait while the proxy is busy; further ones are retried by the client's kernel.
const BACKLOG: i32 = 1024;

impl Listening {
    /// Opens everything. `ports` get listeners of their own where redirection is missing.
    pub(crate) fn open(ports: Option<&[u16]>) -> Result<Self, LaunchError> {
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let transparent = match ports {
            None => each(&local, &[CAPTURE_PORT], tcp)?,
            Some(ports) => each(&any, ports, tcp)?,
        };
        Ok(Self {
            explicit: tcp(SocketAddr::new(local[0], EXPLICIT_PORT)).at("listen for the proxy")?,
            transparent,
            dns_udp: each(&any, &[DNS_PORT], udp)?,
            dns_tcp: each(&any, &[DNS_PORT], tcp)?,
            sock_diag: Netlink::open(SockProtocol::NetlinkSockDiag).at("open a sock_diag socket")?.into_inner(),
        })
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
