//! The gate's end in a network of its own, joined to the agent's by a pair of devices.
//!
//! ```text
//! agent's network                          gate's network
//!   lo: 127.0.0.0/8, ::1                     every address is local
//!   eth0: 192.0.0.1, default ──── veth ────  agent: the chain, the listeners
//! ```
//!
//! What the agent says to itself passes no netfilter this way: a chain costs every packet of its loopback some percent.
//! No process is in the gate's network; its sockets keep it, and with the last of them it ends.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};

use super::capture;
use super::link::{self, AGENTS_END, GATES_END, Link};
use super::route::{Routing, V4, V6};
use super::sockets::{Catching, Gateway, Way};
use crate::error::{At, LaunchError};

/// What was set up.
pub(super) struct Apart {
    /// The gate's listeners in its network.
    pub(super) gateway: Gateway,
    /// Whether IPv6 leads there as well.
    pub(super) v6: Result<(), std::io::Error>,
}

/// Sets both networks up, beginning in the agent's, with the loopback up there. The inner error says why it cannot be done; then
/// the agent's network leads nowhere as yet.
///
/// # Errors
/// Where this process cannot come back into the agent's network.
pub(super) fn set_up(routing: &Routing) -> Result<Result<Apart, String>, LaunchError> {
    let agents = File::open("/proc/self/ns/net").at("open the agent's network")?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Ok(Err(format!("no second network: {error}")));
    }
    let gateway = gates_side(&agents);
    setns(agents.as_fd(), CloneFlags::CLONE_NEWNET).at("come back into the agent's network")?;
    Ok(gateway.and_then(|gateway| agents_side(routing, gateway)))
}

fn gates_side(agents: &File) -> Result<Gateway, String> {
    let routing = Routing::open().map_err(|e| format!("the gate's network: {e}"))?;
    link::pair(&routing.netlink, agents.as_fd()).map_err(|e| format!("a pair of devices (veth): {e}"))?;
    let link = Link::bring_up(&routing.netlink, GATES_END).map_err(|e| format!("the gate's device: {e}"))?;
    let lead = |family| {
        routing.everything_is_local(family)?;
        routing.lead_to_agent(family, &link)
    };
    lead(&V4).map_err(|e| format!("routes of the gate's network: {e}"))?;
    // A kernel without IPv6 has none on the agent's side either, where it is told.
    let _ = lead(&V6);
    refuse_at_once();
    capture::give()?;
    Gateway::open(&Catching::Every(Way::Given)).map_err(|e| e.to_string())
}

/// What nobody listens for is answered by ICMP errors, of which the kernel sends one in a second to an address that is not on a
/// loopback. Where the setting cannot be written, as in a container, that stays, and a program finds out by waiting.
fn refuse_at_once() {
    for setting in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
        let _ = std::fs::write(Path::new("/proc/sys/net").join(setting), "0");
    }
}

fn agents_side(routing: &Routing, gateway: Gateway) -> Result<Apart, String> {
    let link = Link::bring_up(&routing.netlink, AGENTS_END).map_err(|e| format!("the agent's device: {e}"))?;
    routing.lead_to_gate(&V4, &link).map_err(|e| format!("routes of the agent's network: {e}"))?;
    Ok(Apart { gateway, v6: routing.lead_to_gate(&V6, &link) })
}
