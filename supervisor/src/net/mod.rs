//! The sandbox's network: every address is local, every TCP port leads to the gate.

mod netlink;
mod redirect;
mod route;
mod sockets;

use tollgate_wire::cell::{Cell, Control, Feature};

use crate::error::LaunchError;
pub(crate) use sockets::Listening;

/// Where `HTTPS_PROXY` leads to, inside.
pub const EXPLICIT_PORT: u16 = 3128;

/// Where captured connections are redirected to, inside.
pub(crate) const CAPTURE_PORT: u16 = 15001;

/// Sets up the network namespace that this process is in, and gives the sockets that go out.
pub(crate) fn set_up(cell: &Cell) -> Result<(Listening, Vec<Control>), LaunchError> {
    let mut controls = vec![route::set_up()?];
    let redirected = redirect::set_up();
    let ports = match &redirected {
        Ok(()) => None,
        Err(_) => Some(cell.ports.as_slice()),
    };
    let detail = match &redirected {
        Ok(()) => "every TCP port is captured".to_owned(),
        Err(reason) => format!("only the policy's ports are captured: {reason}"),
    };
    if let Err(reason) = redirected
        && !cell.allow_degraded.contains(&Feature::Nftables)
    {
        return Err(LaunchError::Missing {
            feature: Feature::Nftables.name().to_owned(),
            reason,
            remedy: "load the kernel modules nf_tables, nft_redir and nft_chain_nat".to_owned(),
        });
    }
    let enforced = ports.is_none();
    controls.push(Control { name: Feature::Nftables.name().to_owned(), enforced, detail });
    Ok((Listening::open(ports)?, controls))
}
