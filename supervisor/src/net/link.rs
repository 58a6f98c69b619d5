//! The pair of devices between the agent's network and the gate's (veth(4), rtnetlink(7)).

use std::io::Result;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::net::if_::if_nametoindex;

use super::netlink::{Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Netlink};

/// One end of it, up, in the network that this process is in.
pub(super) struct Link {
    index: u32,
}

/// The agent's end, by the name that programs expect.
pub(crate) const AGENTS_END: &str = "eth0";

/// The gate's end.
pub(super) const GATES_END: &str = "agent";

/// Makes both, the agent's in the network that `agents` stands for. Neither is up.
pub(super) fn pair(netlink: &Netlink, agents: BorrowedFd<'_>) -> Result<()> {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, 1, &interface(0, 0));
    describe(&mut message, GATES_END);
    let info = message.open(IFLA_LINKINFO);
    message.attribute(IFLA_INFO_KIND, b"veth");
    let data = message.open(IFLA_INFO_DATA);
    let peer = message.open(VETH_INFO_PEER);
    message.raw(&interface(0, 0));
    describe(&mut message, AGENTS_END);
    message.attribute(IFLA_NET_NS_FD, &agents.as_raw_fd().to_ne_bytes());
    message.close(peer);
    message.close(data);
    message.close(info);
    netlink.request(vec![message], 1)
}

/// Both have the same hardware address, and none is asked for ([`IFF_NOARP`]), so that every frame is for the other end.
fn describe(message: &mut Message, name: &str) {
    message.attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
    message.attribute(IFLA_ADDRESS, &HARDWARE_ADDRESS).attribute(IFLA_MTU, &MTU.to_ne_bytes());
}

impl Link {
    /// Brings up the end of this name.
    pub(super) fn bring_up(netlink: &Netlink, name: &str) -> Result<Self> {
        let index = if_nametoindex(name)?;
        // A kernel without IPv6 does not know the setting, and has no use for it.
        let _ = netlink.request(vec![without_link_local(index)], 1);
        let up = IFF_UP | IFF_NOARP;
        netlink.request(vec![Message::new(RTM_NEWLINK, NLM_F_ACK, 1, &interface(index, up))], 1)?;
        Ok(Self { index })
    }

    /// Its number in its network.
    pub(super) fn index(&self) -> u32 {
        self.index
    }
}

/// Nothing but the gate is at the other end, so there is nobody to be found by link-local addresses.
fn without_link_local(index: u32) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_ACK, 1, &interface(index, 0));
    let families = message.open(IFLA_AF_SPEC);
    let v6 = message.open(AF_INET6.into());
    message.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    message.close(v6);
    message.close(families);
    message
}

/// `struct ifinfomsg` that sets these flags.
pub(super) fn interface(index: u32, flags: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

/// A unicast address that is locally administered.
const HARDWARE_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The most that a device of this kind takes.
const MTU: u32 = 65535;
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const VETH_INFO_PEER: u16 = 1;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET6: u8 = 10;
