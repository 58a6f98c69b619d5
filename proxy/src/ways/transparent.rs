//! Transparent capture: connections of programs that know of no proxy. Where they wanted to go is in the socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{Ip6tOriginalDst, OriginalDst};
use tokio::net::TcpStream;
use tollgate_audit::Verdict;
use tollgate_inspect::sniff::Opening;
use tollgate_model::{Authority, Host, Port};

use super::accept::Accepted;
use crate::origin::{Origin, judge_connection, record_connection};
use crate::refusal::{Code, Refusal, alert};
use crate::tunnel::opening::{self, Prefixed};
use crate::tunnel::{Client, Tunnel};
use crate::{Gate, Limits};

pub(super) async fn serve(gate: Arc<Gate>, accepted: Accepted) {
    let Accepted { stream, client, slot } = accepted;
    let destination = original_destination(&stream).filter(|destination| !destination.ip().is_loopback());
    let Some(destination) = destination else {
        let origin = Origin::new(gate.next_connection(), "transparent", gate.identify(client, client).await);
        let verdict = Verdict {
            decision: "denied",
            policy: "",
            rule: "",
            error: Code::InvalidRequest.name(),
            reason: "the connection was made to the capture port itself",
        };
        // Refused either way; a journal that is dead has said so already.
        let _ = record_connection(&gate, &gate.rules.current(), &origin, "-", verdict);
        return;
    };
    let caller = gate.identify(client, destination).await;
    let origin = Arc::new(Origin::new(gate.next_connection(), "transparent", caller).holding(&slot));
    let Ok(port) = Port::try_from(destination.port()) else { return };
    let authority = gate.names.recall(Authority::new(Host::from(destination.ip()), port));
    let rules = gate.rules.current();
    let tunnel = match judge_connection(&gate, &rules, &origin, &authority) {
        Ok(permit) => Tunnel::open(Arc::clone(&gate), origin, authority, &permit, &rules).await,
        Err(refusal) => Err(refusal),
    };
    match tunnel {
        Ok(tunnel) => tunnel.run(Client::Socket(Prefixed::new(Bytes::new(), stream))).await,
        Err(refusal) => refuse(&gate.limits, stream, refusal).await,
    }
}

/// `SO_ORIGINAL_DST` where the connection was redirected (netfilter), the local address where the listener took it as it came.
pub(super) fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let local = stream.local_addr().ok()?;
    // A listener for both families has IPv4 clients at IPv6 addresses.
    let redirected = match local.ip().to_canonical() {
        IpAddr::V4(_) => getsockopt(stream, OriginalDst).ok().map(|raw| {
            let address = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            SocketAddr::new(IpAddr::V4(address), u16::from_be(raw.sin_port))
        }),
        IpAddr::V6(_) => getsockopt(stream, Ip6tOriginalDst).ok().map(|raw| {
            let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            SocketAddr::new(IpAddr::V6(address), u16::from_be(raw.sin6_port))
        }),
    };
    Some(redirected.unwrap_or(local))
}

/// Says no in the language the client speaks.
pub(super) async fn refuse(limits: &Limits, stream: TcpStream, refusal: Refusal) {
    match opening::read(stream, limits).await {
        Some((Opening::Tls, stream)) => alert(stream).await,
        Some((Opening::Http1, stream)) => super::explicit::refuse_all(limits, stream, refusal).await,
        Some((Opening::Http2 | Opening::Unknown { .. }, _)) | None => {}
    }
}
