//! Netlink messages (netlink(7)): built byte by byte, sent, acknowledged.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

/// One message under construction: `struct nlmsghdr`, a fixed header, attributes.
pub(super) struct Message {
    bytes: Vec<u8>,
}

/// A place where a nested attribute began.
pub(super) struct Nest(usize);

pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLM_F_APPEND: u16 = 0x800;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;

impl Message {
    /// A message of a kind, with its fixed header.
    pub(super) fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// An attribute; names are given with their NUL.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let nest = self.open_as(kind);
        self.bytes.extend(value);
        self.close(nest);
        self
    }

    /// An attribute of 32 bits in network order, as nf_tables wants them.
    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Bytes as they are: the fixed header within an attribute.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    /// Begins an attribute that holds attributes.
    pub(super) fn open(&mut self, kind: u16) -> Nest {
        self.open_as(kind | NLA_F_NESTED)
    }

    /// Ends it.
    pub(super) fn close(&mut self, nest: Nest) {
        let length = u16::try_from(self.bytes.len() - nest.0).expect("our messages have a few hundred bytes");
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn open_as(&mut self, kind: u16) -> Nest {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        Nest(start)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("our messages have a few hundred bytes");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// A netlink socket of the current network namespace.
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open(protocol: SockProtocol) -> Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    pub(super) fn into_inner(self) -> OwnedFd {
        self.0
    }

    /// Sends messages as one batch and waits for `acknowledged` of them to be confirmed.
    pub(super) fn request(&self, messages: Vec<Message>, acknowledged: usize) -> Result<()> {
        let batch: Vec<u8> = messages.into_iter().flat_map(Message::finish).collect();
        send(self.0.as_raw_fd(), &batch, MsgFlags::empty())?;
        let mut confirmed = 0;
        let mut buffer = vec![0; 16 * 1024];
        while confirmed < acknowledged {
            // The kernel answers before send returns; nothing to read means that no answer will come.
            let read = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
            confirmed += confirmations(&buffer[..read])?;
        }
        Ok(())
    }
}

/// Counts confirmations; the first error ends it.
fn confirmations(mut reply: &[u8]) -> Result<usize> {
    let mut count = 0;
    while reply.len() >= HEADER_BYTES {
        let length = u32::from_ne_bytes([reply[0], reply[1], reply[2], reply[3]]) as usize;
        let kind = u16::from_ne_bytes([reply[4], reply[5]]);
        let message = reply.get(HEADER_BYTES..length).ok_or(ErrorKind::InvalidData)?;
        if kind == NLMSG_ERROR {
            let code = message.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
            match code.ok_or(ErrorKind::InvalidData)? {
                0 => count += 1,
                code => return Err(Error::from_raw_os_error(-code)),
            }
        }
        reply = reply.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(count)
}
