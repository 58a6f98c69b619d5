//! The sandbox's network: every address and every TCP port lead to the gate.

mod apart;
mod capture;
mod link;
mod netlink;
mod route;
mod sockets;

use tollgate_wire::cell::{Cell, Control, Feature};

use crate::error::{At, LaunchError};
use crate::obstacle::{Facts, Missing, recognise};
use apart::Apart;
pub(crate) use link::AGENTS_END;
pub(crate) use route::gate_in_routes;
use route::{Routing, V4, V6};
pub(crate) use sockets::Listening;
use sockets::{Catching, Gateway, Way};

/// Where `HTTPS_PROXY` leads to, inside.
pub const EXPLICIT_PORT: u16 = 3128;

/// Where captured connections end, inside.
pub(crate) const CAPTURE_PORT: u16 = 15001;

/// Answered by listeners of its own, so never captured.
const DNS_PORT: u16 = 53;

/// Sets up the network namespace that this process is in, and gives the sockets that go out.
pub(crate) fn set_up(cell: &Cell) -> Result<(Listening, Vec<Control>), LaunchError> {
    let routing = Routing::open().at("bring the loopback interface up")?;
    match apart::set_up(&routing)? {
        Ok(Apart { gateway, v6 }) => {
            let controls = vec![network("no way out but the gate", v6), captured(true, CAPTURED.to_owned())];
            Ok((Listening::open(vec![gateway, Gateway::open(&Catching::Nothing)?])?, controls))
        }
        Err(reason) => in_place(cell, &routing, &reason),
    }
}

/// Agent and gate in one network, where every address is local. `reason` is why it is not another way.
fn in_place(cell: &Cell, routing: &Routing, reason: &str) -> Result<(Listening, Vec<Control>), LaunchError> {
    routing.everything_is_local(&V4).at("make every IPv4 address local")?;
    let v6 = routing.everything_is_local(&V6);
    let way = format!(
        "no way out but the gate; loopback takes a little longer: the gate has no network of its own ({reason})"
    );
    let mut controls = vec![network(&way, v6)];
    let captured_by = capture::set_up();
    let (catching, detail) = match &captured_by {
        Ok(way @ Way::Given) => (Catching::Every(*way), CAPTURED.to_owned()),
        Ok(way @ Way::Redirected) => (Catching::Every(*way), format!("{CAPTURED}, by redirection")),
        Err(reason) => {
            let detail = format!("only the policy's ports are captured: {reason}");
            (Catching::Ports(policy_ports(&cell.ports)?), detail)
        }
    };
    if let Err(reason) = captured_by
        && !cell.allow_degraded.contains(&Feature::Nftables)
    {
        return Err(LaunchError::Missing {
            feature: Feature::Nftables.name().to_owned(),
            reason,
            remedy: recognise(&Facts::gather(), Missing::Nftables),
        });
    }
    controls.push(captured(matches!(catching, Catching::Every(_)), detail));
    Ok((Listening::open(vec![Gateway::open(&catching)?])?, controls))
}

const CAPTURED: &str = "every TCP port is captured";

fn captured(enforced: bool, detail: String) -> Control {
    Control { name: Feature::Nftables.name().to_owned(), enforced, detail }
}

/// A kernel without IPv6 has no IPv6 to capture either; that is said, not refused.
fn network(way: &str, v6: Result<(), std::io::Error>) -> Control {
    let detail = match v6 {
        Ok(()) => format!("IPv4 and IPv6, {way}"),
        Err(error) => format!("IPv4, {way}; no IPv6 inside ({error})"),
    };
    Control { name: "network-namespace".to_owned(), enforced: true, detail }
}

/// Each needs a listener per family, and their descriptors must fit into one message of the hand-over.
const MAX_POLICY_PORTS: usize = 100;

/// The policy's ports, once each, without those that have listeners anyway.
fn policy_ports(ports: &[u16]) -> Result<Vec<u16>, LaunchError> {
    let mut ports: Vec<u16> =
        ports.iter().copied().filter(|port| ![0, DNS_PORT, EXPLICIT_PORT].contains(port)).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.len() > MAX_POLICY_PORTS {
        let message = format!(
            "without nf_tables a policy may name {MAX_POLICY_PORTS} ports, and this one names {}; load the nf_tables modules",
            ports.len()
        );
        return Err(LaunchError::BadOrder(message));
    }
    Ok(ports)
}
