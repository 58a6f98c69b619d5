//! From a connection's addresses to its socket's inode, over `NETLINK_SOCK_DIAG` (sock_diag(7)).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv, send};
use tollgate_model::Unidentified;

/// The sockets of one network namespace, asked one at a time.
#[derive(Debug)]
pub(super) struct SocketTable {
    netlink: OwnedFd,
    sequence: u32,
}

impl SocketTable {
    pub(super) fn new(netlink: OwnedFd) -> Self {
        Self { netlink, sequence: 0 }
    }

    /// The inode of the TCP socket at `local` that is connected to `remote`.
    pub(super) fn inode(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<u64, Unidentified> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, local, remote);
        let netlink = self.netlink.as_raw_fd();
        send(netlink, &request, MsgFlags::empty()).map_err(|_| Unidentified::Unreadable)?;
        loop {
            let mut reply = [0; REPLY_BYTES];
            // The kernel answers before send returns, so there is always something to read.
            let read = recv(netlink, &mut reply, MsgFlags::MSG_DONTWAIT).map_err(|_| Unidentified::Unreadable)?;
            match read_reply(&reply[..read], self.sequence) {
                Reply::Stale => {}
                Reply::Inode(0) | Reply::None => return Err(Unidentified::Gone),
                Reply::Inode(inode) => return Ok(u64::from(inode)),
            }
        }
    }
}

enum Reply {
    /// An answer to an earlier question.
    Stale,
    /// No such socket.
    None,
    /// `idiag_inode`; 0 for a socket that no process holds any more.
    Inode(u32),
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` of `linux/netlink.h` and `linux/inet_diag.h`.
fn request(sequence: u32, local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let (family, source, destination) = match (local.ip(), remote.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => (AF_INET, pad(&source.octets()), pad(&destination.octets())),
        (source, destination) => (AF_INET6, v6(source), v6(destination)),
    };
    let mut out = Vec::with_capacity(REQUEST_BYTES as usize);
    out.extend(REQUEST_BYTES.to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend(NLM_F_REQUEST.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend([family, IPPROTO_TCP, 0, 0]);
    out.extend(ALL_STATES.to_ne_bytes());
    out.extend(local.port().to_be_bytes());
    out.extend(remote.port().to_be_bytes());
    out.extend(source);
    out.extend(destination);
    out.extend(0u32.to_ne_bytes());
    out.extend(NO_COOKIE);
    out
}

fn pad(octets: &[u8; 4]) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..4].copy_from_slice(octets);
    padded
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn read_reply(reply: &[u8], sequence: u32) -> Reply {
    let u16_at = |at: usize| reply.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let u32_at = |at: usize| reply.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    match (u16_at(4), u32_at(8)) {
        (_, Some(other)) if other != sequence => Reply::Stale,
        (Some(SOCK_DIAG_BY_FAMILY), Some(_)) => u32_at(INODE_OFFSET).map_or(Reply::None, Reply::Inode),
        _ => Reply::None,
    }
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const ALL_STATES: u32 = u32::MAX;
const NO_COOKIE: [u8; 8] = [0xff; 8];
const REQUEST_BYTES: u32 = 16 + 56;

/// `struct inet_diag_msg` is 72 bytes and `idiag_inode` its last field; attributes may follow.
const INODE_OFFSET: usize = 16 + 68;
const REPLY_BYTES: usize = 4096;
