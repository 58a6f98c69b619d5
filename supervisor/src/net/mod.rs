//! The sandbox's network: every address is local, every TCP port leads to the gate.

mod capture;
mod netlink;
mod route;
mod sockets;

use tollgate_wire::cell::{Cell, Control, Feature};

use crate::error::LaunchError;
use crate::obstacle::{Facts, Missing, recognise};
use capture::Way;
use sockets::Catching;
pub(crate) use sockets::Listening;

/// Where `HTTPS_PROXY` leads to, inside.
pub const EXPLICIT_PORT: u16 = 3128;

/// Where captured connections end, inside.
pub(crate) const CAPTURE_PORT: u16 = 15001;

/// Answered by listeners of its own, so never captured.
const DNS_PORT: u16 = 53;

/// Sets up the network namespace that this process is in, and gives the sockets that go out.
pub(crate) fn set_up(cell: &Cell) -> Result<(Listening, Vec<Control>), LaunchError> {
    let mut controls = vec![route::set_up()?];
    let captured = capture::set_up(sockets::can_be_transparent());
    let (catching, detail) = match &captured {
        Ok(way @ Way::Given) => (Catching::Every(*way), "every TCP port is captured".to_owned()),
        Ok(way @ Way::Redirected) => (Catching::Every(*way), "every TCP port is captured, by redirection".to_owned()),
        Err(reason) => {
            let detail = format!("only the policy's ports are captured: {reason}");
            (Catching::Ports(policy_ports(&cell.ports)?), detail)
        }
    };
    if let Err(reason) = captured
        && !cell.allow_degraded.contains(&Feature::Nftables)
    {
        return Err(LaunchError::Missing {
            feature: Feature::Nftables.name().to_owned(),
            reason,
            remedy: recognise(&Facts::gather(), Missing::Nftables),
        });
    }
    let enforced = matches!(catching, Catching::Every(_));
    controls.push(Control { name: Feature::Nftables.name().to_owned(), enforced, detail });
    Ok((Listening::open(&catching)?, controls))
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
