//! Routes: one per family makes every address of the namespace local (rtnetlink(7)).

use nix::sys::socket::SockProtocol;
use tollgate_wire::cell::Control;

use super::netlink::{Message, NLM_F_ACK, NLM_F_CREATE, Netlink};
use crate::error::{At, LaunchError};

/// Brings the loopback up and sends everything to it.
///
/// A kernel without IPv6 has no IPv6 to capture either; that is said, not refused.
pub(super) fn set_up() -> Result<Control, LaunchError> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute).at("open a routing socket")?;
    netlink.request(vec![loopback_up()], 1).at("bring the loopback interface up")?;
    netlink.request(vec![local_default(AF_INET)], 1).at("make every IPv4 address local")?;
    let v6 = netlink.request(vec![local_default(AF_INET6)], 1);
    let detail = match &v6 {
        Ok(()) => "IPv4 and IPv6, no way out but the gate".to_owned(),
        Err(error) => format!("IPv4, no way out but the gate; no IPv6 inside ({error})"),
    };
    Ok(Control { name: "network-namespace".to_owned(), enforced: true, detail })
}

/// `struct ifinfomsg`: the loopback is interface 1 of every namespace.
fn loopback_up() -> Message {
    let mut fixed = vec![0, 0, 0, 0];
    fixed.extend(LOOPBACK.to_ne_bytes());
    fixed.extend(IFF_UP.to_ne_bytes());
    fixed.extend(IFF_UP.to_ne_bytes());
    Message::new(RTM_NEWLINK, NLM_F_ACK, 1, &fixed)
}

/// `struct rtmsg` for `local default dev lo`.
fn local_default(family: u8) -> Message {
    let mut fixed = vec![family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL];
    fixed.extend(0u32.to_ne_bytes());
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, 2, &fixed);
    message.attribute(RTA_OIF, &LOOPBACK.to_ne_bytes());
    message
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTA_OIF: u16 = 4;
