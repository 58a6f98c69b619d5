//! Addresses and routes (rtnetlink(7)).

use std::io::Result;
use std::net::IpAddr;

use nix::sys::socket::SockProtocol;

use super::link::{IFF_UP, Link, RTM_NEWLINK, interface};
use super::netlink::{Message, NLM_F_ACK, NLM_F_CREATE, Netlink};

/// Routing of the network that this process is in.
pub(super) struct Routing {
    pub(super) netlink: Netlink,
}

impl Routing {
    /// With the loopback up.
    pub(super) fn open() -> Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
        netlink.request(vec![Message::new(RTM_NEWLINK, NLM_F_ACK, 1, &interface(LOOPBACK, IFF_UP))], 1)?;
        Ok(Self { netlink })
    }

    /// Makes every address of a family local, but for those that have a route of their own in the same table.
    pub(super) fn everything_is_local(&self, family: &Family) -> Result<()> {
        let route = Route { table: RT_TABLE_LOCAL, scope: RT_SCOPE_HOST, kind: RTN_LOCAL, ..Route::default() };
        self.netlink.request(vec![route.message(family, LOOPBACK)], 1)
    }

    /// Leads the agent's address, and no other, to the agent's end. The gate's is the one that its ICMPv6 errors come from.
    pub(super) fn lead_to_agent(&self, family: &Family, link: &Link) -> Result<()> {
        let to = Some(family.agent);
        let route = Route { table: RT_TABLE_LOCAL, scope: RT_SCOPE_LINK, kind: RTN_UNICAST, to, ..Route::default() };
        let address = family.address(family.gate, link.index());
        self.netlink.request(vec![address, route.message(family, link.index())], 2)
    }

    /// Gives the agent its address, and leads all others to the gate's end.
    ///
    /// By a gateway, since the kernel keeps an entry for each next hop, in a table that is the whole machine's.
    pub(super) fn lead_to_gate(&self, family: &Family, link: &Link) -> Result<()> {
        let by = Some(family.gate);
        let route = Route { table: RT_TABLE_MAIN, kind: RTN_UNICAST, by, ..Route::default() };
        let address = family.address(family.agent, link.index());
        self.netlink.request(vec![address, route.message(family, link.index())], 2)
    }
}

/// What differs between the families.
pub(super) struct Family {
    number: u8,
    /// The agent's own address.
    agent: IpAddr,
    /// The gate's end: the next hop of all others.
    gate: IpAddr,
}

/// Addresses of the prefix for a host's own tunnels (RFC 7335).
pub(super) const V4: Family = Family { number: 2, agent: v4([192, 0, 0, 1]), gate: v4([192, 0, 0, 2]) };

/// Unique local addresses (RFC 4193), which nobody sees but the agent.
pub(super) const V6: Family = Family { number: 10, agent: v6(1), gate: v6(2) };

const fn v4([a, b, c, d]: [u8; 4]) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd74, 0x6f6c, 0x6c67, 0, 0, 0, 0, last))
}

/// The gate's end as `/proc/net/route` has it: the four bytes as one number of the machine's order.
pub(crate) fn gate_in_routes() -> String {
    let octets = bytes(V4.gate);
    format!("{:08X}", u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]))
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// As a number of bits.
fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Family {
    /// `struct ifaddrmsg`: the one address, without a prefix.
    fn address(&self, own: IpAddr, link: u32) -> Message {
        let mut fixed = vec![self.number, length(own), IFA_F_NODAD, RT_SCOPE_UNIVERSE];
        fixed.extend(link.to_ne_bytes());
        let mut message = Message::new(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, 1, &fixed);
        let own = bytes(own);
        message.attribute(IFA_LOCAL, &own).attribute(IFA_ADDRESS, &own);
        message
    }
}

#[derive(Default)]
struct Route {
    table: u8,
    scope: u8,
    kind: u8,
    /// One address, or all.
    to: Option<IpAddr>,
    /// The next hop.
    by: Option<IpAddr>,
}

impl Route {
    /// `struct rtmsg`.
    fn message(&self, family: &Family, link: u32) -> Message {
        let mut fixed = vec![family.number, self.to.map_or(0, length), 0, 0];
        fixed.extend([self.table, RTPROT_BOOT, self.scope, self.kind]);
        fixed.extend(self.by.map_or(0, |_| RTNH_F_ONLINK).to_ne_bytes());
        let mut message = Message::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, 2, &fixed);
        message.attribute(RTA_OIF, &link.to_ne_bytes());
        for (kind, address) in [(RTA_DST, self.to), (RTA_GATEWAY, self.by)] {
            if let Some(address) = address {
                message.attribute(kind, &bytes(address));
            }
        }
        message
    }
}

/// Interface 1 of every namespace.
const LOOPBACK: u32 = 1;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTNH_F_ONLINK: u32 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
