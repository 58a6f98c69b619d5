//! One nf_tables chain that gives every TCP port to the gate's listener, set over netlink.
//!
//! ```text
//! table inet tollgate {
//!     chain capture {
//!         type filter hook prerouting priority mangle
//!         meta nfproto ipv4 ip daddr != 127.0.0.0/8 meta l4proto tcp tcp dport != 53 tproxy ip to :15001
//!         meta nfproto ipv6 ip6 daddr != ::1 meta l4proto tcp tcp dport != 53 tproxy ip6 to :15001
//!     }
//! }
//! ```
//!
//! Nothing is rewritten and so no connection is tracked: a connection that is given this way has the address that it was for
//! as its local one. Where a kernel cannot do that, the same rules redirect in a chain of type `nat` at the output, which slows
//! the agent's own loopback by a fifth, and `SO_ORIGINAL_DST` tells what the address was.

use nix::sys::socket::SockProtocol;

use super::netlink::{Message, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, Netlink};
use super::sockets::{Way, can_be_transparent};
use super::{CAPTURE_PORT, DNS_PORT};

/// Sets the chain up in the better way that the kernel takes, or says why it takes none.
pub(super) fn set_up() -> Result<Way, String> {
    give().map(|()| Way::Given).or_else(|_| send(Way::Redirected).map(|()| Way::Redirected))
}

/// Sets the chain up so that connections come as they are.
pub(super) fn give() -> Result<(), String> {
    match can_be_transparent() {
        true => send(Way::Given),
        false => Err("this kernel cannot give connections on as they are".to_owned()),
    }
}

/// All of it or nothing.
fn send(way: Way) -> Result<(), String> {
    let netlink = Netlink::open(SockProtocol::NetlinkNetFilter).map_err(|e| e.to_string())?;
    let batch = vec![
        batch_mark(NFNL_MSG_BATCH_BEGIN, 1),
        table(2),
        chain(3, way),
        rule(4, way, &V4),
        rule(5, way, &V6),
        batch_mark(NFNL_MSG_BATCH_END, 6),
    ];
    netlink.request(batch, 4).map_err(|e| e.to_string())
}

/// What differs between the families.
struct Family {
    nfproto: u8,
    /// Where the destination stands in the network header, and what of it is compared.
    destination: (u32, &'static [u8]),
}

const V4: Family = Family { nfproto: 2, destination: (16, &[127]) };
const V6: Family = Family { nfproto: 10, destination: (24, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) };

fn batch_mark(kind: u16, sequence: u32) -> Message {
    Message::new(kind, 0, sequence, &[0, 0, 0, NFNL_SUBSYS_NFTABLES])
}

fn new(kind: u16, sequence: u32) -> Message {
    let kind = u16::from(NFNL_SUBSYS_NFTABLES) << 8 | kind;
    Message::new(kind, NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND, sequence, &[NFPROTO_INET, 0, 0, 0])
}

fn table(sequence: u32) -> Message {
    let mut message = new(NFT_MSG_NEWTABLE, sequence);
    message.attribute(1, TABLE).number(2, 0);
    message
}

fn chain(sequence: u32, way: Way) -> Message {
    let (kind, place, priority): (&[u8], _, i32) = match way {
        Way::Given => (b"filter\0", NF_INET_PRE_ROUTING, PRIORITY_MANGLE),
        Way::Redirected => (b"nat\0", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT),
    };
    let mut message = new(NFT_MSG_NEWCHAIN, sequence);
    message.attribute(1, TABLE).attribute(3, CHAIN);
    let hook = message.open(4);
    message.number(1, place).attribute(2, &priority.to_be_bytes());
    message.close(hook);
    message.number(5, NF_ACCEPT).attribute(7, kind);
    message
}

fn rule(sequence: u32, way: Way, family: &Family) -> Message {
    let (offset, address) = family.destination;
    let length = u32::try_from(address.len()).expect("an address");
    let mut message = new(NFT_MSG_NEWRULE, sequence);
    message.attribute(1, TABLE).attribute(2, CHAIN);
    let expressions = message.open(4);
    meta(&mut message, META_NFPROTO);
    compare(&mut message, EQUAL, &[family.nfproto]);
    // Where agent and gate share a network, every packet of the agent's own loopback comes by here, and ends here.
    payload(&mut message, NETWORK_HEADER, offset, length);
    compare(&mut message, NOT_EQUAL, address);
    meta(&mut message, META_L4PROTO);
    compare(&mut message, EQUAL, &[IPPROTO_TCP]);
    payload(&mut message, TRANSPORT_HEADER, 2, 2);
    compare(&mut message, NOT_EQUAL, &DNS_PORT.to_be_bytes());
    lead(&mut message, way, family);
    message.close(expressions);
    message
}

/// `NFTA_LIST_ELEM` with the expression's name and data.
fn expression(message: &mut Message, name: &[u8], fill: impl FnOnce(&mut Message)) {
    let element = message.open(1);
    message.attribute(1, name);
    let data = message.open(2);
    fill(message);
    message.close(data);
    message.close(element);
}

fn meta(message: &mut Message, key: u32) {
    expression(message, b"meta\0", |m| {
        m.number(1, REGISTER).number(2, key);
    });
}

fn payload(message: &mut Message, base: u32, offset: u32, length: u32) {
    expression(message, b"payload\0", |m| {
        m.number(1, REGISTER).number(2, base).number(3, offset).number(4, length);
    });
}

fn compare(message: &mut Message, how: u32, value: &[u8]) {
    expression(message, b"cmp\0", |m| {
        m.number(1, REGISTER).number(2, how);
        let data = m.open(3);
        m.attribute(1, value);
        m.close(data);
    });
}

/// To the gate's listener.
fn lead(message: &mut Message, way: Way, family: &Family) {
    expression(message, b"immediate\0", |m| {
        m.number(1, REGISTER);
        let data = m.open(2);
        m.attribute(1, &CAPTURE_PORT.to_be_bytes());
        m.close(data);
    });
    match way {
        Way::Given => expression(message, b"tproxy\0", |m| {
            m.number(1, family.nfproto.into()).number(3, REGISTER);
        }),
        Way::Redirected => expression(message, b"redir\0", |m| {
            m.number(1, REGISTER);
        }),
    }
}

const TABLE: &[u8] = b"tollgate\0";
const CHAIN: &[u8] = b"capture\0";
const NFPROTO_INET: u8 = 1;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NF_INET_PRE_ROUTING: u32 = 0;
const NF_INET_LOCAL_OUT: u32 = 3;
const NF_ACCEPT: u32 = 1;
const PRIORITY_MANGLE: i32 = -150;
const PRIORITY_DSTNAT: i32 = -100;
const REGISTER: u32 = 1;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const IPPROTO_TCP: u8 = 6;
